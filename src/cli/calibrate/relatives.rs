//! The pairs of people that an operator leaves out of a calibration.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::super::CliError;
use crate::calibration::Pair;
use crate::domain::TemplateId;
use crate::gallery::IndexedTemplate;

/// The pairs of a file that are in the gallery.
#[derive(Debug, Default)]
pub(super) struct Relatives {
    /// By the places of the people.
    pub(super) pairs: HashSet<Pair>,
    /// Pairs of the file with a person who is not compared.
    pub(super) unknown: usize,
}

impl Relatives {
    pub(super) fn new(named: &[(TemplateId, TemplateId)], templates: &[IndexedTemplate]) -> Self {
        let places: HashMap<&TemplateId, usize> =
            templates.iter().enumerate().map(|(place, template)| (&template.id, place)).collect();
        let mut relatives = Self::default();
        for (a, b) in named {
            match (places.get(a), places.get(b)) {
                (Some(a), Some(b)) => {
                    relatives.pairs.insert(Pair::new(*a, *b));
                }
                _ => relatives.unknown += 1,
            }
        }
        relatives
    }
}

/// Reads a file of pairs.
///
/// # Errors
/// With the number of the line that is not a pair.
pub(super) fn read_pairs(file: &Path) -> Result<Vec<(TemplateId, TemplateId)>, CliError> {
    let text = std::fs::read_to_string(file).map_err(CliError::file(file))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            pair(line).map_err(|what| CliError::message(format!("{}, line {}: {what}", file.display(), number + 1)))
        })
        .collect()
}

/// Two ids with a tab between them. What follows a second tab is ignored, so a line of the report is a pair.
fn pair(line: &str) -> Result<(TemplateId, TemplateId), String> {
    let mut ids = line.trim_start_matches(' ').split('\t').map(str::parse::<TemplateId>);
    let (Some(a), Some(b)) = (ids.next(), ids.next()) else {
        return Err("needs two template ids with a tab between them".to_owned());
    };
    let (a, b) = (a.map_err(|error| format!("an id {error}"))?, b.map_err(|error| format!("an id {error}"))?);
    if a == b { Err("has the same id twice".to_owned()) } else { Ok((a, b)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_two_ids_with_a_tab_between_them() {
        let (a, b) = ("ada 1".parse().unwrap(), "bo".parse().unwrap());
        assert_eq!(pair("ada 1\tbo"), Ok((a, b)));
        assert_eq!(pair("  x\ty\tcosine 0.9").unwrap().1.as_str(), "y");
        assert!(["x y", "x\t", "\tx", "x\tx"].into_iter().all(|line| pair(line).is_err()));
    }

    #[test]
    fn a_line_that_is_no_pair_is_named_and_pairs_of_others_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("relatives");
        std::fs::write(&file, "a\tb\n\nc\n").unwrap();
        assert!(read_pairs(&file).unwrap_err().to_string().contains("line 3"));
        std::fs::write(&file, "b\ta\na\tb\na\tz\n").unwrap();
        let template = |id: &str| IndexedTemplate { id: id.parse().unwrap(), samples: Vec::new() };
        let relatives = Relatives::new(&read_pairs(&file).unwrap(), &[template("a"), template("b")]);
        assert_eq!((relatives.pairs, relatives.unknown), (HashSet::from([Pair::new(0, 1)]), 1));
    }
}
