//! The tables and charts of a check: presentation attacks, or forgeries.

use super::super::detection::{QUANTILES, RATES};
use super::super::{ClassCounts, ClassedPhoto, Detection, Estimate, KindCurve, NotCarried, RateAt, UnitKind};
use super::chart::{Chart, Scale, Series};
use super::format::{count, percent, percent_interval};
use super::{Section, Table};

/// Points of a curve of scores.
const SCORE_POINTS: usize = 200;

/// The field's words for the rates of a check.
pub(super) struct Words {
    /// What the detection is of.
    pub(super) subject: &'static str,
    section: &'static str,
    bona_fide: &'static str,
    attack: &'static str,
    missed: &'static str,
    flagged: &'static str,
    attack_no_response: &'static str,
    bona_fide_no_response: &'static str,
    equal_error: &'static str,
    det: &'static str,
    /// Flagged bona fide photos at each of [`RATES`] of missed attacks.
    flagged_at_missed: [&'static str; RATES.len()],
}

/// ISO/IEC 30107-3.
pub(super) const ATTACKS: Words = Words {
    subject: "presentation attack detection",
    section: "Presentation attack detection",
    bona_fide: "live",
    attack: "attack",
    missed: "APCER",
    flagged: "BPCER",
    attack_no_response: "APNRR",
    bona_fide_no_response: "BPNRR",
    equal_error: "D-EER",
    det: "BPCER by APCER (DET curve)",
    flagged_at_missed: ["BPCER100: BPCER at APCER 1 %", "BPCER20: BPCER at APCER 5 %", "BPCER10: BPCER at APCER 10 %"],
};

pub(super) const FORGERIES: Words = Words {
    subject: "detection of forgeries",
    section: "Detection of forgeries",
    bona_fide: "genuine",
    attack: "forged",
    missed: "missed forgeries",
    flagged: "flagged genuine photos",
    attack_no_response: "no response",
    bona_fide_no_response: "no response",
    equal_error: "equal error rate",
    det: "Flagged genuine photos by missed forgeries (DET curve)",
    flagged_at_missed: [
        "flagged genuine photos at 1 % missed forgeries",
        "flagged genuine photos at 5 % missed forgeries",
        "flagged genuine photos at 10 % missed forgeries",
    ],
};

pub(super) fn detection(found: &Detection, words: &Words) -> Section {
    let mut tables = vec![kinds(found, words), bona_fide(found, words), over_all_thresholds(found, words)];
    tables.extend([not_reported(found, words), reasons(found, words), scores(found, words), unanswered(found)]);
    tables.extend(overlap(found, words));
    Section { title: words.section, notes: notes(found, words), tables, charts: charts(found, words) }
}

/// Each class with its name.
fn classes<'a>(found: &'a Detection, words: &Words) -> Vec<(&'a str, &'a ClassCounts)> {
    let kinds = found.kinds.iter().map(|kind| (kind.kind.as_str(), &kind.counts));
    kinds.chain([(words.bona_fide, &found.bona_fide.counts)]).collect()
}

fn notes(found: &Detection, words: &Words) -> Vec<String> {
    let threshold = &found.threshold;
    let origin = if threshold.is_default { "the pack's value" } else { "from the settings" };
    let Words { missed, bona_fide, attack, .. } = words;
    let mut notes = vec![
        format!("{}; face of a photo: {}", found.folder, found.faces),
        format!(
            "threshold in force: {} ({}, {origin}); a photo with this score of {} or a higher one passes",
            threshold.score, threshold.setting, found.check
        ),
    ];
    notes.push(match &found.highest {
        Some(highest) => format!(
            "Highest {missed} of all kinds, which is the one that counts: {}, {}",
            highest.kind,
            percent_interval(&highest.missed)
        ),
        None => format!("No {attack} photo has a response, so there is no {missed}."),
    });
    notes.push(format!(
        "A photo without a response has no score. It is in no rate except those of all photos. The server refuses it, \
         {attack} or {bona_fide}."
    ));
    notes.push(
        "A unit is a photo that lies directly in the folder of its class, or a sub-folder with all its photos. Intervals at \
         the threshold in force are Wilson's for as many independent photos as the units are worth; those over all thresholds \
         are of draws of units with replacement."
            .to_owned(),
    );
    let not_judged: Vec<String> = classes(found, words)
        .into_iter()
        .filter(|(_, counts)| counts.not_judged > 0)
        .map(|(name, counts)| format!("{name} {}", count(counts.not_judged as u64)))
        .collect();
    if !not_judged.is_empty() {
        notes.push(format!(
            "Photos whose face is too small for the check, which pass at every threshold: {}",
            not_judged.join(", ")
        ));
    }
    notes
}

fn units(counts: &ClassCounts) -> String {
    match counts.unit {
        UnitKind::Photo => amount(counts.units, "photo"),
        UnitKind::SubFolder => amount(counts.units, "sub-folder"),
        UnitKind::SubFolderAndPhoto => format!("{} sub-folders and photos", count(counts.units as u64)),
    }
}

fn amount(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", count(number as u64))
}

fn rate(estimate: Option<&Estimate>) -> String {
    estimate.map_or_else(|| "-".to_owned(), percent_interval)
}

fn kinds(found: &Detection, words: &Words) -> Table {
    let mut table = Table::new(
        format!("Kinds of {} photos at the threshold in force", words.attack),
        &[
            "kind",
            "photos",
            "units",
            "with response",
            "passed",
            &format!("{} (95 % interval)", words.missed),
            words.attack_no_response,
            "passed, of all photos",
        ],
    );
    for kind in &found.kinds {
        let counts = &kind.counts;
        table.row([
            kind.kind.clone(),
            count(counts.photos as u64),
            units(counts),
            count(counts.answered as u64),
            count(counts.passed as u64),
            rate(kind.missed.as_ref()),
            percent_interval(&kind.attack_no_response),
            percent_interval(&kind.passed_of_all),
        ]);
    }
    table
}

fn bona_fide(found: &Detection, words: &Words) -> Table {
    let mut table = Table::new(
        format!("{} photos at the threshold in force", capitalized(words.bona_fide)),
        &[
            "class",
            "photos",
            "units",
            "with response",
            "not passed",
            &format!("{} (95 % interval)", words.flagged),
            words.bona_fide_no_response,
            "not passed or no response, of all photos",
        ],
    );
    let counts = &found.bona_fide.counts;
    table.row([
        words.bona_fide.to_owned(),
        count(counts.photos as u64),
        units(counts),
        count(counts.answered as u64),
        count((counts.answered - counts.passed) as u64),
        rate(found.bona_fide.flagged.as_ref()),
        percent_interval(&found.bona_fide.bona_fide_no_response),
        percent_interval(&found.bona_fide.not_passed_of_all),
    ]);
    table
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A score with as many digits as a setting needs.
fn score(score: f64) -> String {
    format!("{score:.6}")
}

fn threshold(value: Option<f64>) -> String {
    value.map_or_else(|| "above all scores".to_owned(), score)
}

/// The curves to show: that of the highest kind only if there are several.
fn shown_curves(found: &Detection) -> impl Iterator<Item = (&str, &KindCurve)> {
    let several = found.over_all_thresholds.len() > 2;
    let named = found.over_all_thresholds.iter().map(|curve| (curve.kind.as_deref().unwrap_or("highest kind"), curve));
    named.filter(move |(_, curve)| several || curve.kind.is_some())
}

fn over_all_thresholds(found: &Detection, words: &Words) -> Table {
    let mut table =
        Table::new("Over all thresholds", &["kind", "figure", "threshold", "measured there", "rate (95 % interval)"]);
    for (kind, curve) in shown_curves(found) {
        if let Some(equal) = &curve.equal_error {
            let figure = [kind, words.equal_error].map(str::to_owned);
            table.row(figure.into_iter().chain([
                threshold(equal.threshold),
                String::new(),
                percent_interval(&equal.rate),
            ]));
        }
        let mut row = |name: String, measured: &str, at: &RateAt| {
            table.row([
                kind.to_owned(),
                name,
                threshold(at.threshold),
                format!("{measured} {}", percent(at.measured)),
                percent_interval(&at.rate),
            ]);
        };
        for at in &curve.flagged_at_missed {
            row(flagged_at(words, at.at), words.missed, at);
        }
        for at in &curve.missed_at_flagged {
            row(missed_at(words, at.at), words.flagged, at);
        }
    }
    table
}

fn flagged_at(words: &Words, missed: f64) -> String {
    let at = RATES.iter().position(|rate| *rate == missed);
    at.map_or_else(String::new, |at| words.flagged_at_missed[at].to_owned())
}

fn missed_at(words: &Words, flagged: f64) -> String {
    format!("{} at {} {}", words.missed, words.flagged, whole_percent(flagged))
}

fn whole_percent(rate: f64) -> String {
    format!("{:.0} %", rate * 100.0)
}

fn not_reported(found: &Detection, words: &Words) -> Table {
    let mut table = Table::new(
        "Not reported, because there are too few photos (30 errors at the rate; 20 units)",
        &["class", "figure", "needs", "has"],
    );
    for entry in &found.not_reported {
        let unit = if entry.is_of_units { "unit" } else { "photo" };
        let figure = figure_not_reported(entry, found, words);
        table.row([entry.class.clone(), figure, amount(entry.needs, unit), amount(entry.has, unit)]);
    }
    table
}

fn figure_not_reported(entry: &NotCarried, found: &Detection, words: &Words) -> String {
    match entry.rate {
        None => "every figure over all thresholds".to_owned(),
        Some(rate) if entry.class == found.bona_fide.name => missed_at(words, rate),
        Some(rate) => flagged_at(words, rate),
    }
}

fn reasons(found: &Detection, words: &Words) -> Table {
    let mut table = Table::new("Photos without a response, by reason", &["class", "reason", "photos"]);
    for (name, counts) in classes(found, words) {
        for (reason, photos) in &counts.by_reason {
            table.row([name.to_owned(), reason.clone(), count(*photos as u64)]);
        }
    }
    table
}

fn scores(found: &Detection, words: &Words) -> Table {
    let caption = format!("Scores of {} (share of photos with at most this score)", found.check);
    let mut head = vec!["class".to_owned(), "photos with a score".to_owned()];
    head.extend(QUANTILES.map(|share| match share {
        0.0 => "lowest".to_owned(),
        1.0 => "highest".to_owned(),
        share => whole_percent(share),
    }));
    let mut table = Table::new(caption, &head.iter().map(String::as_str).collect::<Vec<_>>());
    for (name, counts) in classes(found, words) {
        let quantile = |share: f64| counts.scores.quantiles.iter().find(|quantile| quantile.share == share);
        let cells =
            QUANTILES.map(|share| quantile(share).map_or("-".to_owned(), |found| format!("{:.4}", found.score)));
        table.row([name.to_owned(), count(counts.scores.photos as u64)].into_iter().chain(cells));
    }
    table
}

fn unanswered(found: &Detection) -> Table {
    let kinds = found.kinds.iter().map(|kind| &kind.counts);
    let photos: Vec<_> = kinds.chain([&found.bona_fide.counts]).flat_map(|counts| &counts.unanswered).collect();
    let mut table = Table::list(format!("Photos without a response: {}", photos.len()), &["photo", "reason"]);
    photos.into_iter().for_each(|photo| table.row([&photo.file, &photo.reason]));
    table
}

fn overlap(found: &Detection, words: &Words) -> [Table; 3] {
    let copies = |caption: &str, copies: &[Vec<ClassedPhoto>]| {
        let mut table = Table::list(format!("{caption}: {}", copies.len()), &["photos"]);
        for photos in copies {
            table.row([photos.iter().map(|photo| photo.file.as_str()).collect::<Vec<_>>().join(", ")]);
        }
        table
    };
    let overlap = &found.overlap;
    let mut near = Table::list(
        format!(
            "{} photos that are nearly a {} photo (cosine 0.98 and more; copied by mistake, or made of it?): {}",
            capitalized(words.attack),
            words.bona_fide,
            overlap.near_duplicates.len()
        ),
        &["cosine", words.attack, words.bona_fide],
    );
    for pair in &overlap.near_duplicates {
        near.row([format!("{:.4}", pair.cosine), pair.attack.file.clone(), pair.bona_fide.file.clone()]);
    }
    [
        copies(
            "Photos with the same bytes in two classes, of which one label is wrong",
            &overlap.same_bytes_in_two_classes,
        ),
        copies("Photos that one class has several times (same bytes)", &overlap.same_bytes_in_one_class),
        near,
    ]
}

fn charts(found: &Detection, words: &Words) -> Vec<Chart> {
    let det = shown_curves(found).map(|(kind, curve)| Series {
        name: kind.to_owned(),
        points: curve.det.iter().map(|point| (point.missed, point.flagged)).collect(),
    });
    let scores = classes(found, words).into_iter().filter(|(_, counts)| !counts.scores.scores.is_empty());
    let scores =
        scores.map(|(name, counts)| Series { name: name.to_owned(), points: cumulative(&counts.scores.scores) });
    vec![
        Chart {
            title: words.det.to_owned(),
            scale: Scale::Logarithmic,
            x: words.missed,
            y: words.flagged,
            series: det.filter(|series| !series.points.is_empty()).collect(),
        },
        Chart {
            title: format!("Scores of {}; the threshold in force is {}", found.check, found.threshold.score),
            scale: Scale::Unit,
            x: "score",
            y: "share of photos with at most this score",
            series: scores.collect(),
        },
    ]
}

/// The share of photos with at most each score.
fn cumulative(scores: &[f64]) -> Vec<(f64, f64)> {
    let count = scores.len();
    let step = count.div_ceil(SCORE_POINTS).max(1);
    let mut points = vec![(0.0, 0.0)];
    for at in (0..count).filter(|at| at % step == 0 || at + 1 == count) {
        points.push((scores[at], at as f64 / count as f64));
        points.push((scores[at], (at + 1) as f64 / count as f64));
    }
    points.push((1.0, 1.0));
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_rise_to_one() {
        assert_eq!(cumulative(&[0.2, 0.6]), [(0.0, 0.0), (0.2, 0.0), (0.2, 0.5), (0.6, 0.5), (0.6, 1.0), (1.0, 1.0)]);
        let many: Vec<f64> = (0..10_000).map(|at| f64::from(at) / 1e4).collect();
        let points = cumulative(&many);
        assert!(points.len() < 3 * SCORE_POINTS && points.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    }
}
