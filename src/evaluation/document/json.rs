//! A report as JSON.

use serde_json::{Map, Value};

use super::Report;

/// The names that keys of a check have in JSON: those of ISO/IEC 30107-3.
const ATTACKS: [(&str, &str); 8] = [
    ("bona_fide", "live"),
    ("missed", "apcer"),
    ("flagged", "bpcer"),
    ("attack_no_response", "apnrr"),
    ("bona_fide_no_response", "bpnrr"),
    ("equal_error", "d_eer"),
    ("flagged_at_missed", "bpcer_at_apcer"),
    ("missed_at_flagged", "apcer_at_bpcer"),
];

/// The names in plain words.
const FORGERIES: [(&str, &str); 3] =
    [("bona_fide", "genuine"), ("attack_no_response", "no_response"), ("bona_fide_no_response", "no_response")];

pub(super) fn render(report: &Report) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(report)?;
    for (check, names) in [("attacks", &ATTACKS[..]), ("forgeries", &FORGERIES[..])] {
        if let Some(found) = value.get_mut(check) {
            *found = renamed(found.take(), names);
        }
    }
    Ok(value)
}

fn renamed(value: Value, names: &[(&str, &str)]) -> Value {
    let name = |key: String| names.iter().find(|(from, _)| *from == key).map_or(key, |(_, to)| (*to).to_owned());
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (name(key), renamed(value, names)));
            Value::Object(fields.collect::<Map<String, Value>>())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(|value| renamed(value, names)).collect()),
        other => other,
    }
}
