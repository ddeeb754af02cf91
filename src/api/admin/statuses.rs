//! The failures that an operation can answer with: each status, and the words of `reason` that come with it.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;

use super::AdminRoute;

/// The failures of an operation: the words of `reason` by status. A status without words has no `reason`.
pub(super) type Failures = BTreeMap<u16, BTreeSet<&'static str>>;

/// Each word of `reason` that an operation may name, with its status.
const STATUS_OF_REASON: [(&str, u16); 41] = [
    ("backupsOff", 409),
    ("badCursor", 400),
    ("changed", 412),
    ("changedSince", 412),
    ("consentMissing", 400),
    ("countDiffers", 409),
    ("csrf", 403),
    ("externalIdTaken", 409),
    ("freshSessionRequired", 403),
    ("guardRefused", 409),
    ("invalidFields", 400),
    ("journalBusy", 503),
    ("keyEnded", 409),
    ("lastOwner", 409),
    ("lastSample", 409),
    ("mayNotChange", 403),
    ("nameDiffers", 400),
    ("nameTaken", 409),
    ("noCrop", 404),
    ("noPhotoAccepted", 400),
    ("noProbe", 404),
    ("notFound", 404),
    ("notPaused", 409),
    ("nothingHeld", 409),
    ("otherModel", 409),
    ("quotaReached", 409),
    ("roleTooLow", 403),
    ("running", 409),
    ("sameTemplate", 400),
    ("sampleLimit", 409),
    ("searchIndexOff", 409),
    ("searchTooLong", 503),
    ("signInRequired", 401),
    ("templateExists", 409),
    ("tlsRequired", 403),
    ("tooManyJobs", 409),
    ("tooManyKeys", 409),
    ("tooManyTokens", 409),
    ("unknownSeries", 400),
    ("wouldErase", 409),
    ("wrongHost", 421),
];

fn status_of(reason: &str) -> Option<u16> {
    STATUS_OF_REASON.iter().find(|(known, _)| *known == reason).map(|(_, status)| *status)
}

/// What an operation can fail with: what its row says, what its access rule refuses, and what follows from its path, its
/// parameters and its body.
pub(super) fn failures(route: &AdminRoute) -> Failures {
    let operation = &route.operation;
    let mut reasons: Vec<&'static str> = vec!["tlsRequired", "wrongHost"];
    let mut statuses: Vec<u16> = vec![500];
    if !route.access.is_public() {
        reasons.push("signInRequired");
        statuses.extend([429, 503]);
        if route.access.roles().len() < 3 {
            reasons.push("roleTooLow");
        }
        if route.access.is_changing() {
            reasons.push("mayNotChange");
        }
        if route.access.is_fresh() {
            reasons.push("freshSessionRequired");
        }
    }
    if route.method != Method::GET {
        reasons.push("csrf");
    }
    let has_ids = route.path.contains('{');
    if has_ids {
        reasons.push("notFound");
    }
    if has_ids || !operation.query.is_empty() || operation.has_body() || operation.is_conditional {
        reasons.push("invalidFields");
    }
    if operation.query.iter().any(|parameter| parameter.name == "cursor") {
        reasons.push("badCursor");
    }
    if operation.body.is_some() {
        statuses.extend([413, 415]);
    }
    if operation.form.is_some() {
        statuses.extend([413, 501]);
    }
    reasons.extend(operation.reasons);
    statuses.extend(operation.statuses);
    let mut failures: Failures = statuses.into_iter().map(|status| (status, BTreeSet::new())).collect();
    for reason in reasons {
        failures.entry(status_of(reason).unwrap_or(409)).or_default().insert(reason);
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::admin::all_rows;

    #[test]
    fn every_reason_of_the_table_has_a_status() {
        for route in all_rows() {
            for reason in route.operation.reasons {
                assert!(status_of(reason).is_some(), "{}: {reason}", route.operation.id);
            }
        }
    }
}
