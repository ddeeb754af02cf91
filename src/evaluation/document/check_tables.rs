//! How the evaluation was made, the counts, and the check of the data set.

use super::super::{DataCheck, Evaluation, NamedPair, NamedPhoto};
use super::format::{count, percent, percent_interval};
use super::{Run, Section, Table};

pub(super) fn run(run: &Run) -> Option<Section> {
    let mut models = Table::new(format!("Models of the pack {}", run.pack), &["id", "model", "SHA-256"]);
    run.models.iter().for_each(|model| models.row([&model.id, &model.title, &model.sha256]));
    let faces = run.faces.as_ref().map(|faces| format!("face of a photo of a person: {faces}; ")).unwrap_or_default();
    let notes = vec![
        format!("{}, {}", run.program, run.started),
        run.command.clone(),
        run.machine.clone(),
        format!("{faces}analyses from the cache: {}", run.cached),
        format!("95 % intervals by {} draws with replacement, seed {}", run.draws, run.seed),
    ];
    Some(Section { title: "How this was measured", notes, tables: vec![models], ..Section::default() })
}

pub(super) fn counts(evaluation: &Evaluation) -> Option<Section> {
    let (failures, counts) = (&evaluation.failures, &evaluation.counts);
    let mut notes = vec![
        format!(
            "{} photos of {} people have a template; {} people have several",
            count(counts.photos as u64),
            count(counts.people as u64),
            count(counts.people_with_several_photos)
        ),
        format!(
            "{} genuine and {} impostor comparisons, of {} pairs of people",
            count(counts.genuine),
            count(counts.impostors),
            count(counts.pairs_of_people)
        ),
    ];
    if counts.pairs_of_relatives > 0 {
        notes.push(format!(
            "{} pairs of relatives are left out of the impostors, {} comparisons",
            counts.pairs_of_relatives,
            count(counts.comparisons_of_relatives)
        ));
    }
    let mut table = Table::new("Failures", &["", "count", "of", "rate"]);
    table.row([
        "failure to acquire (photos)".to_owned(),
        count(failures.photos_failed as u64),
        count(failures.photos as u64),
        percent_interval(&failures.acquire),
    ]);
    for (reason, failed) in &failures.by_reason {
        let share = *failed as f64 / failures.photos.max(1) as f64;
        table.row([format!("  {reason}"), count(*failed as u64), count(failures.photos as u64), percent(share)]);
    }
    table.row([
        "failure to enroll (people without any template)".to_owned(),
        count(failures.people_failed as u64),
        count(failures.people as u64),
        percent_interval(&failures.enroll),
    ]);
    let mut failed = Table::list("Photos without a template", &["photo", "reason"]);
    failures.failed.iter().for_each(|photo| failed.row([&photo.file, &photo.reason]));
    let tables = if failures.failed.is_empty() { vec![table] } else { vec![table, failed] };
    Some(Section { title: "Data set", notes, tables, ..Section::default() })
}

fn photo(photo: &NamedPhoto) -> String {
    photo.file.clone()
}

fn pairs(caption: String, pairs: &[NamedPair]) -> Table {
    let mut table = Table::list(caption, &["cosine", "photo", "photo"]);
    pairs.iter().for_each(|pair| table.row([format!("{:.4}", pair.cosine), photo(&pair.first), photo(&pair.second)]));
    table
}

pub(super) fn data_check(check: &DataCheck) -> Option<Section> {
    let mut same_bytes = Table::list(
        format!("Photos that are there several times (same bytes): {}", check.same_bytes.len()),
        &["photos"],
    );
    for copies in &check.same_bytes {
        same_bytes.row([copies.iter().map(photo).collect::<Vec<_>>().join(", ")]);
    }
    let mut mislabeled = Table::list(
        format!(
            "Likely mislabeled, or of too low quality: photos nearer to another person than to all of their own: {}",
            check.likely_mislabeled.len()
        ),
        &["photo", "own", "other", "nearest other photo"],
    );
    for found in &check.likely_mislabeled {
        let (own, other) = (format!("{:.3}", found.own_cosine), format!("{:.3}", found.other_cosine));
        mislabeled.row([photo(&found.photo), own, other, photo(&found.other)]);
    }
    let one = &check.near_duplicates_of_one_person;
    let two = &check.near_duplicates_of_two_people;
    let tables = vec![
        same_bytes,
        pairs(format!("Near duplicates of one person (cosine 0.98 and more): {}", one.len()), one),
        pairs(format!("Near duplicates of two people: {}", two.len()), two),
        mislabeled,
        pairs("Worst genuine pairs".to_owned(), &check.worst_genuine),
        pairs("Worst impostor pairs".to_owned(), &check.worst_impostors),
    ];
    let notes = vec!["Label errors and copies decide the lowest rates: look at these photos first.".to_owned()];
    Some(Section { title: "Check of the data set", notes, tables, ..Section::default() })
}
