//! The tables and charts of error rates.

use super::super::{
    Estimate, Evaluation, ExtrapolatedPoint, Group, Leading, MeasuredGallery, OperatingPoint, Rates, Weighting,
};
use super::chart::{Chart, Scale, Series};
use super::format::{count, percent, percent_interval, small, small_interval};
use super::{GroupSource, Section, Table};

const WEIGHTINGS: [(Weighting, &str); 2] =
    [(Weighting::Comparison, "each comparison counts alike"), (Weighting::Person, "each person counts alike")];

fn short(weighting: Weighting) -> &'static str {
    match weighting {
        Weighting::Comparison => "by comparison",
        Weighting::Person => "by person",
    }
}

pub(super) fn verification(evaluation: &Evaluation) -> Option<Section> {
    let verification = &evaluation.verification;
    let threshold = verification.threshold;
    let mut notes = Vec::new();
    if let Some(folds) = &evaluation.ten_folds {
        notes.push(format!(
            "Protocol of LFW: accuracy {:.2} % +- {:.2} over the folds ({} pairs, {} without an embedding)",
            folds.accuracy * 100.0,
            folds.standard_error * 100.0,
            folds.pairs,
            folds.pairs_without_embedding
        ));
    }
    let leading = [
        (&evaluation.leading.genuine, "genuine comparisons"),
        (&evaluation.leading.false_matches, "false matches at the threshold in force"),
    ];
    notes.extend(leading.into_iter().filter_map(|(leading, of)| leading_note(leading.as_ref()?, of)));
    let in_force =
        format!("At the threshold in force (similarity {}, cosine {:.4})", threshold.similarity, threshold.cosine);
    let mut in_force = Table::new(in_force, &["counted", "FMR", "FNMR"]);
    let mut tables = Vec::new();
    let mut series = Vec::new();
    for (weighting, title) in WEIGHTINGS {
        let rates = verification.rates.get(weighting);
        if let Some(rates) = &rates.in_force {
            in_force.row([short(weighting).to_owned(), small_interval(&rates.fmr), percent_interval(&rates.fnmr)]);
        }
        tables.push(rates_table(rates, title));
        notes.extend(rates.not_reported.first().map(|first| {
            format!(
                "{}: FMR {} and less is not reported, it needs {} impostors (30 / FMR) and there are {}",
                short(weighting),
                small(first.rate),
                count(first.needs),
                count(first.has)
            )
        }));
        let points = rates.det.iter().map(|point| (point.fmr, point.fnmr)).collect();
        series.push(Series { name: short(weighting).to_owned(), points });
    }
    tables.push(in_force);
    let title = "FNMR by FMR (DET curve)".to_owned();
    let chart = Chart { title, scale: Scale::Logarithmic, x: "FMR", y: "FNMR", series };
    Some(Section { title: "Verification", notes, tables, charts: vec![chart] })
}

fn leading_note(leading: &Leading, of: &str) -> Option<String> {
    let people = leading.people.join(" and ");
    (leading.of > 0).then(|| format!("{} of {} {of} are of {people}", count(leading.count), count(leading.of)))
}

fn rates_table(rates: &Rates, title: &str) -> Table {
    let mut table = Table::new(
        format!("{title}: {} genuine, {} impostors", count(rates.genuine), count(rates.impostors)),
        &["", "cosine", "FNMR (95 % interval)"],
    );
    if let Some(equal) = &rates.equal_error {
        table.row(["equal error rate".to_owned(), format!("{:.4}", equal.cosine), percent_interval(&equal.rate)]);
    }
    let name = |point: &OperatingPoint| match point.fmr {
        1e-2 => "FMR 1e-2 (FMR100)".to_owned(),
        1e-3 => "FMR 1e-3 (FMR1000)".to_owned(),
        0.0 => "no false match (ZeroFMR)".to_owned(),
        fmr => format!("FMR {fmr:e}"),
    };
    for point in rates.points.iter().chain(&rates.zero_fmr) {
        table.row([name(point), format!("{:.4}", point.cosine), percent_interval(&point.fnmr)]);
    }
    table
}

pub(super) fn identification(evaluation: &Evaluation) -> Option<Section> {
    let identification = &evaluation.identification;
    let mut notes = vec![
        "Open set: some people are not enrolled. Each draw chooses who is enrolled, with one photo each. By search each \
         search counts alike, by person each person."
            .to_owned(),
    ];
    let mut table = Table::new("Measured galleries", &["gallery", "counted", "rate", "cosine", "FNIR (95 % interval)"]);
    let mut in_force = Table::new("At the threshold in force", &["gallery", "counted", "FPIR", "FNIR"]);
    let mut series = Vec::new();
    for gallery in &identification.measured {
        notes.push(gallery_note(gallery));
        for (weighting, _) in WEIGHTINGS {
            let rates = gallery.rates.get(weighting);
            let counted = if weighting == Weighting::Comparison { "by search" } else { "by person" };
            let start = || [count(gallery.size as u64), counted.to_owned()];
            let mut row = |rate: String, cosine: String, fnir: &Estimate| {
                table.row(start().into_iter().chain([rate, cosine, percent_interval(fnir)]));
            };
            row("rank-1 miss".to_owned(), String::new(), &rates.rank_one_miss);
            for point in &rates.points {
                row(format!("FPIR {}", percent(point.fpir)), format!("{:.4}", point.cosine), &point.fnir);
            }
            let (fpir, fnir) = (percent_interval(&rates.in_force.fpir), percent_interval(&rates.in_force.fnir));
            in_force.row(start().into_iter().chain([fpir, fnir]));
        }
        let points = gallery.rates.by_person.curve.iter().map(|(_, fpir, fnir)| (*fpir, *fnir)).collect();
        series.push(Series { name: format!("{} templates", count(gallery.size as u64)), points });
    }
    if identification.measured.is_empty() {
        notes.push("No gallery is measured: too few people.".to_owned());
    }
    let mut larger = Table::new(
        "Larger galleries, extrapolated by FPIR = 1 - (1 - FMR)^N, with FNMR in place of FNIR",
        &["gallery", "rate", "FMR of one comparison", "FNIR by comparison", "FNIR by person"],
    );
    for gallery in &identification.extrapolated {
        // The rates with a figure, and the first one without.
        let is_known = |point: &&ExtrapolatedPoint| point.by_comparison.is_some() || point.by_person.is_some();
        let known = gallery.points.iter().take_while(is_known).count();
        for point in gallery.points.iter().take(known + 1) {
            larger.row(extrapolated_row(gallery.size, point));
        }
        if let Some(fpir) = &gallery.fpir_in_force {
            in_force.row([
                format!("{}, extrapolated", count(gallery.size as u64)),
                "by comparison".to_owned(),
                percent_interval(&fpir.by_comparison),
                String::new(),
            ]);
            in_force.row([
                format!("{}, extrapolated", count(gallery.size as u64)),
                "by person".to_owned(),
                percent_interval(&fpir.by_person),
                String::new(),
            ]);
        }
    }
    let title = "FNIR by FPIR, by person".to_owned();
    let chart = Chart { title, scale: Scale::Logarithmic, x: "FPIR", y: "FNIR", series };
    Some(Section { title: "Identification", notes, tables: vec![table, larger, in_force], charts: vec![chart] })
}

fn gallery_note(gallery: &MeasuredGallery) -> String {
    let mut note = format!(
        "{} templates, {} draws: on average {:.0} searches for {:.0} enrolled people and {:.0} for {} who are not",
        count(gallery.size as u64),
        gallery.draws,
        gallery.mated_searches,
        gallery.mated_people,
        gallery.non_mated_searches,
        count(gallery.non_mated_people as u64)
    );
    if let Some(first) = gallery.not_reported.first() {
        note += &format!(
            "; FPIR {} and less is not reported, it needs {} people who are not enrolled (3 / FPIR)",
            percent(first.rate),
            count(first.needs)
        );
    }
    note
}

fn extrapolated_row(size: usize, point: &ExtrapolatedPoint) -> [String; 5] {
    let fnir = |point: Option<&OperatingPoint>| {
        point.map_or_else(|| "too few impostors".to_owned(), |point| percent_interval(&point.fnmr))
    };
    [
        format!("{}, extrapolated", count(size as u64)),
        format!("FPIR {}", percent(point.fpir)),
        small(point.fmr),
        fnir(point.by_comparison.as_ref()),
        fnir(point.by_person.as_ref()),
    ]
}

pub(super) fn discard(evaluation: &Evaluation) -> Option<Section> {
    let discards = &evaluation.error_versus_discard;
    if discards.is_empty() {
        return None;
    }
    let mut table = Table::new(
        "FNMR when the photos of the lowest crfiqa are left out",
        &["left out", "photos", "lowest crfiqa", "counted", "at", "FNMR (95 % interval)"],
    );
    for discard in discards {
        for (weighting, _) in WEIGHTINGS {
            let rates = discard.rates.get(weighting);
            let mut row = |at: String, fnmr: &Estimate| {
                table.row([
                    format!("{:.0} %", discard.share * 100.0),
                    count(discard.photos),
                    format!("{:.3}", discard.lowest_crfiqa),
                    short(weighting).to_owned(),
                    at,
                    percent_interval(fnmr),
                ]);
            };
            for point in &rates.points {
                row(format!("FMR {:e}", point.fmr), &point.fnmr);
            }
            row("threshold in force".to_owned(), &rates.fnmr_in_force);
        }
    }
    Some(Section { title: "Error versus discard", tables: vec![table], ..Section::default() })
}

pub(super) fn groups(evaluation: &Evaluation, source: Option<&GroupSource>) -> Option<Section> {
    let threshold = evaluation.verification.threshold;
    let mut notes = vec!["FMR is of pairs within a group.".to_owned()];
    notes.push(match source? {
        GroupSource::File(file) => format!("Groups of the file {file}."),
        GroupSource::Estimated => "Groups estimated from the photos by the networks of the pack, which err, and more for some \
                                   groups than for others: a difference between them is a reason to look, not a finding."
            .to_owned(),
    });
    if evaluation.groups.is_empty() {
        notes.push("No group has two people with a template.".to_owned());
    }
    let mut table = Table::new(
        format!("At the threshold in force (cosine {:.4})", threshold.cosine),
        &["group", "people", "with several", "pairs of people", "counted", "FMR within the group", "FNMR"],
    );
    for group in &evaluation.groups {
        for (weighting, _) in WEIGHTINGS {
            table.row(group_row(group, weighting));
        }
    }
    Some(Section { title: "Groups", notes, tables: vec![table], ..Section::default() })
}

fn group_row(group: &Group, weighting: Weighting) -> [String; 7] {
    let rates = group.rates.get(weighting);
    let text =
        |estimate: Option<&Estimate>, text: fn(&Estimate) -> String| estimate.map_or_else(|| "-".to_owned(), text);
    [
        format!("{}: {}", group.column, group.value),
        count(group.people as u64),
        count(group.people_with_several),
        count(group.pairs_of_people),
        short(weighting).to_owned(),
        text(rates.fmr.as_ref(), small_interval),
        text(rates.fnmr.as_ref(), percent_interval),
    ]
}
