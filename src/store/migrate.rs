//! Runs the migrations that are compiled into the program.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Migrations as (version, name, SQL).
pub(super) fn migrator(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migrations = migrations.iter().map(|(version, name, sql)| {
        let sql = sqlx::SqlStr::from_static(sql);
        Migration::new(*version, Cow::Borrowed(*name), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(migrations.collect())
}
