//! What a statement is given, and what it returns, for both databases.

use sqlx::postgres::{PgRow, Postgres};
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{Database, Decode, Encode, Row as _, Type};

use crate::store::error::StoreError;
use crate::store::{postgres, sqlite};

/// A value that is bound to a statement. NULL has a type, which Postgres needs.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) enum Value<'a> {
    Text(Option<&'a str>),
    Bytes(Option<&'a [u8]>),
    Integer(Option<i64>),
    Real(Option<f64>),
    Boolean(bool),
}

/// The values of a statement, in the order of its parameters.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::store::sql::executor::Value::from($value)),*] };
}
pub(in crate::store) use values;

pub(super) fn query<'q, D>(sql: &'static str, values: &[Value<'q>]) -> Query<'q, D, D::Arguments>
where
    D: Database,
    Option<&'q str>: Encode<'q, D> + Type<D>,
    Option<&'q [u8]>: Encode<'q, D> + Type<D>,
    Option<i64>: Encode<'q, D> + Type<D>,
    Option<f64>: Encode<'q, D> + Type<D>,
    bool: Encode<'q, D> + Type<D>,
{
    values.iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Text(text) => query.bind(*text),
        Value::Bytes(bytes) => query.bind(*bytes),
        Value::Integer(integer) => query.bind(*integer),
        Value::Real(real) => query.bind(*real),
        Value::Boolean(boolean) => query.bind(*boolean),
    })
}

/// A row of a result.
pub(in crate::store) enum DbRow {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A type that a column of either database decodes to.
pub(in crate::store) trait Column<'r>:
    Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>
{
}

impl<'r, T> Column<'r> for T where T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres> {}

impl DbRow {
    /// The value of a column. The error names the column.
    pub(in crate::store) fn get<'r, T: Column<'r>>(&'r self, column: &str) -> Result<T, StoreError> {
        match self {
            Self::Sqlite(row) => row.try_get(column).map_err(sqlite::store_error),
            Self::Postgres(row) => row.try_get(column).map_err(postgres::store_error),
        }
    }
}
