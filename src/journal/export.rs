//! Exports lines of a journal: unchanged, so that they still verify, or as CSV for a table.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::reader::{VerifyError, each_line};
use super::selection::{Members, Selection};

/// The form of exported lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExportFormat {
    /// The lines as they are.
    #[default]
    Ndjson,
    /// One row a line, for spreadsheets: see [`csv_cell`].
    Csv,
}

/// The columns of a CSV: members of a line, in the order of [`Entry`](super::Entry). Later members follow as columns at
/// the end.
const COLUMNS: [&str; 21] = [
    "n",
    "time",
    "id",
    "transactionId",
    "client",
    "app",
    "operation",
    "status",
    "code",
    "outcome",
    "reason",
    "templateId",
    "revision",
    "similarity",
    "threshold",
    "models",
    "ms",
    "actor",
    "keyId",
    "sampleId",
    "changed",
];

/// Writes the selected lines, oldest first, and returns how many there are.
///
/// # Errors
/// When a file cannot be read, or `out` not written.
pub fn export(
    dir: &Path,
    selection: &Selection,
    format: ExportFormat,
    out: &mut impl Write,
) -> Result<u64, VerifyError> {
    let failed = |source| VerifyError::File { path: PathBuf::from("output"), source };
    if format == ExportFormat::Csv {
        write!(out, "{}\r\n", COLUMNS.join(",")).map_err(failed)?;
    }
    let matcher = selection.matcher();
    let mut count = 0;
    each_line(dir, |path, number, line| {
        if !matcher.may_match(line.as_bytes()) {
            return Ok(());
        }
        let damaged = || VerifyError::Chain { path: path.to_owned(), line: number };
        let members: Members<'_> = serde_json::from_str(line).map_err(|_| damaged())?;
        if !matcher.matches(&members, line) {
            return Ok(());
        }
        count += 1;
        match format {
            ExportFormat::Ndjson => writeln!(out, "{line}"),
            ExportFormat::Csv => {
                let object: Map<String, Value> = serde_json::from_str(line).map_err(|_| damaged())?;
                write!(out, "{}\r\n", row(&object))
            }
        }
        .map_err(failed)
    })?;
    Ok(count)
}

fn row(line: &Map<String, Value>) -> String {
    let cell = |column: &&str| match line.get(*column) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => csv_cell(text),
        Some(Value::Number(number)) => number.to_string(),
        Some(other) => csv_cell(&plain(other)),
    };
    COLUMNS.iter().map(cell).collect::<Vec<_>>().join(",")
}

/// A list as its items, an actor as `kind:id`, anything else as JSON.
fn plain(value: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        Value::Object(parts) => match (parts.get("kind"), parts.get("id")) {
            (Some(kind), Some(id)) if !id.is_null() => format!("{}:{}", text(kind), text(id)),
            (Some(kind), _) => text(kind),
            _ => value.to_string(),
        },
        other => text(other),
    }
}

/// A text as a cell of a CSV (RFC 4180). One that a spreadsheet takes for a formula, because it begins with `=`, `+`,
/// `-`, `@`, a tab or a line break, gets an apostrophe before it.
pub fn csv_cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if is_formula || text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula() {
        for (text, cell) in [
            ("found", "found"),
            ("a,b", "\"a,b\""),
            ("a \"b\"", "\"a \"\"b\"\"\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@a", "\"'@a\""),
            ("\t=1", "\"'\t=1\""),
            ("a=1", "a=1"),
        ] {
            assert_eq!(csv_cell(text), cell);
        }
    }

    #[test]
    fn every_column_is_filled_from_its_member() {
        let line = r#"{"n":7,"time":"t","operation":"=cmd","similarity":-0.5,"actor":{"kind":"admin","id":"a1"},"changed":["name","groups"],"mac":"m"}"#;
        let line: Map<String, Value> = serde_json::from_str(line).unwrap();
        assert_eq!(row(&line), "7,t,,,,,\"'=cmd\",,,,,,,-0.5,,,,admin:a1,,,name groups");
        let command = serde_json::from_str(r#"{"n":8,"actor":{"kind":"command"}}"#).unwrap();
        assert!(row(&command).contains(",command,"), "{}", row(&command));
    }
}
