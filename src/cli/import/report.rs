//! The report: one row for each file that was not enrolled, or enrolled with a warning, as CSV and as JSON.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::names::text_of;
use crate::app::write_private;
use crate::cli::CliError;

/// The outcome of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// Not enrolled; the user has to act.
    Left,
    /// Enrolled; the user should check it.
    Warned,
    /// Not enrolled, and no action is needed.
    Skipped,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Warned => "warned",
            Self::Skipped => "skipped",
        }
    }
}

/// One file, or a folder that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    pub(super) outcome: Outcome,
    pub(super) path: String,
    /// The id that it would have had, if known.
    pub(super) person: String,
    /// One word for programs.
    pub(super) code: Cow<'static, str>,
    pub(super) reason: String,
    pub(super) remedy: String,
}

impl Row {
    fn new(outcome: Outcome, path: &Path, person: &str, code: &'static str) -> Self {
        let path = path_text(path);
        let person = person.to_owned();
        Self { outcome, path, person, code: code.into(), reason: String::new(), remedy: String::new() }
    }

    /// A file that is not enrolled; the user has to act.
    pub(super) fn left(path: &Path, person: &str, code: &'static str) -> Self {
        Self::new(Outcome::Left, path, person, code)
    }

    /// A file that is enrolled with a warning.
    pub(super) fn warned(path: &Path, person: &str, code: &'static str) -> Self {
        Self::new(Outcome::Warned, path, person, code)
    }

    /// A file that is not enrolled, and no action is needed.
    pub(super) fn skipped(path: &Path, person: &str, code: &'static str) -> Self {
        Self::new(Outcome::Skipped, path, person, code)
    }

    /// Adds the reason and the remedy.
    pub(super) fn because(self, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason: reason.into(), remedy: remedy.into(), ..self }
    }
}

/// A path as text; bytes that are not UTF-8 are written as `%XX`.
pub(super) fn path_text(path: &Path) -> String {
    text_of(path.as_os_str())
}

/// The counts of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    /// Photos found.
    pub(super) photos: usize,
    /// Templates written.
    pub(super) templates: usize,
    /// Samples written.
    pub(super) samples: usize,
    /// Photos that were already enrolled.
    pub(super) enrolled_before: usize,
    /// Hidden and system files.
    pub(super) ignored: usize,
    /// Files that were not enrolled and need action.
    pub(super) left: usize,
    /// Files that are enrolled with a warning.
    pub(super) warned: usize,
    /// Files that were not enrolled and need no action.
    pub(super) skipped: usize,
    /// Photos without a result, because the import was interrupted or failed.
    pub(super) not_reached: usize,
}

/// The whole report.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    pub(super) folder: String,
    pub(super) application: &'a str,
    pub(super) started: String,
    pub(super) ended: String,
    pub(super) interrupted: bool,
    pub(super) counts: &'a Counts,
    pub(super) files: &'a [Row],
}

impl Report<'_> {
    /// Writes `PREFIX.csv` and `PREFIX.json`, readable by their owner only; returns their paths.
    pub(super) fn write(&self, prefix: &Path) -> Result<[PathBuf; 2], CliError> {
        let files = ["csv", "json"].map(|ending| {
            let mut name = prefix.as_os_str().to_owned();
            name.push(".");
            name.push(ending);
            PathBuf::from(name)
        });
        let json = serde_json::to_string_pretty(self).map_err(|error| CliError::file(&files[1])(error.into()))?;
        write_private(&files[0], csv(self.files).as_bytes()).map_err(CliError::file(&files[0]))?;
        write_private(&files[1], format!("{json}\n").as_bytes()).map_err(CliError::file(&files[1]))?;
        Ok(files)
    }
}

/// The rows as CSV (RFC 4180) with a header. Spreadsheets need the byte order mark to read names correctly.
fn csv(rows: &[Row]) -> String {
    let mut text = "\u{feff}outcome,path,person,code,reason,remedy\r\n".to_owned();
    for row in rows {
        let cells = [row.outcome.as_str(), &row.path, &row.person, &row.code, &row.reason, &row.remedy].map(cell);
        let _ = write!(text, "{}\r\n", cells.join(",")); // writing to a string does not fail
    }
    text
}

/// A cell. Names are untrusted: one that a spreadsheet would read as a formula gets an apostrophe in front.
fn cell(text: &str) -> Cow<'_, str> {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if !is_formula && !text.contains(['"', ',', '\n', '\r']) {
        return text.into();
    }
    let quote = if is_formula { "'" } else { "" };
    format!("\"{quote}{}\"", text.replace('"', "\"\"")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_name_becomes_a_formula() {
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("a, \"b\"\n"), "\"a, \"\"b\"\"\n\"");
        assert_eq!(cell("=HYPERLINK(1)"), "\"'=HYPERLINK(1)\"");
        assert_eq!(cell("M\u{fc}ller"), "M\u{fc}ller");
    }

    #[test]
    fn a_row_is_a_line() {
        let row = Row::left(Path::new("a/b.jpg"), "b", "no_face").because("no face, at all", "another photo");
        let text = csv(&[row]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "left,a/b.jpg,b,no_face,\"no face, at all\",another photo");
        assert!(lines[0].starts_with("\u{feff}outcome,path,"));
    }
}
