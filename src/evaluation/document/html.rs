//! A document as one HTML page: inline styles and SVG, no script, nothing to load.

use super::chart;
use super::format::escape;
use super::{Document, Section, Table, shown};

/// Rows of a list that are shown.
const ROWS: usize = 200;
/// Lists with at most so many rows are open.
const SHORT: usize = 12;

const STYLE: &str = include_str!("report.css");

pub(super) fn render(document: &Document) -> String {
    let title = escape(&document.title);
    let sections: String = document.sections.iter().map(section).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n<h1>{title}</h1>\n{sections}</main>\n</body>\n</html>\n"
    )
}

fn section(section: &Section) -> String {
    let notes: String = section.notes.iter().map(|note| format!("<p>{}</p>\n", escape(note))).collect();
    let charts: String = section.charts.iter().map(chart::render).collect();
    let tables: String = section.tables.iter().map(table).collect();
    format!("<section>\n<h2>{}</h2>\n{notes}{charts}{tables}</section>\n", escape(section.title))
}

fn table(table: &Table) -> String {
    let caption = escape(&table.caption);
    if table.rows.is_empty() {
        return if table.is_list { format!("<p>{caption}</p>\n") } else { String::new() };
    }
    let row = |cells: &Vec<String>, tag: &str| {
        let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let head: String = table.head.iter().map(|cell| format!("<th scope=\"col\">{}</th>", escape(cell))).collect();
    let (rows, others) = shown(table, ROWS);
    let rows: String = rows.iter().map(|cells| row(cells, "td")).collect();
    let others = others.map(|others| format!("<p>{}</p>\n", escape(&others))).unwrap_or_default();
    if table.is_list {
        let open = if table.rows.len() <= SHORT { " open" } else { "" };
        return format!(
            "<details{open}><summary>{caption}</summary>\n<div class=\"wide\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n\
             {rows}</tbody>\n</table></div>\n{others}</details>\n"
        );
    }
    format!(
        "<div class=\"wide\"><table>\n<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n\
         </table></div>\n"
    )
}
