//! An evaluation as a document: tables and charts, printed as text or as one HTML page.

mod chart;
mod check_tables;
mod format;
mod html;
mod rate_tables;
mod text;

use serde::Serialize;

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
    /// Whose face on a photo is meant.
    pub faces: String,
    /// Photos whose analysis was in the cache.
    pub cached: usize,
    /// The seed of all draws.
    pub seed: u64,
    /// Draws of people for the intervals.
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
    /// What was measured.
    #[serde(flatten)]
    pub evaluation: Evaluation,
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

    /// Curves as CSV: file name and content.
    pub fn curves(&self) -> Vec<(&'static str, String)> {
        let mut det = String::from("counted,cosine,fmr,fnmr\n");
        let mut searches = String::from("gallery,counted,cosine,fpir,fnir\n");
        for (weighting, counted) in
            [(super::Weighting::Comparison, "by_comparison"), (super::Weighting::Person, "by_person")]
        {
            for point in &self.evaluation.verification.rates.get(weighting).curve {
                det += &format!("{counted},{:.4},{:e},{:e}\n", point.cosine, point.fmr, point.fnmr);
            }
            for gallery in &self.evaluation.identification.measured {
                for (cosine, fpir, fnir) in &gallery.rates.get(weighting).curve {
                    searches += &format!("{},{counted},{cosine:.4},{fpir:e},{fnir:e}\n", gallery.size);
                }
            }
        }
        vec![("det.csv", det), ("identification.csv", searches)]
    }
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
        let evaluation = &report.evaluation;
        let sections = [
            check_tables::run(&report.run),
            check_tables::counts(evaluation),
            check_tables::data_check(&evaluation.data_check),
            rate_tables::verification(evaluation),
            rate_tables::identification(evaluation),
            rate_tables::discard(evaluation),
            rate_tables::groups(evaluation, report.run.groups.as_ref()),
        ];
        Self {
            title: format!(
                "Evaluation of {} photos of {} people",
                evaluation.failures.photos, evaluation.failures.people
            ),
            sections: sections.into_iter().flatten().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::data_set::tests::photo;
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
            faces: "central".to_owned(),
            cached: 0,
            seed: 1,
            draws: 30,
            groups: Some(GroupSource::File("teams.csv".to_owned())),
        };
        Report { run, evaluation }
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
        for title in ["Data set", "Check of the data set", "Verification", "Identification", "Groups"] {
            assert!(text.lines().any(|line| line == title), "{title}: {text}");
        }
        assert!(text.contains("seed 1"));
    }

    #[test]
    fn curves_are_csv_with_falling_rates() {
        let curves = report().curves();
        assert_eq!(curves.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["det.csv", "identification.csv"]);
        for (name, text) in curves {
            let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
            assert!(lines.len() > 10 && lines.iter().all(|line| line.len() == lines[0].len()), "{name}");
        }
    }
}
