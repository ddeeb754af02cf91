//! Runs the migrations that are compiled into the program.

use std::borrow::Cow;

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};

use super::error::OpenError;

/// The table in which SQLx records the applied migrations.
const TABLE: &str = "_sqlx_migrations";

/// Migrations as (version, name, SQL).
pub(super) fn migrator(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migrations = migrations.iter().map(|(version, name, sql)| {
        let sql = sqlx::SqlStr::from_static(sql);
        Migration::new(*version, Cow::Borrowed(*name), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(migrations.collect())
}

/// What a schema lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pending {
    /// Migrations that are not applied.
    pub(super) missing: usize,
    /// Whether no migration is applied.
    pub(super) is_empty: bool,
}

impl Pending {
    /// The schema is up to date.
    ///
    /// # Errors
    /// [`OpenError::Empty`] and [`OpenError::Outdated`].
    pub(super) fn check_none(self) -> Result<(), OpenError> {
        match self {
            Self { missing: 0, .. } => Ok(()),
            Self { is_empty: true, .. } => Err(OpenError::Empty),
            Self { missing, .. } => Err(OpenError::Outdated(missing)),
        }
    }
}

/// Compares the applied migrations with those of this program. Reads only, so it needs no right to change the schema.
/// `has_table`: whether the table of applied migrations exists.
///
/// # Errors
/// When a migration failed halfway, differs from the one of this program, or is of a newer version.
pub(super) async fn pending(
    connection: &mut impl Migrate,
    migrator: &Migrator,
    has_table: bool,
) -> Result<Pending, OpenError> {
    if !has_table {
        return Ok(Pending { missing: migrator.iter().count(), is_empty: true });
    }
    if let Some(version) = connection.dirty_version(TABLE).await.map_err(OpenError::migrate)? {
        return Err(OpenError::migrate(MigrateError::Dirty(version)));
    }
    let applied = connection.list_applied_migrations(TABLE).await.map_err(OpenError::migrate)?;
    for one in &applied {
        match migrator.iter().find(|known| known.version == one.version) {
            None => return Err(OpenError::Newer(one.version)),
            Some(known) if known.checksum != one.checksum => {
                return Err(OpenError::migrate(MigrateError::VersionMismatch(one.version)));
            }
            Some(_) => {}
        }
    }
    Ok(Pending { missing: migrator.iter().count() - applied.len(), is_empty: applied.is_empty() })
}
