//! The files that describe people: relatives and groups.

use std::collections::BTreeMap;

use crate::evaluation::Groups;

/// Reads pairs of people: two names a line, with a tab or a comma between them. Empty lines and lines that begin with `#`
/// are ignored.
pub(super) fn parse_relatives(text: &str) -> Result<Vec<(String, String)>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let pair = |(at, line): (usize, &str)| match &fields(line)[..] {
        [first, second] if !first.is_empty() && !second.is_empty() => Ok((first.clone(), second.clone())),
        _ => Err(format!("line {}: not two names with a tab or a comma between them: {line:?}", at + 1)),
    };
    lines.map(pair).collect()
}

/// Reads groups: a head line with a name for the column of people and for each column of groups, then a line for each
/// person.
pub(super) fn parse_groups(text: &str) -> Result<Groups, String> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let head = lines.next().map(|(_, line)| fields(line)).unwrap_or_default();
    let columns = head.get(1..).unwrap_or_default().to_vec();
    if columns.is_empty() || columns.iter().any(String::is_empty) {
        return Err("the first line must name the column of people and at least one column of groups".to_owned());
    }
    let mut values = BTreeMap::new();
    for (at, line) in lines {
        let mut fields = fields(line).into_iter();
        let person = fields.next().unwrap_or_default();
        let groups: Vec<String> = fields.collect();
        if person.is_empty() || groups.len() != columns.len() {
            return Err(format!("line {}: not a person and {} groups: {line:?}", at + 1, columns.len()));
        }
        if values.insert(person.clone(), groups).is_some() {
            return Err(format!("line {}: {person:?} is there twice", at + 1));
        }
    }
    Ok(Groups { columns, values })
}

/// The fields of a line, between tabs, or else between commas. A field with a comma is quoted, and a quote in it is doubled.
fn fields(line: &str) -> Vec<String> {
    if line.contains('\t') {
        return line.split('\t').map(|field| field.trim().to_owned()).collect();
    }
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let last = fields.len() - 1;
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                fields[last].push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            letter => fields[last].push(letter),
        }
    }
    fields.into_iter().map(|field| field.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relatives_are_separated_by_tabs_or_commas() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let read = parse_relatives("# brothers\nann, A.\tbob\n\n\"cyd, C.\",dan \"\"\n").unwrap();
        assert_eq!(read, [pair("ann, A.", "bob"), pair("cyd, C.", "dan")]);
        assert_eq!(fields("\"say \"\"hi\"\"\",x"), ["say \"hi\"", "x"]);
        for wrong in ["ann", "ann,", "ann,bob,cyd"] {
            assert!(parse_relatives(wrong).unwrap_err().starts_with("line 1: "), "{wrong}");
        }
    }

    #[test]
    fn groups_have_a_head_line_and_a_line_for_each_person() {
        let groups = parse_groups("person,team,site\nann,red,north\nbob,,south\n").unwrap();
        assert_eq!(groups.columns, ["team", "site"]);
        assert_eq!(groups.values["bob"], ["", "south"]);
        assert!(parse_groups("").is_err() && parse_groups("person\nann\n").is_err());
        assert!(parse_groups("person,team\nann\n").unwrap_err().starts_with("line 2: "));
        assert!(parse_groups("person,team\nann,red\nann,blue\n").unwrap_err().contains("twice"));
    }
}
