//! A database of its own for each test, on the server that `make test` starts.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// The URL of a new, empty database. `None`, reported as skipped, when SEMBLANCE_TEST_POSTGRES_URL is not
/// set; in CI that is a failure.
pub async fn fresh_database() -> Option<String> {
    let Ok(server) = std::env::var("SEMBLANCE_TEST_POSTGRES_URL") else {
        assert!(std::env::var_os("CI").is_none(), "SEMBLANCE_TEST_POSTGRES_URL is not set; run `make test`");
        super::skipped("everything on Postgres", "SEMBLANCE_TEST_POSTGRES_URL is not set; `make test` sets it");
        return None;
    };
    let name = format!("test_{}", uuid::Uuid::new_v4().simple());
    let mut connection = PgConnection::connect(&server).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let (base, _) = server.rsplit_once('/').unwrap();
    Some(format!("{base}/{name}"))
}

/// Where a server keeps its files.
pub async fn data_directory(server: &str) -> std::path::PathBuf {
    let mut connection = PgConnection::connect(server).await.unwrap();
    let (path,): (String,) = sqlx::query_as("SHOW data_directory").fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    path.into()
}

/// The migrations of this version, without the newest ones. `dialect` is `sqlite` or `postgres`.
pub fn old_schema(dialect: &str, without: usize) -> sqlx::migrate::Migrator {
    use sqlx::migrate::{Migration, MigrationType, Migrator};
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(dialect);
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.truncate(files.len() - without);
    let migrations = files.iter().map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let (version, name) = name.split_once('_').unwrap();
        let sql = AssertSqlSafe(std::fs::read_to_string(path).unwrap());
        let sql = sqlx::SqlSafeStr::into_sql_str(sql);
        Migration::new(version.parse().unwrap(), name.to_owned().into(), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(migrations.collect())
}
