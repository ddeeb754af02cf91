//! Tests of searches, exports and the ends of a journal, through its folder.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::tests::{config, file, write, write_on};
use super::*;

/// All lines of a search, page by page, and the number of pages.
fn search_all(dir: &Path, selection: &Selection, limit: usize, budget: SearchBudget) -> (Vec<u64>, usize) {
    let mut found = Vec::new();
    let mut pages = 0;
    let mut place = None;
    loop {
        let page = search(dir, selection, limit, place.as_ref(), budget).unwrap();
        pages += 1;
        assert!(page.lines.len() <= limit);
        found.extend(page.lines.iter().map(|line| serde_json::from_str::<Entry>(line).unwrap().n));
        assert!(page.next.is_none() || page.next != place, "every page advances, or ends");
        place = page.next;
        if place.is_none() {
            return (found, pages);
        }
    }
}

#[test]
fn a_search_returns_the_newest_lines_first_on_any_number_of_pages() {
    let dir = tempfile::tempdir().unwrap();
    write_on(dir.path(), 0, &[0, 1, 2, 2, 5]);
    let all: Vec<u64> = (1..=10).rev().collect();
    let whole = SearchBudget::default();
    for limit in 1..=11 {
        let (found, pages) = search_all(dir.path(), &Selection::default(), limit, whole);
        assert_eq!(found, all, "limit {limit}");
        assert!(pages <= 10 / limit + 1, "limit {limit}: {pages}");
    }
    for budget in [SearchBudget { bytes: 0, ..whole }, SearchBudget { time: Duration::ZERO, ..whole }] {
        let (found, pages) = search_all(dir.path(), &Selection::default(), 100, budget);
        assert_eq!((found, pages), (all.clone(), 4), "one file a page");
    }
    let page = search(dir.path(), &Selection::default(), 3, None, whole).unwrap();
    assert_eq!(page.scanned_to.as_deref(), Some("2024-10-06T00:01:00.000Z"), "the oldest line that was read");
    // Lines that are written meanwhile do not move the place.
    write_on(dir.path(), 0, &[5, 6]);
    let rest = search(dir.path(), &Selection::default(), 100, page.next.as_ref(), whole).unwrap();
    assert_eq!(rest.lines.len(), 7);
    assert_eq!(rest.next, None);
}

#[test]
fn a_search_reads_only_the_files_that_a_period_can_be_in() {
    let dir = tempfile::tempdir().unwrap();
    let days: Vec<u64> = (0..80).collect();
    write_on(dir.path(), 0, &days);
    let at = |day: u64| rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs((20_000 + day) * 86_400));
    let selection = Selection { from: at(10), to: at(12), ..Selection::default() };
    let (found, _) = search_all(dir.path(), &selection, 100, SearchBudget::default());
    assert_eq!(found, [24, 23, 22, 21]);
    // A file that is not read need not even be readable.
    for day in (0..9).chain(44..80) {
        let name: String = at(day).chars().take(10).collect();
        std::fs::write(dir.path().join(format!("{name}.ndjson")), "junk\n".repeat(3)).unwrap();
    }
    let page = search(dir.path(), &selection, 100, None, SearchBudget::default()).unwrap();
    assert_eq!((page.lines.len(), page.damaged), (4, 0));
    // The line of an event that waited in the outbox is in a later file.
    let mut writer = writer::Writer::open(config(&dir.path().join("late"))).unwrap();
    let event = Entry { time: at(10), operation: ERASURE.to_owned(), ..Entry::default() };
    writer.write(&[&event], SystemTime::UNIX_EPOCH + Duration::from_secs(20_030 * 86_400)).unwrap();
    let late = search(&dir.path().join("late"), &selection, 100, None, SearchBudget::default()).unwrap();
    assert_eq!(late.lines.len(), 1);
}

#[test]
fn a_search_survives_damage_and_long_lines() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(config(dir.path())).unwrap();
    let app = || Some("a".to_owned());
    for length in [1, 300_000, 2, 700_000, 3] {
        journal.record(Entry { operation: "x".repeat(length), app: app(), ..Entry::default() });
    }
    journal.stop();
    let small = SearchBudget { bytes: 1, ..SearchBudget::default() };
    let (found, _) = search_all(dir.path(), &Selection::default(), 100, small);
    assert_eq!(found, [5, 4, 3, 2, 1]);
    let of_a = Selection { app: app(), ..Selection::default() };
    assert_eq!(search_all(dir.path(), &of_a, 2, SearchBudget::default()).0, [5, 4, 3, 2, 1]);

    let path = file(dir.path());
    let whole = std::fs::read(&path).unwrap();
    let too_long = vec![b'y'; 3 << 20];
    let damaged = [&whole[..], b"junk\n\xff\xfe\n", &too_long, b"\n", &whole[..], b"{\"n\":9"].concat();
    std::fs::write(&path, damaged).unwrap();
    let page = search(dir.path(), &Selection::default(), 100, None, SearchBudget::default()).unwrap();
    assert_eq!(page.lines.len(), 10, "damage hides no other line");
    assert!(page.damaged >= 3, "{}", page.damaged);
    assert_eq!(search_all(dir.path(), &Selection::default(), 3, small).0, [5, 4, 3, 2, 1, 5, 4, 3, 2, 1]);
}

#[test]
fn an_export_for_spreadsheets_has_a_row_a_line() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0..3);
    let mut out = Vec::new();
    let selection = Selection { app: Some("even".to_owned()), ..Selection::default() };
    assert_eq!(export(dir.path(), &selection, ExportFormat::Csv, &mut out).unwrap(), 2);
    let text = String::from_utf8(out).unwrap();
    let rows: Vec<&str> = text.split_terminator("\r\n").collect();
    assert!(rows[0].starts_with("n,time,id,transactionId,client,app,operation,status,"), "{text}");
    assert_eq!(rows.len(), 3);
    assert!(rows[1].starts_with("1,2") && rows[1].contains(",t0,,even,,200,"), "{text}");
}

#[test]
fn the_ends_of_a_journal_are_known() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(extent(&dir.path().join("none")).unwrap(), Extent::default());
    write_on(dir.path(), 0, &[3, 4]);
    let found = extent(dir.path()).unwrap();
    let line = |number, time: &str| Some(EndLine { number, time: time.to_owned() });
    assert_eq!((found.first, found.last), (line(1, "2024-10-07T00:01:00.000Z"), line(4, "2024-10-08T00:01:00.000Z")));
    assert_eq!(found.files, 2);
    let bytes: u64 = reader::files(dir.path()).unwrap().iter().map(|(_, path)| path.metadata().unwrap().len()).sum();
    assert_eq!(found.bytes, bytes);
}
