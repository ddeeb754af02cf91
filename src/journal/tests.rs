//! Tests of the journal through its folder.

use std::path::Path;
use std::time::SystemTime;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::*;

fn key() -> JournalKey {
    JournalKey::new(Zeroizing::new([7; 32]))
}

pub(super) fn config(dir: &Path) -> JournalConfig {
    JournalConfig {
        dir: dir.to_owned(),
        key: key(),
        models: "pack-1".to_owned(),
        keep_days: 0,
        known: None,
        clock: Clock::system(),
        clock_trust: ClockTrust::new(true),
    }
}

pub(super) fn write(dir: &Path, ids: std::ops::Range<u32>) -> JournalPosition {
    let journal = Journal::open(config(dir)).unwrap();
    for id in ids {
        let app = Some(if id % 2 == 0 { "even" } else { "odd" }.to_owned());
        journal.record(Entry { transaction_id: format!("t{id}"), app, status: 200, ..Entry::default() });
    }
    journal.stop();
    journal.position()
}

pub(super) fn file(dir: &Path) -> PathBuf {
    let all: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!all.is_empty() && all.len() <= 2, "{all:?}"); // two when midnight passes
    all.into_iter().max().unwrap()
}

#[test]
fn a_chain_continues_after_a_restart_and_after_a_torn_line() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0..5);
    write(dir.path(), 5..8);
    assert_eq!(verify(dir.path(), &key(), None).unwrap(), VerifyReport { lines: 8, first: 1, last: 8, receipts: 0 });
    let path = file(dir.path());
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 20]).unwrap();
    write(dir.path(), 8..10);
    assert_eq!(verify(dir.path(), &key(), None).unwrap(), VerifyReport { lines: 9, first: 1, last: 9, receipts: 0 });
}

#[test]
fn every_change_of_a_line_is_detected() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0..6);
    let path = file(dir.path());
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut tampered: Vec<Vec<String>> = Vec::new();
    for at in 1..lines.len() - 1 {
        let mut removed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        removed.remove(at);
        tampered.push(removed);
    }
    let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    changed[2] = changed[2].replace("\"status\":200", "\"status\":400");
    tampered.push(changed);
    let mut moved: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    moved.swap(3, 4);
    tampered.push(moved);
    let mut doubled: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    doubled.insert(2, doubled[2].clone());
    tampered.push(doubled);
    for lines in tampered {
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        assert!(matches!(verify(dir.path(), &key(), None), Err(VerifyError::Chain { .. })), "{lines:?}");
    }
    for first in 1..lines.len() {
        std::fs::write(&path, lines[first..].join("\n") + "\n").unwrap();
        let found = verify(dir.path(), &key(), None);
        assert!(matches!(found, Err(VerifyError::Beginning { start: 1, .. })), "{found:?}");
    }
    std::fs::write(&path, &text).unwrap();
    assert!(verify(dir.path(), &key(), None).is_ok());
    assert!(verify(dir.path(), &JournalKey::new(Zeroizing::new([8; 32])), None).is_err());
}

#[test]
fn missing_last_lines_are_detected_by_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let known = write(dir.path(), 0..6);
    assert_eq!(known.line, 6);
    let path = file(dir.path());
    let text = std::fs::read_to_string(&path).unwrap();
    let check = |known: &JournalPosition| verify(dir.path(), &key(), Some(known));
    assert!(check(&known).is_ok());
    write(dir.path(), 6..8);
    assert!(check(&known).is_ok(), "it may reach further");
    let cut = text.lines().take(4).map(|line| format!("{line}\n")).collect::<String>();
    std::fs::write(&path, &cut).unwrap();
    assert!(matches!(check(&known), Err(VerifyError::End { known: 6, last: 4 })));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(check(&known), Err(VerifyError::End { known: 6, last: 0 })));
    assert!(matches!(check(&JournalPosition { mac: [1; 32], ..known }), Err(VerifyError::End { .. })));
    // A server that continues leaves the gap visible, whichever line the database knows then.
    for left in [cut.as_str(), ""] {
        std::fs::write(&path, left).unwrap();
        let journal = Journal::open(JournalConfig { known: Some(known), ..config(dir.path()) }).unwrap();
        journal.record(Entry { app: Some("a".to_owned()), ..Entry::default() });
        journal.stop();
        assert_eq!(journal.position().line, 7);
        assert!(check(&journal.position()).is_err());
    }
}

#[test]
fn a_last_line_may_be_long_and_must_be_complete() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0..1);
    let journal = Journal::open(config(dir.path())).unwrap();
    journal.record(Entry { operation: "x".repeat(300_000), app: Some("a".to_owned()), ..Entry::default() });
    journal.stop();
    write(dir.path(), 2..3);
    assert_eq!(verify(dir.path(), &key(), None).unwrap().last, 3);
    let path = file(dir.path());
    let whole = std::fs::read(&path).unwrap();
    // What a crash cut off, or a power failure left as zeros, is not a line, however long it is.
    for tail in [vec![b'{'; 200_000], vec![0; 200_000], b"{\"n\":4".to_vec(), vec![0xff; 10]] {
        std::fs::write(&path, [&whole[..], &tail].concat()).unwrap();
        assert_eq!(verify(dir.path(), &key(), None).unwrap().last, 3);
        write(dir.path(), 3..4);
        assert_eq!(verify(dir.path(), &key(), None).unwrap().last, 4);
        std::fs::write(&path, &whole).unwrap();
    }
    // After a complete line of another origin the journal neither continues nor removes the line.
    let last = String::from_utf8(whole.clone()).unwrap().lines().last().unwrap().replace("t2", "t9");
    for line in ["{}\n".to_owned(), "\n".to_owned(), "junk\n".repeat(20_000), last + "\n"] {
        std::fs::write(&path, [&whole[..], line.as_bytes()].concat()).unwrap();
        assert!(matches!(Journal::open(config(dir.path())), Err(JournalError::Damaged(_))));
        assert_eq!(std::fs::read(&path).unwrap().len(), whole.len() + line.len());
    }
}

/// Writes two entries on each day, which the test sets.
pub(super) fn write_on(dir: &Path, keep_days: u64, days: &[u64]) {
    let mut writer = writer::Writer::open(JournalConfig { keep_days, ..config(dir) }).unwrap();
    for day in days {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs((20_000 + day) * 86_400 + 60);
        let entry = Entry { time: rfc3339(now), ..Entry::default() };
        writer.write(&[&entry, &entry], now).unwrap();
    }
}

#[test]
fn a_clock_that_is_not_trusted_removes_no_file() {
    let dir = tempfile::tempdir().unwrap();
    write_on(dir.path(), 0, &[0, 1, 2]);
    let trust = ClockTrust::default();
    let config = JournalConfig { keep_days: 10, clock_trust: trust.clone(), ..config(dir.path()) };
    let mut writer = writer::Writer::open(config).unwrap();
    let mut write_on_day_100 = || {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(20_100 * 86_400 + 60);
        writer.write(&[&Entry::default()], now).unwrap();
    };
    write_on_day_100();
    assert_eq!(days(dir.path()), 4);
    trust.set(true);
    write_on_day_100();
    assert_eq!(days(dir.path()), 1, "they are removed as soon as the clock is trusted");
}

fn days(dir: &Path) -> usize {
    reader::files(dir).unwrap().len()
}

#[test]
fn a_clock_that_is_set_back_does_not_fork_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    write_on(dir.path(), 0, &[1, 2, 1, 0, 2, 3, 1]);
    write_on(dir.path(), 0, &[0, 2, 4]);
    assert_eq!(verify(dir.path(), &key(), None).unwrap().last, 20);
    assert_eq!(days(dir.path()), 4, "files of past days are not written");
}

#[test]
fn only_files_past_the_retention_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    write_on(dir.path(), 2, &[0, 1, 2, 3]);
    let found = verify(dir.path(), &key(), None).unwrap();
    assert_eq!((found.first, found.last, days(dir.path())), (3, 8, 3));
    write_on(dir.path(), 2, &[9]);
    let found = verify(dir.path(), &key(), None).unwrap();
    assert_eq!((found.first, found.last, days(dir.path())), (9, 10, 1));
    // No other lines may be missing, and the start has to be authentic.
    write_on(dir.path(), 0, &[10, 11]);
    let first = reader::files(dir.path()).unwrap().remove(0).1;
    let text = std::fs::read(&first).unwrap();
    std::fs::remove_file(&first).unwrap();
    let beginning = Err(VerifyError::Beginning { first: 11, start: 9 }.to_string());
    assert_eq!(verify(dir.path(), &key(), None).map_err(|error| error.to_string()), beginning);
    std::fs::write(&first, text).unwrap();
    let start = dir.path().join("start");
    let original = std::fs::read_to_string(&start).unwrap();
    for other in [original.replace("\"start\":9", "\"start\":11"), String::new()] {
        std::fs::write(&start, other).unwrap();
        assert!(matches!(verify(dir.path(), &key(), None), Err(VerifyError::Beginning { first: 9, start: 1 })));
    }
    std::fs::write(&start, original).unwrap();
    assert!(verify(dir.path(), &key(), None).is_ok());
}

/// Writes lines of the first version, which have no `prev`.
fn write_first_version(path: &Path, numbers: std::ops::RangeInclusive<u64>, mut before: [u8; 32]) {
    let mut text = String::new();
    for n in numbers {
        let body = format!(
            "{{\"n\":{n},\"time\":\"\",\"transactionId\":\"\",\"operation\":\"\",\"status\":200,\"code\":0,\"models\":\"p\",\"ms\":1.5"
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(key().bytes()).unwrap();
        mac.update(&before);
        mac.update(body.as_bytes());
        before = mac.finalize().into_bytes().into();
        text += &format!("{body},\"mac\":\"{}\"}}\n", hex::encode(before));
    }
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_journal_of_the_first_version_continues() {
    for (numbers, before) in [(1..=3, chain::ORIGIN), (8..=10, [5; 32])] {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("2020-01-01.ndjson");
        let first = *numbers.start();
        write_first_version(&old, numbers, before);
        write(dir.path(), 0..2);
        let found = verify(dir.path(), &key(), None).unwrap();
        assert_eq!((found.first, found.lines), (first, 5), "lines that were removed then may be missing");
        let text = std::fs::read_to_string(&old).unwrap();
        std::fs::write(&old, text.replacen("200", "400", 2).replacen("400", "200", 1)).unwrap();
        assert!(matches!(verify(dir.path(), &key(), None), Err(VerifyError::Chain { line: 2, .. })));
        std::fs::write(&old, text.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        assert!(matches!(verify(dir.path(), &key(), None), Err(VerifyError::Beginning { .. })));
    }
}

#[test]
fn lines_that_cannot_be_written_at_stop_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(config(dir.path())).unwrap();
    std::fs::remove_dir_all(dir.path()).unwrap();
    for _ in 0..3 {
        journal.record(Entry { app: Some("a".to_owned()), ..Entry::default() });
    }
    assert_eq!(journal.stop(), 3);
}

#[tokio::test]
async fn an_erasure_has_a_receipt_that_verifies_outside_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(config(dir.path())).unwrap();
    let of = |operation: &str, template: &str| Entry {
        operation: operation.to_owned(),
        template_id: Some(template.to_owned()),
        time: "2026-01-01T00:00:00.000Z".to_owned(),
        ..Entry::default()
    };
    journal.record_durably(vec![of("add", "a"), of(ERASURE, "a"), of(ERASURE, "b")]).await.unwrap();
    // The lines are on disk when the call returns.
    let found = verify(dir.path(), &key(), Some(&journal.position())).unwrap();
    assert_eq!(found, VerifyReport { lines: 3, first: 1, last: 3, receipts: 2 });
    assert_eq!(journal.stop(), 0);
    assert_eq!(journal.record_durably(vec![of("add", "a")]).await, Err(JournalClosed));
    let mut out = Vec::new();
    let selection = Selection { receipts: true, template: Some("a".to_owned()), ..Selection::default() };
    assert_eq!(export(dir.path(), &selection, ExportFormat::Ndjson, &mut out).unwrap(), 1);
    let line = String::from_utf8(out).unwrap();
    assert!(line.contains("2026-01-01T00:00:00.000Z"), "the time is that of the erasure: {line}");
    let public = key().receipt_key().unwrap();
    assert_eq!(check_receipt(&public, line.trim_end()), Ok(()));
    let forged = line.trim_end().replace("\"templateId\":\"a\"", "\"templateId\":\"c\"");
    assert_eq!(check_receipt(&public, &forged), Err(ReceiptFault::Forged));
}

#[test]
fn a_period_is_exported() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0..9);
    let export_period = |from: &str, to: &str, app: Option<&str>| {
        let mut out = Vec::new();
        let selection =
            Selection { from: from.to_owned(), to: to.to_owned(), app: app.map(str::to_owned), ..Selection::default() };
        let count = export(dir.path(), &selection, ExportFormat::Ndjson, &mut out).unwrap();
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count() as u64, count);
        count
    };
    assert_eq!(export_period("", "", None), 9);
    assert_eq!(export_period("", "", Some("odd")), 4);
    assert_eq!(export_period("2000", "2999-12-31", None), 9);
    assert_eq!(export_period("2999", "", None), 0);
    assert_eq!(export_period("", "2000-01-01", None), 0);
}
