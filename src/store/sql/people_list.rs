//! Lists of templates in several orders, for pages of people.
//!
//! A page walks an index in its order. Where the ids begin with a rare text, that would read much of the gallery, so
//! there the templates are read by their ids and sorted.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::SystemTime;

use super::executor::{Executor, Limit, values};
use super::row;
use super::sql_store::SqlStore;
use crate::domain::{AppId, TemplateId};
use crate::store::error::StoreError;
use crate::store::people::{ListEntry, ListFilter, ListOrder, ListQuery};

/// Up to so many templates are read by their ids and sorted.
const MAX_SORTED: usize = 10_000;

/// How a list is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Path {
    /// By the range of ids.
    Ids,
    /// Along the index of its order.
    Order,
}

/// A statement for lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    order: ListOrder,
    descending: bool,
    path: Path,
    unnamed: bool,
}

/// All statements for lists. An expression that is not that of an index (`|| ''`, `+ 0`) keeps both databases from
/// using that index.
static LISTS: LazyLock<HashMap<Shape, String>> = LazyLock::new(|| {
    let mut statements = HashMap::new();
    for order in [ListOrder::Id, ListOrder::Created, ListOrder::Updated] {
        for descending in [false, true] {
            for path in [Path::Ids, Path::Order] {
                for unnamed in [false, true] {
                    let shape = Shape { order, descending, path, unnamed };
                    statements.insert(shape, statement(shape));
                }
            }
        }
    }
    statements
});

fn statement(shape: Shape) -> String {
    let Shape { order, descending, path, unnamed } = shape;
    let unnamed = if unnamed {
        "AND NOT EXISTS (SELECT 1 FROM details d
                         WHERE d.app_id = t.app_id AND d.template_id = t.template_id AND d.named)"
    } else {
        ""
    };
    let (key, id, created) = match (order, path) {
        (ListOrder::Id, _) => (None, "t.template_id", "(t.created_at + 0)"),
        (ListOrder::Created, Path::Order) => (Some("t.created_at"), "(t.template_id || '')", "t.created_at"),
        (ListOrder::Created, Path::Ids) => (Some("(t.created_at + 0)"), "t.template_id", "(t.created_at + 0)"),
        (ListOrder::Updated, Path::Order) => {
            (Some("coalesce(t.updated_at, t.created_at)"), "(t.template_id || '')", "(t.created_at + 0)")
        }
        (ListOrder::Updated, Path::Ids) => {
            (Some("(coalesce(t.updated_at, t.created_at) + 0)"), "t.template_id", "(t.created_at + 0)")
        }
    };
    let direction = if descending { "DESC" } else { "ASC" };
    let (after, sorted) = match key {
        // The range of ids already begins after the place.
        None => ("$6 = $6 AND $7 = $7".to_owned(), format!("t.template_id {direction}")),
        Some(key) => {
            let beyond = if descending { "<" } else { ">" };
            (
                format!("({key}, t.template_id) {beyond} ($6, $7)"),
                format!("{key} {direction}, t.template_id {direction}"),
            )
        }
    };
    format!(
        "SELECT t.template_id, t.created_at, coalesce(t.updated_at, t.created_at) AS updated_at FROM templates t
         WHERE t.app_id = $1 AND {id} >= $2 AND {id} < $3 AND {created} >= $4 AND {created} < $5 AND {after} {unnamed}
         ORDER BY {sorted} LIMIT $8"
    )
}

const COUNT_BY_ID: &str = "SELECT count(*) AS templates FROM
    (SELECT 1 AS one FROM templates WHERE app_id = $1 AND template_id >= $2 AND template_id < $3
         AND (created_at + 0) >= $4 AND (created_at + 0) < $5 LIMIT $6) AS counted";

const COUNT_BY_AGE: &str = "SELECT count(*) AS templates FROM
    (SELECT 1 AS one FROM templates WHERE app_id = $1 AND (template_id || '') >= $2 AND (template_id || '') < $3
         AND created_at >= $4 AND created_at < $5 LIMIT $6) AS counted";

/// Greater than every id: more of the greatest character than an id may have.
static AFTER_EVERY_ID: LazyLock<String> = LazyLock::new(|| char::MAX.to_string().repeat(TemplateId::MAX_CHARS + 1));

/// The least text that is greater than every id with a prefix.
fn after_prefix(prefix: &str) -> String {
    let mut start = prefix.to_owned();
    while let Some(last) = start.pop() {
        // Not a character: the range D800 to DFFF.
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            start.push(next);
            return start;
        }
    }
    AFTER_EVERY_ID.clone()
}

/// The least text that is greater than an id: no id has a character below U+0020.
fn after_id(id: &TemplateId) -> String {
    format!("{id}\u{1}")
}

/// The range of ids from the first up to, but not including, the second.
fn id_range(filter: &ListFilter) -> (String, String) {
    (filter.prefix.clone(), after_prefix(&filter.prefix))
}

fn created_range(filter: &ListFilter) -> (i64, i64) {
    let millis = |time: SystemTime| row::millis(time);
    (filter.created_from.map_or(i64::MIN, millis), filter.created_to.map_or(i64::MAX, millis))
}

impl SqlStore {
    pub(super) async fn list_entries(&self, app: &AppId, query: &ListQuery) -> Result<Vec<ListEntry>, StoreError> {
        let ListQuery { filter, order, descending, after, limit } = query;
        let mut db = self.db.reader(Limit::Request).await?;
        let by_id = *order == ListOrder::Id;
        let is_rare = !by_id
            && !filter.prefix.is_empty()
            && self.count_entries(&mut db, app, filter, MAX_SORTED + 1).await? <= MAX_SORTED;
        let path = if by_id || is_rare { Path::Ids } else { Path::Order };
        let shape = Shape { order: *order, descending: *descending, path, unnamed: filter.unnamed };
        let sql = LISTS.get(&shape).ok_or_else(|| row::corrupt("order"))?;
        let (mut first, mut end) = id_range(filter);
        if by_id && let Some((_, after)) = after {
            if *descending {
                end = end.min(after.as_str().to_owned());
            } else {
                first = first.max(after_id(after));
            }
        }
        let (from, to) = created_range(filter);
        // Before every place in the order of the list.
        let start = if *descending { (i64::MAX, AFTER_EVERY_ID.as_str()) } else { (i64::MIN, "") };
        let (key, id) = after.as_ref().map_or(start, |(key, id)| (*key, id.as_str()));
        let rows = db.fetch_all(sql, values![app, first.as_str(), end.as_str(), from, to, key, id, *limit]).await?;
        rows.iter()
            .map(|row| {
                Ok(ListEntry {
                    id: row.template_id("template_id")?,
                    created_at: row.time("created_at")?,
                    updated_at: row.time("updated_at")?,
                })
            })
            .collect()
    }

    pub(super) async fn count_entries(
        &self,
        db: &mut impl Executor,
        app: &AppId,
        filter: &ListFilter,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let (first, end) = id_range(filter);
        let (from, to) = created_range(filter);
        let sql = if filter.prefix.is_empty() { COUNT_BY_AGE } else { COUNT_BY_ID };
        let row = db.fetch_one(sql, values![app, first.as_str(), end.as_str(), from, to, limit]).await?;
        Ok(usize::try_from(row.get::<i64>("templates")?).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_text() {
        assert_eq!(after_prefix("ab"), "ac");
        assert_eq!(after_prefix("\u{d7ff}"), "\u{e000}");
        assert_eq!(after_prefix("a\u{10ffff}\u{10ffff}"), "b");
        assert_eq!(after_prefix(""), *AFTER_EVERY_ID);
        assert_eq!(after_prefix("\u{10ffff}"), *AFTER_EVERY_ID);
        let greatest: TemplateId = char::MAX.to_string().repeat(TemplateId::MAX_CHARS).parse().unwrap();
        assert!(greatest.as_str() < AFTER_EVERY_ID.as_str());
        for (id, next) in [("a", "a "), ("a", "a\u{a0}"), ("ab", "b")] {
            let id: TemplateId = id.parse().unwrap();
            assert!(id.as_str() < after_id(&id).as_str() && after_id(&id).as_str() < next);
        }
    }
}
