//! An evaluation as a document: tables and charts, printed as text or as one HTML page.

mod chart;
mod check_tables;
mod detection_tables;
mod format;
mod html;
mod json;
mod rate_tables;
mod text;

use serde::Serialize;

use super::detection::Detection;
use super::report::Evaluation;
use chart::Chart;

/// How an evaluation was made.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// The program and its version.
    pub program: String,
    /// The command.
    pub command: String,
    /// When it started, UTC.
    pub started: String,
    /// Operating system, processor and number of cores.
    pub machine: String,
    /// The model pack.
    pub pack: String,
    /// The models of the pack.
    pub models: Vec<ModelName>,
    /// Whose face on a photo of a person is meant; `None` without photos of people. A check has its own.
    pub faces: Option<String>,
    /// Photos whose analysis was in the cache.
    pub cached: usize,
    /// The seed of all draws.
    pub seed: u64,
    /// Draws of people, or of units of a check, for the intervals.
    pub draws: usize,
    /// Where the groups come from, if there are any.
    pub groups: Option<GroupSource>,
}

/// Where the groups of people come from.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupSource {
    /// A file of the operator.
    File(String),
    /// Networks of the pack estimate them from the photos.
    Estimated,
}

/// A model and its file.
#[derive(Debug, Clone, Serialize)]
pub struct ModelName {
    /// Its id in the pack.
    pub id: String,
    /// Name and version.
    pub title: String,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// The content of `--json`.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How it was made.
    pub run: Run,
    /// Recognition, if there are photos of people.
    #[serde(flatten)]
    pub evaluation: Option<Evaluation>,
    /// Presentation attack detection, if it was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attacks: Option<Detection>,
    /// The detection of forgeries, if it was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forgeries: Option<Detection>,
}

impl Report {
    /// The report as text for a terminal. Long lists are cut.
    pub fn to_text(&self) -> String {
        text::render(&Document::new(self))
    }

    /// The report as one HTML page without scripts and without links to other files.
    pub fn to_html(&self) -> String {
        html::render(&Document::new(self))
    }

    /// The report as JSON. The rates of a check have the names of its field.
    ///
    /// # Errors
    /// When a part cannot be written as JSON.
    pub fn to_json(&self) -> Result<serde_json::Value, serde_json::Error> {
        json::render(self)
    }

    /// Curves as CSV: file name and content.
    pub fn curves(&self) -> Vec<(&'static str, String)> {
        let mut files = self.evaluation.as_ref().map(recognition_curves).unwrap_or_default();
        let checks = [
            ("attacks.csv", "kind,threshold,apcer,bpcer\n", &self.attacks),
            ("forgeries.csv", "kind,threshold,missed,flagged\n", &self.forgeries),
        ];
        files.extend(
            checks.into_iter().filter_map(|(name, head, found)| Some((name, check_curves(head, found.as_ref()?)))),
        );
        files
    }
}

/// The curves of recognition.
fn recognition_curves(evaluation: &Evaluation) -> Vec<(&'static str, String)> {
    let mut det = String::from("counted,cosine,fmr,fnmr\n");
    let mut searches = String::from("gallery,counted,cosine,fpir,fnir\n");
    for (weighting, counted) in
        [(super::Weighting::Comparison, "by_comparison"), (super::Weighting::Person, "by_person")]
    {
        for point in &evaluation.verification.rates.get(weighting).curve {
            det += &format!("{counted},{:.4},{:e},{:e}\n", point.cosine, point.fmr, point.fnmr);
        }
        for gallery in &evaluation.identification.measured {
            for (cosine, fpir, fnir) in &gallery.rates.get(weighting).curve {
                searches += &format!("{},{counted},{cosine:.4},{fpir:e},{fnir:e}\n", gallery.size);
            }
        }
    }
    vec![("det.csv", det), ("identification.csv", searches)]
}

/// The curves of a check: each kind, then at each threshold the highest kind, whose name is empty. The threshold above all
/// scores is empty.
fn check_curves(head: &str, found: &Detection) -> String {
    let mut text = head.to_owned();
    for curve in &found.over_all_thresholds {
        let kind = csv_field(curve.kind.as_deref().unwrap_or_default());
        for point in &curve.every_point {
            let threshold = point.threshold.map(|threshold| threshold.to_string()).unwrap_or_default();
            text += &format!("{kind},{threshold},{:e},{:e}\n", point.missed, point.flagged);
        }
    }
    text
}

/// A field of a CSV line, quoted where it must be.
fn csv_field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// Sections of tables and charts.
struct Document {
    title: String,
    sections: Vec<Section>,
}

#[derive(Default)]
struct Section {
    title: &'static str,
    notes: Vec<String>,
    tables: Vec<Table>,
    charts: Vec<Chart>,
}

struct Table {
    caption: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Whether it lists photos: then only its first rows are shown.
    is_list: bool,
}

/// The first rows of a list, and a sentence about the others.
fn shown(table: &Table, most: usize) -> (&[Vec<String>], Option<String>) {
    if !table.is_list || table.rows.len() <= most {
        return (&table.rows, None);
    }
    (&table.rows[..most], Some(format!("and {} more: see --json", table.rows.len() - most)))
}

impl Table {
    fn new(caption: impl Into<String>, head: &[&str]) -> Self {
        Self {
            caption: caption.into(),
            head: head.iter().map(|cell| (*cell).to_owned()).collect(),
            rows: Vec::new(),
            is_list: false,
        }
    }

    /// A table of photos.
    fn list(caption: impl Into<String>, head: &[&str]) -> Self {
        Self { is_list: true, ..Self::new(caption, head) }
    }

    fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }
}

impl Document {
    fn new(report: &Report) -> Self {
        let mut sections = vec![check_tables::run(&report.run)];
        let mut titles = Vec::new();
        if let Some(evaluation) = &report.evaluation {
            sections.extend([
                check_tables::counts(evaluation),
                check_tables::data_check(&evaluation.data_check),
                rate_tables::verification(evaluation),
                rate_tables::identification(evaluation),
                rate_tables::discard(evaluation),
                rate_tables::groups(evaluation, report.run.groups.as_ref()),
            ]);
            let failures = &evaluation.failures;
            titles.push(format!("{} photos of {} people", failures.photos, failures.people));
        }
        let checks = [(&report.attacks, &detection_tables::ATTACKS), (&report.forgeries, &detection_tables::FORGERIES)];
        for (found, words) in checks.into_iter().filter_map(|(found, words)| Some((found.as_ref()?, words))) {
            sections.push(Some(detection_tables::detection(found, words)));
            titles.push(format!("{} on {} photos", words.subject, found.photos()));
        }
        Self {
            title: format!("Evaluation of {}", titles.join(", ")),
            sections: sections.into_iter().flatten().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::data_set::tests::photo;
    use super::super::detection::tests::input as detection_input;
    use super::super::{DataSet, Draws, Groups, Options, Threshold};
    use super::*;

    fn report() -> Report {
        let angle = |person: u8, turn: f32| (f32::from(person) * 3.0 + turn).to_radians();
        let photos = (0..100u8).flat_map(|person| {
            let second = if person % 10 == 7 { 20.0 } else { 1.0 };
            [(0, 0.0), (1, second)].map(|(number, turn)| {
                let angle = angle(person, turn);
                photo(&format!("<b>{person:03}"), number, &[angle.cos(), angle.sin()])
            })
        });
        let data = DataSet::new(photos.collect());
        let values = (0..100).map(|person| (format!("<b>{person:03}"), vec![format!("team {}", person % 2)]));
        let groups = Groups { columns: vec!["team".to_owned()], values: values.collect() };
        let threshold = Threshold { similarity: 0.75, cosine: 0.999 };
        let draws = Draws { count: 30, seed: 1, threads: 2 };
        let evaluation = Evaluation::new(&data, &Options { threshold, groups: Some(groups), draws }, |_| {});
        let run = Run {
            program: "semblance 1".to_owned(),
            command: "semblance evaluate photos".to_owned(),
            started: "now".to_owned(),
            machine: "a machine".to_owned(),
            pack: "pack 1".to_owned(),
            models: vec![ModelName { id: "m".to_owned(), title: "M".to_owned(), sha256: "00".to_owned() }],
            faces: Some("central".to_owned()),
            cached: 0,
            seed: 1,
            draws: 30,
            groups: Some(GroupSource::File("teams.csv".to_owned())),
        };
        let attacks = Some(Detection::new(&detection_input(), "live", draws));
        Report { run, evaluation: Some(evaluation), attacks, forgeries: None }
    }

    #[test]
    fn the_page_loads_nothing_and_escapes_names() {
        let page = report().to_html();
        for outside in ["<script", "http:", "https:", "src=", "href=", "url(", "@import", "<b>"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("&lt;b&gt;") && page.contains("<svg") && page.contains("prefers-color-scheme: dark"));
        assert_eq!(page.matches("<table").count(), page.matches("</table>").count());
        assert!(page.contains("extrapolated") && page.contains("teams.csv") && page.contains("team 1"));
    }

    #[test]
    fn the_text_has_every_section() {
        let text = report().to_text();
        for title in [
            "Data set",
            "Check of the data set",
            "Verification",
            "Identification",
            "Groups",
            "Presentation attack detection",
        ] {
            assert!(text.lines().any(|line| line == title), "{title}: {text}");
        }
        assert!(text.contains("seed 1"));
    }

    #[test]
    fn curves_are_csv_with_falling_rates() {
        let curves = report().curves();
        assert_eq!(
            curves.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            ["det.csv", "identification.csv", "attacks.csv"]
        );
        for (name, text) in curves {
            let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
            assert!(lines.len() > 10 && lines.iter().all(|line| line.len() == lines[0].len()), "{name}");
        }
    }
    #[test]
    fn a_report_of_forgeries_alone_has_plain_names() {
        let input = detection_input();
        let run = report().run;
        let forgeries = Detection::new(&input, "genuine", Draws { count: 20, seed: 1, threads: 1 });
        let report = Report { run, evaluation: None, attacks: None, forgeries: Some(forgeries) };
        let json = report.to_json().unwrap();
        assert!(json.get("counts").is_none() && json.get("attacks").is_none());
        let kind = &json["forgeries"]["kinds"][0];
        assert!(kind["missed"]["rate"].is_number() && kind["no_response"]["rate"].is_number(), "{kind}");
        assert!(json["forgeries"]["genuine"]["flagged"]["rate"].is_number());
        let text = report.to_text();
        assert!(text.starts_with("Evaluation of detection of forgeries on 711 photos\n"), "{text}");
        assert!(text.contains("missed forgeries (95 % interval)") && !text.contains("APCER"), "{text}");
        assert_eq!(report.curves()[0].0, "forgeries.csv");
    }

    #[test]
    fn a_report_of_attacks_has_the_names_of_the_standard() {
        let report = report();
        let attacks = &report.to_json().unwrap()["attacks"];
        assert!((attacks["kinds"][0]["apcer"]["rate"].as_f64().unwrap() - 151.0 / 300.0).abs() < 1e-12);
        assert!(attacks["kinds"][0]["apnrr"]["rate"].is_number() && attacks["live"]["bpnrr"]["rate"].is_number());
        assert!((attacks["live"]["bpcer"]["rate"].as_f64().unwrap() - 0.2475).abs() < 1e-12);
        assert_eq!(attacks["highest"]["kind"], "print");
        let curve = &attacks["over_all_thresholds"][0];
        assert_eq!(curve["bpcer_at_apcer"][0]["at"], 0.1);
        assert!(curve["d_eer"]["rate"]["high"].is_number() && curve["apcer_at_bpcer"][0]["rate"]["rate"].is_number());
        let text = report.to_text();
        for part in ["BPCER10: BPCER at APCER 10 %", "needs", "600 photos", "Highest APCER", "50.3 %", "D-EER"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let csv = report.curves().pop().unwrap().1;
        assert!(csv.starts_with("kind,threshold,apcer,bpcer\nprint,0.00"), "{csv}");
        assert!(csv.lines().any(|line| line.starts_with(",0.")), "the highest kind has no name");
    }

    #[test]
    fn a_field_with_a_comma_or_a_quote_is_quoted() {
        assert_eq!(["print", "a,b", "a\"b"].map(csv_field), ["print", "\"a,b\"", "\"a\"\"b\""]);
    }
}
