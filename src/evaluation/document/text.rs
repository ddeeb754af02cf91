//! A document as text.

use super::{Document, Table, shown};

/// Rows of a list that are printed.
const ROWS: usize = 12;

pub(super) fn render(document: &Document) -> String {
    let mut text = format!("{}\n", document.title);
    for section in &document.sections {
        text += &format!("\n{}\n", section.title);
        for note in &section.notes {
            text += &format!("  {note}\n");
        }
        for table in &section.tables {
            text += &render_table(table);
        }
    }
    text
}

fn render_table(table: &Table) -> String {
    if table.rows.is_empty() && !table.is_list {
        return String::new();
    }
    let (rows, others) = shown(table, ROWS);
    let width = |column: usize| {
        let cells = rows.iter().chain([&table.head]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table.head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        format!("    {}\n", cells.join("  ").trim_end())
    };
    let mut text = format!("  {}\n", table.caption);
    if table.rows.is_empty() {
        return text;
    }
    text += &line(&table.head);
    rows.iter().for_each(|row| text += &line(row));
    if let Some(others) = others {
        text += &format!("    {others}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_long_lists_are_cut() {
        let mut table = Table::list("Numbers", &["a", "long head"]);
        (0..14).for_each(|at| table.row([format!("{at}"), "x".to_owned()]));
        let text = render_table(&table);
        assert!(text.starts_with("  Numbers\n    a   long head\n    0   x\n"), "{text}");
        assert!(text.ends_with("    11  x\n    and 2 more: see --json\n"), "{text}");
    }
}
