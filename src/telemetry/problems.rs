//! What is wrong with the server now, since when, and what to do.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::gauges::Gauges;

/// The share of a disk that may be free before it is a problem.
const MIN_DISK_SHARE: f64 = 0.05;

/// Free bytes above which a disk is no problem, however large it is.
const ENOUGH_DISK_BYTES: u64 = 10 << 30;

/// How long before its end a certificate is a problem.
const CERTIFICATE_WARNING: Duration = Duration::from_secs(14 * 86_400);

/// How long an event of the outbox may wait for a journal.
const MAX_OUTBOX_AGE: Duration = Duration::from_secs(60);

/// Journal lines that may wait for the disk.
const MAX_JOURNAL_WAITING: usize = 10_000;

/// What problems are found from, beside the gauges.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    /// Whether the galleries that existed at the start are loaded.
    pub is_loaded: bool,
    /// Whether a gallery lacks a sealing key.
    pub lacks_key: bool,
    /// Whether the workers of the engine are warm.
    pub is_engine_ready: bool,
    /// Whether the server is about to stop.
    pub is_stopping: bool,
    /// Whether keys and revisions were read too long ago to be used.
    pub is_stale: bool,
    /// Why the database cannot be written.
    pub write_fault: Option<&'static str>,
    /// Why the clock is not trusted.
    pub clock_doubt: Option<String>,
    /// When the TLS certificate ends; `None` without TLS.
    pub certificate_end: Option<SystemTime>,
    /// The age of the oldest event of the outbox that no journal has recorded.
    pub outbox_age: Duration,
    /// Free and total bytes of the disk with the data folder, where the system reports them.
    pub disk: Option<(u64, u64)>,
    /// Why the last verification of the journal failed.
    pub journal_fault: Option<String>,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The server serves, but an operator has to act.
    Warning,
    /// Requests are refused.
    Critical,
}

/// Something that an operator has to act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A stable word.
    pub kind: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, with its numbers.
    pub info: String,
    /// What to do.
    pub remedy: &'static str,
    /// Since when this server has seen it, to the interval of the samples.
    pub since: SystemTime,
}

/// Remembers since when problems are seen.
#[derive(Debug, Default)]
pub(super) struct ProblemLog(Mutex<BTreeMap<&'static str, SystemTime>>);

impl ProblemLog {
    /// The problems of this moment, the worst first, then the oldest.
    pub(super) fn observe(&self, gauges: &Gauges, facts: &Facts, now: SystemTime) -> Vec<Problem> {
        let found = find(gauges, facts, now);
        let mut log = self.0.lock();
        log.retain(|kind, _| found.iter().any(|problem| problem.kind == *kind));
        for problem in &found {
            log.entry(problem.kind).or_insert(now);
        }
        dated(found, &log, now)
    }

    /// The problems of a part of the gauges, dated as they are known.
    pub(super) fn describe(&self, gauges: &Gauges, facts: &Facts, now: SystemTime) -> Vec<Problem> {
        dated(find(gauges, facts, now), &self.0.lock(), now)
    }
}

/// The worst first, then the oldest.
fn dated(found: Vec<Found>, log: &BTreeMap<&'static str, SystemTime>, now: SystemTime) -> Vec<Problem> {
    let date = |problem: Found| {
        let Found { kind, severity, info, remedy } = problem;
        Problem { kind, severity, info, remedy, since: log.get(kind).copied().unwrap_or(now) }
    };
    let mut problems: Vec<Problem> = found.into_iter().map(date).collect();
    problems.sort_by(|one, other| other.severity.cmp(&one.severity).then(one.since.cmp(&other.since)));
    problems
}

struct Found {
    kind: &'static str,
    severity: Severity,
    info: String,
    remedy: &'static str,
}

fn find(gauges: &Gauges, facts: &Facts, now: SystemTime) -> Vec<Found> {
    let mut found = Vec::new();
    let mut add = |severity, kind, info: String, remedy| found.push(Found { kind, severity, info, remedy });
    use Severity::{Critical, Warning};
    if facts.is_stopping {
        add(Critical, "stopping", "the server is stopping".to_owned(), "wait until it has started again");
    }
    if facts.lacks_key {
        let remedy = "put the key into the key file of this node, then reload, or see `semblance key status`";
        add(Critical, "sealingKeyMissing", "a sealing key is missing, so a gallery cannot be read".to_owned(), remedy);
    } else if !facts.is_loaded {
        add(Critical, "loading", "galleries are being loaded".to_owned(), "wait; the log has the progress");
    }
    if !facts.is_engine_ready {
        let remedy = "wait a moment; if it stays, read the log and run `semblance models check`";
        add(Critical, "engineNotReady", "the workers of the engine are not ready".to_owned(), remedy);
    }
    if facts.is_stale {
        let info =
            format!("the database has not been read for {} s, so requests are refused", gauges.staleness.as_secs());
        add(Critical, "databaseStale", info, "bring the database back; database.max_stale_s is the limit");
    } else if !gauges.store_reachable && facts.is_loaded {
        let info = format!(
            "the database does not answer; identify goes on from memory for {} s so far",
            gauges.staleness.as_secs()
        );
        add(
            Critical,
            "databaseAway",
            info,
            "check the database server and the network; enrollments and deletions get 503",
        );
    } else if let Some(fault) = facts.write_fault {
        let info = format!("the database cannot be written: {fault}");
        add(
            Critical,
            "databaseReadOnly",
            info,
            "check its disk and whether it is a standby; enrollments and deletions get 503",
        );
    }
    if gauges.stale_galleries > 0 && !facts.is_stale {
        let info =
            format!("{} galleries do not follow the database, so their searches get 503", gauges.stale_galleries);
        add(Critical, "galleriesStale", info, "read the log for the reason; restart the server if it stays");
    }
    if let Some(doubt) = &facts.clock_doubt {
        let remedy =
            "set the clock right; if it is right, confirm it: resume expiry, or `semblance retention confirm-clock`";
        add(Warning, "clockInDoubt", format!("expiry is paused: {doubt}"), remedy);
    }
    let held: u64 = gauges.held.iter().map(|(_, templates)| templates).sum();
    if held > 0 {
        let info = format!("{held} people are past their retention, more than may expire in a day; none is erased");
        add(Warning, "expiryHeld", info, "check the retention period, then confirm: `semblance retention confirm APP`");
    }
    if gauges.journal_lost > 0 {
        let info = format!(
            "{} journal lines were lost since the start; the journal records their number",
            gauges.journal_lost
        );
        add(Warning, "journalLost", info, "give the journal a faster disk, or free room on it");
    }
    if gauges.journal_waiting > MAX_JOURNAL_WAITING || facts.outbox_age > MAX_OUTBOX_AGE {
        let info = format!(
            "the journal is behind: {} lines wait for the disk, the oldest event of the database for {} s",
            gauges.journal_waiting,
            facts.outbox_age.as_secs(),
        );
        add(Warning, "journalBehind", info, "check the disk of the data folder, and that a node with a journal runs");
    }
    if let Some(fault) = &facts.journal_fault {
        let remedy = "keep the files as they are, and find out who changed them: docs/journal.md";
        add(Warning, "journalBroken", format!("the journal does not verify: {fault}"), remedy);
    }
    if let Some(end) = facts.certificate_end {
        let left = end.duration_since(now).ok();
        if left.is_none_or(|left| left < CERTIFICATE_WARNING) {
            let info = left.map_or_else(
                || "the TLS certificate has expired; clients refuse it".to_owned(),
                |left| format!("the TLS certificate expires in {} days", left.as_secs() / 86_400),
            );
            let severity = if left.is_none() { Critical } else { Warning };
            add(
                severity,
                "certificateEnds",
                info,
                "renew it and replace the files; the server reads them again by itself",
            );
        }
    }
    let unreadable: usize = gauges.unreadable.iter().map(|(_, templates)| templates).sum();
    if unreadable > 0 {
        let info = format!("{unreadable} people have a sample that cannot be read");
        add(Warning, "unreadableSamples", info, "read the log for the reason: a missing sealing key, or a damaged row");
    }
    if let Some((free, total)) = facts.disk
        && free < ENOUGH_DISK_BYTES
        && (free as f64) < MIN_DISK_SHARE * total as f64
    {
        let info = format!("the disk of the data folder has {} MiB free", free >> 20);
        add(Warning, "diskNearlyFull", info, "free room: journal.keep_days bounds the journal");
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::domain::AppId;

    fn good() -> (Gauges, Facts) {
        let gauges = Gauges { store_reachable: true, ..Gauges::default() };
        let facts = Facts {
            is_loaded: true,
            is_engine_ready: true,
            certificate_end: Some(UNIX_EPOCH + Duration::from_secs(100 * 86_400)),
            disk: Some((1 << 30, 1 << 31)),
            ..Facts::default()
        };
        (gauges, facts)
    }

    fn kinds(gauges: &Gauges, facts: &Facts) -> Vec<&'static str> {
        let found = ProblemLog::default().observe(gauges, facts, UNIX_EPOCH);
        assert!(found.iter().all(|problem| !problem.info.is_empty() && !problem.remedy.is_empty()));
        found.into_iter().map(|problem| problem.kind).collect()
    }

    #[test]
    fn every_fault_is_a_problem_and_a_good_server_has_none() {
        let (gauges, facts) = good();
        assert_eq!(kinds(&gauges, &facts), Vec::<&str>::new());
        let app: AppId = "a".parse().unwrap();
        type Change = fn(&mut Facts);
        let changes: [(&str, Change); 11] = [
            ("stopping", |facts| facts.is_stopping = true),
            ("sealingKeyMissing", |facts| facts.lacks_key = true),
            ("loading", |facts| facts.is_loaded = false),
            ("engineNotReady", |facts| facts.is_engine_ready = false),
            ("databaseStale", |facts| facts.is_stale = true),
            ("databaseReadOnly", |facts| facts.write_fault = Some("its disk is full")),
            ("clockInDoubt", |facts| facts.clock_doubt = Some("it jumped".to_owned())),
            ("journalBehind", |facts| facts.outbox_age = Duration::from_secs(61)),
            ("journalBroken", |facts| facts.journal_fault = Some("line 3".to_owned())),
            ("certificateEnds", |facts| facts.certificate_end = Some(UNIX_EPOCH + Duration::from_secs(86_400))),
            ("diskNearlyFull", |facts| facts.disk = Some((1 << 30, 1 << 40))),
        ];
        for (kind, change) in changes {
            let mut facts = facts.clone();
            change(&mut facts);
            assert_eq!(kinds(&gauges, &facts), [kind]);
        }
        for (kind, gauges) in [
            ("databaseAway", Gauges { store_reachable: false, ..gauges.clone() }),
            ("galleriesStale", Gauges { stale_galleries: 1, ..gauges.clone() }),
            ("expiryHeld", Gauges { held: vec![(app.clone(), 200)], ..gauges.clone() }),
            ("journalLost", Gauges { journal_lost: 1, ..gauges.clone() }),
            ("journalBehind", Gauges { journal_waiting: MAX_JOURNAL_WAITING + 1, ..gauges.clone() }),
            ("unreadableSamples", Gauges { unreadable: vec![(app, 2)], ..gauges.clone() }),
        ] {
            assert_eq!(kinds(&gauges, &facts), [kind]);
        }
    }

    #[test]
    fn a_problem_keeps_its_beginning_until_it_is_over() {
        let (gauges, facts) = good();
        let log = ProblemLog::default();
        let lost = Gauges { journal_lost: 1, ..gauges.clone() };
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        log.observe(&lost, &facts, at(10));
        let worse = Facts { is_stale: true, ..facts.clone() };
        let found = log.observe(&lost, &worse, at(20));
        assert_eq!(
            found.iter().map(|problem| (problem.kind, problem.since)).collect::<Vec<_>>(),
            [("databaseStale", at(20)), ("journalLost", at(10)),]
        );
        assert!(log.observe(&gauges, &facts, at(30)).is_empty());
        assert_eq!(log.observe(&lost, &facts, at(40))[0].since, at(40));
    }
}
