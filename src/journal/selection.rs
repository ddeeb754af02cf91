//! Which lines of a journal a search or an export is about.

use std::borrow::Cow;
use std::collections::BTreeSet;

use memchr::memmem::Finder;
use serde::Deserialize;

use super::receipt::has_receipt;

/// Selects the lines that meet every condition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// From this time on: RFC 3339, or its beginning (`2026-11`). Empty selects from the first line.
    pub from: String,
    /// Up to and including this time, likewise. Empty selects to the last line.
    pub to: String,
    /// Whose operation contains this text, such as `identify`.
    pub operation: Option<String>,
    /// With this outcome; [`Selection::FAILED`] selects every failure, [`Selection::NEAR`] what came near.
    pub outcome: Option<String>,
    /// Of this application.
    pub app: Option<String>,
    /// Of one of these applications; `None` allows all, and lines without an application.
    pub apps: Option<BTreeSet<String>>,
    /// Of this template, or near to it.
    pub template: Option<String>,
    /// Of this actor: `kind`, `kind:id` or the id alone.
    pub actor: Option<String>,
    /// Of this application key.
    pub key: Option<String>,
    /// Of this request.
    pub transaction: Option<String>,
    /// Of this event of the outbox, such as an erasure.
    pub event: Option<String>,
    /// Only lines with a receipt.
    pub receipts: bool,
}

impl Selection {
    /// The outcome that selects every failure.
    pub const FAILED: &str = "failed";

    /// The outcome that selects identifications without a match whose best candidate came near the threshold.
    pub const NEAR: &str = "near";

    /// A test that many lines pass through.
    pub(super) fn matcher(&self) -> Matcher<'_> {
        let texts = [&self.app, &self.template, &self.key, &self.transaction, &self.event];
        // A text stands in the line as JSON writes it.
        let json = |text: &String| serde_json::to_string(text).ok();
        let mut needles: Vec<String> = texts.into_iter().flatten().filter_map(json).collect();
        needles.extend(self.receipts.then(|| "\"receipt\":".to_owned()));
        let finders = needles.iter().map(|needle| Finder::new(needle).into_owned()).collect();
        Matcher { selection: self, finders }
    }
}

/// The members of a line that a selection looks at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Members<'a> {
    #[serde(borrow)]
    pub(super) time: Cow<'a, str>,
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(default)]
    code: u16,
    #[serde(borrow, default)]
    outcome: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    app: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    template_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    transaction_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    key_id: Option<Cow<'a, str>>,
    #[serde(default)]
    actor: Option<Actor>,
    #[serde(borrow, default)]
    near: Option<Near<'a>>,
}

/// A candidate below the threshold.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Near<'a> {
    #[serde(borrow)]
    template_id: Cow<'a, str>,
}

/// An actor as a line names it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Actor {
    Text(String),
    Parts {
        kind: String,
        #[serde(default)]
        id: Option<String>,
    },
}

impl Actor {
    fn is(&self, filter: &str) -> bool {
        let (kind, id) = match self {
            Self::Text(text) => text.split_once(':').map_or((text.as_str(), None), |(kind, id)| (kind, Some(id))),
            Self::Parts { kind, id } => (kind.as_str(), id.as_deref()),
        };
        filter == kind || id == Some(filter) || id.is_some_and(|id| filter == format!("{kind}:{id}"))
    }
}

/// A selection, prepared for many lines.
pub(super) struct Matcher<'a> {
    selection: &'a Selection,
    /// Texts that every selected line contains: most lines are passed over without being parsed.
    finders: Vec<Finder<'static>>,
}

impl Matcher<'_> {
    /// Whether a line may be selected. It is cheap, and never wrong when it says no.
    pub(super) fn may_match(&self, line: &[u8]) -> bool {
        self.finders.iter().all(|finder| finder.find(line).is_some())
    }

    /// Whether a line is selected.
    pub(super) fn matches(&self, members: &Members<'_>, line: &str) -> bool {
        let Selection {
            from,
            to,
            operation,
            outcome,
            app,
            apps,
            template,
            actor,
            key,
            transaction,
            event,
            receipts,
            ..
        } = self.selection;
        let time = members.time.as_ref();
        let until = time.get(..to.len().min(time.len())).unwrap_or_default();
        let is = |member: &Option<Cow<'_, str>>, filter: &Option<String>| {
            filter.as_ref().is_none_or(|filter| member.as_deref() == Some(filter))
        };
        let has_outcome = match outcome.as_deref() {
            None => true,
            Some(Selection::FAILED) => members.code != 0,
            Some(Selection::NEAR) => members.near.is_some(),
            Some(outcome) => members.outcome.as_deref() == Some(outcome),
        };
        time >= from.as_str()
            && (to.is_empty() || until <= to.as_str())
            && operation.as_ref().is_none_or(|part| members.operation.contains(part.as_str()))
            && has_outcome
            && is(&members.app, app)
            && apps.as_ref().is_none_or(|apps| members.app.as_deref().is_some_and(|app| apps.contains(app)))
            && (is(&members.template_id, template)
                || members.near.as_ref().is_some_and(|near| template.as_deref() == Some(near.template_id.as_ref())))
            && is(&members.key_id, key)
            && is(&members.transaction_id, transaction)
            && is(&members.id, event)
            && actor.as_ref().is_none_or(|filter| members.actor.as_ref().is_some_and(|actor| actor.is(filter)))
            && (!receipts || has_receipt(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(selection: &Selection, line: &str) -> bool {
        let matcher = selection.matcher();
        let members: Members<'_> = serde_json::from_str(line).unwrap();
        let matches = matcher.matches(&members, line);
        assert!(!matches || matcher.may_match(line.as_bytes()), "a selected line passes the first test: {line}");
        matches
    }

    #[test]
    fn every_condition_has_to_hold() {
        let line = r#"{"n":7,"time":"2026-11-23T09:30:00.000Z","id":"e1","transactionId":"t1","app":"a\"x","operation":"POST /api/v1.0/identify","status":200,"code":0,"outcome":"found","templateId":"ann","keyId":"k-1","actor":{"kind":"admin","id":"anna"},"models":"m"}"#;
        let text = |text: &str| Some(text.to_owned());
        let all = Selection {
            from: "2026-11-23".to_owned(),
            to: "2026-11-23T09:30".to_owned(),
            operation: text("identify"),
            outcome: text("found"),
            app: text("a\"x"),
            apps: Some(BTreeSet::from(["a\"x".to_owned(), "b".to_owned()])),
            template: text("ann"),
            actor: text("admin:anna"),
            key: text("k-1"),
            transaction: text("t1"),
            event: text("e1"),
            receipts: false,
        };
        assert!(selects(&all, line));
        assert!(selects(&Selection::default(), line));
        let changes: [fn(&mut Selection); 13] = [
            |s| s.from = "2026-11-23T09:30:00.001Z".to_owned(),
            |s| s.to = "2026-11-23T09:29:59.999Z".to_owned(),
            |s| s.operation = Some("verify".to_owned()),
            |s| s.outcome = Some("nobody".to_owned()),
            |s| s.outcome = Some(Selection::FAILED.to_owned()),
            |s| s.app = Some("a".to_owned()),
            |s| s.apps = Some(BTreeSet::from(["b".to_owned()])),
            |s| s.template = Some("an".to_owned()),
            |s| s.actor = Some("key".to_owned()),
            |s| s.key = Some("k".to_owned()),
            |s| s.transaction = Some("t".to_owned()),
            |s| s.event = Some("e".to_owned()),
            |s| s.receipts = true,
        ];
        for (at, change) in changes.into_iter().enumerate() {
            let mut other = all.clone();
            change(&mut other);
            assert!(!selects(&other, line), "condition {at}");
        }
        for actor in ["admin", "anna"] {
            assert!(selects(&Selection { actor: text(actor), ..Selection::default() }, line), "{actor}");
        }
    }

    #[test]
    fn failures_and_actors_of_another_form_are_found() {
        let line =
            r#"{"n":1,"time":"2026","operation":"add","status":400,"code":5,"actor":"administrator:7","models":"m"}"#;
        let text = |text: &str| Some(text.to_owned());
        assert!(selects(&Selection { outcome: text(Selection::FAILED), ..Selection::default() }, line));
        for (actor, is) in [("administrator", true), ("administrator:7", true), ("7", true), ("8", false), ("a", false)]
        {
            assert_eq!(selects(&Selection { actor: text(actor), ..Selection::default() }, line), is, "{actor}");
        }
        let of_all = Selection { apps: Some(BTreeSet::new()), ..Selection::default() };
        assert!(!selects(&of_all, line), "a line without an application is not of one of these");
    }
}
