//! Connections to Postgres: nodes that are cut off, switchovers, poolers, passwords, roles and certificates.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::cluster::{PgBouncer, Postgres};
use super::process::{App, Database, OwnPostgres, Server, command, try_start};
use super::proxy::{Proxy, Wire};
use crate::support::{eventually, figure};

/// Writes until a write is accepted; returns how many were refused, each with a 503. Then adds a template. The write is
/// the removal of a template that does not exist: it takes the lock of the gallery, and no time for a photo.
async fn write_until_accepted(app: &App, id: &str) -> (usize, Duration) {
    let start = Instant::now();
    let mut refused = 0;
    eventually("a write is accepted", async || {
        let (status, reply) = app.delete("missing").await;
        let is_done = reply["result"]["info"] == "Template not found";
        assert!(is_done || status == 503, "{reply}");
        refused += usize::from(!is_done);
        is_done
    })
    .await;
    let took = start.elapsed();
    app.add("person_b_1.jpg", &[("templateId", id)]).await;
    (refused, took)
}

async fn run(connection: &mut PgConnection, statements: &[&str]) {
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(*statement)).execute(&mut *connection).await.unwrap();
    }
}

async fn ask<T>(connection: &mut PgConnection, sql: &'static str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

/// One of two nodes falls silent right after it has locked the row of the gallery.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_in_a_transaction_blocks_no_other() {
    let Some(Database::Postgres(url)) = Database::postgres().await else { return };
    let wire = Proxy::before(&url).await;
    let key = [("SEMBLANCE_KEY", "5a".repeat(32))];
    let environment = key.each_ref().map(|(name, value)| (*name, value.as_str()));
    let cut_off = Database::Postgres(wire.url().to_owned());
    let cut_off = Server::start_in(tempfile::tempdir().unwrap(), &cut_off, &environment).await;
    let database = Database::Postgres(url.clone());
    let other = Server::start_in(tempfile::tempdir().unwrap(), &database, &environment).await;
    let credentials = cut_off.first_credentials();
    let (at_cut_off, at_other) = (cut_off.app(credentials.clone()), other.app(credentials));
    at_other.add("person_a_1.jpg", &[("templateId", "person-a")]).await;
    let mut direct = PgConnection::connect(&url).await.unwrap();

    wire.set(Wire::SilentInTransaction);
    let refused = tokio::spawn(async move { at_cut_off.post_photo("add", "person_b_1.jpg", &[]).await });
    eventually("the row is locked by a transaction that is idle", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND state = 'idle in transaction'";
        ask::<i64>(&mut direct, sql).await == 1
    })
    .await;
    let (tries, took) = write_until_accepted(&at_other, "person-b").await;
    assert_eq!(refused.await.unwrap().0, 503);
    assert!(took < Duration::from_secs(15), "{took:?}");
    figure(
        "a node is cut off right after it locked the gallery's row",
        &format!("another node writes again after {:.1} s, {tries} writes answered with 503", took.as_secs_f64()),
    );
    wire.set(Wire::Cut);
}

/// The sessions of a server become read-only and stay open, as after a switchover behind one address. New sessions can
/// write.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_became_read_only_are_replaced() {
    let Some(own) = OwnPostgres::start().await else { return };
    let server = Server::start(&Database::Postgres(own.url().to_owned())).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "person-a")]).await;
    // Several connections, all in the pool.
    let deletes = (0..8).map(|_| app.delete("missing"));
    futures_util::future::join_all(deletes).await;
    let mut direct = PgConnection::connect(own.url()).await.unwrap();
    let sessions = async |direct: &mut PgConnection| -> Vec<i32> {
        let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'semblance' AND query NOT LIKE 'LISTEN%'";
        sqlx::query_scalar(sql).fetch_all(direct).await.unwrap()
    };
    let before = sessions(&mut direct).await;
    assert!(before.len() >= 2, "{before:?}");
    let mut witness = PgConnection::connect(own.url()).await.unwrap();
    run(
        &mut direct,
        &[
            "SET default_transaction_read_only = off",
            "ALTER DATABASE postgres SET default_transaction_read_only = off",
            "ALTER SYSTEM SET default_transaction_read_only = on",
            "SELECT pg_reload_conf()",
        ],
    )
    .await;
    eventually("open sessions are read-only", async || {
        ask::<String>(&mut witness, "SHOW default_transaction_read_only").await == "on"
    })
    .await;
    let (refused, took) = write_until_accepted(&app, "person-b").await;
    for _ in 0..12 {
        let (status, reply) = app.post_photo("add?replace=true", "person_b_1.jpg", &[("templateId", "b")]).await;
        assert_eq!(status, 200, "no old session is left: {reply}");
    }
    let after = sessions(&mut direct).await;
    assert!(!before.iter().any(|pid| after.contains(pid)), "{before:?} {after:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    figure(
        "all pooled sessions become read-only",
        &format!("writes again after {:.1} s, {refused} writes answered with 503", took.as_secs_f64()),
    );
}

/// A primary dies, its standby is promoted; then the server starts while the first host of its URL is away.
#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_is_used() {
    let Some(mut primary) = Postgres::start("a switchover between two Postgres servers") else { return };
    let standby = primary.standby();
    let ports = (primary.port, standby.port);
    let several = |more: &str| {
        Database::Postgres(format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres{more}", ports.0, ports.1))
    };
    let short = [("SEMBLANCE_DATABASE_TIMEOUT_MS", "2000")];
    let mut server = Server::start_in(tempfile::tempdir().unwrap(), &several(""), &short).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "person-a")]).await;
    let mut direct = standby.connect().await;
    eventually("the standby has the template", async || {
        let found = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM templates").fetch_one(&mut direct).await;
        found.is_ok_and(|count| count == 1)
    })
    .await;

    primary.kill();
    let (status, reply) = app.post_photo("add", "person_b_1.jpg", &[("templateId", "lost")]).await;
    assert_eq!(status, 503, "a standby is not written to: {reply}");
    assert_eq!(app.identify("person_a_2.jpg").await["result"]["templateId"], "person-a", "from memory");
    assert!(ask::<bool>(&mut direct, "SELECT pg_promote()").await);
    let (refused, took) = write_until_accepted(&app, "person-b").await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    figure(
        "the primary is killed and its standby promoted, both in database.url",
        &format!("writes again {:.1} s after the promotion, {refused} writes answered with 503", took.as_secs_f64()),
    );
    assert!(ask::<i64>(&mut direct, "SELECT count(*) FROM templates").await >= 2);
    assert_eq!(server.stop(), Some(0));
    for more in ["?target_session_attrs=primary", "?target_session_attrs=any"] {
        let dir = server.into_dir();
        server = Server::start_in(dir, &several(more), &short).await;
        assert_eq!(server.app(app.credentials()).get("templates/person-b").await.0, 200, "{more}");
        assert_eq!(server.stop(), Some(0));
    }
    let (code, message) = try_start(&tempfile::tempdir().unwrap(), &several("?target_session_attrs=standby"));
    assert_eq!(code, Some(1));
    assert!(message.contains("target_session_attrs: a server of Semblance writes"), "{message}");
}

/// The first host of the URL is a standby: it is not used. Without a primary the start names every host.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_passed_over() {
    let Some(mut primary) = Postgres::start("several hosts in database.url") else { return };
    let standby = primary.standby();
    let url = format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres", standby.port, primary.port);
    let mut server = Server::start(&Database::Postgres(url.clone())).await;
    server.first_app().add("person_a_1.jpg", &[("templateId", "person-a")]).await;
    assert_eq!(server.stop(), Some(0));
    primary.kill();
    let (code, message) = try_start(&tempfile::tempdir().unwrap(), &Database::Postgres(url));
    assert_eq!(code, Some(1));
    for part in [format!("127.0.0.1:{}: it is read-only", standby.port), format!("127.0.0.1:{}: ", primary.port)] {
        assert!(message.contains(&part), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_file_is_read_again() {
    let Some(postgres) = Postgres::with_passwords("a password file that changes") else { return };
    let file = postgres.dir().join("secret");
    std::fs::write(&file, "first\n").unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", postgres.port);
    let environment = [("SEMBLANCE_DATABASE_PASSWORD_FILE", file.to_str().unwrap())];
    let server = Server::start_in(tempfile::tempdir().unwrap(), &Database::Postgres(url), &environment).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "person-a")]).await;
    let mut direct = postgres.connect().await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'semblance'";
    run(&mut direct, &["ALTER ROLE postgres PASSWORD 'second'", end]).await;
    let (status, reply) = app.post_photo("add", "person_b_1.jpg", &[("templateId", "lost")]).await;
    assert_eq!(status, 503, "the password is wrong now: {reply}");
    std::fs::write(&file, "second\n").unwrap();
    let (_, took) = write_until_accepted(&app, "person-b").await;
    figure(
        "the password changes, then its file",
        &format!("writes again {:.1} s after the file changed, without a restart", took.as_secs_f64()),
    );
}

/// PgBouncer in session mode, with its defaults: the server works, and its settings hold.
#[tokio::test(flavor = "multi_thread")]
async fn session_pooling_works_and_keeps_the_settings() {
    let Some(Database::Postgres(url)) = Database::postgres().await else { return };
    let Some(pooler) = PgBouncer::start("PgBouncer in session mode", &url, "session") else { return };
    let database = Database::Postgres(pooler.url());
    let short = [("SEMBLANCE_DATABASE_TIMEOUT_MS", "1000")];
    let server = Server::start_in(tempfile::tempdir().unwrap(), &database, &short).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "person-a")]).await;
    assert_eq!(app.identify("person_a_2.jpg").await["result"]["templateId"], "person-a");
    let listed = server.command(&database, &["app", "list"]);
    assert_eq!(listed.lines().count(), 1, "{listed}");
    // Another client holds the row. The statement of the server waits for it, and Postgres ends it.
    let mut direct = PgConnection::connect(&url).await.unwrap();
    let mut holder = PgConnection::connect(&url).await.unwrap();
    run(&mut holder, &["BEGIN", "SELECT 1 FROM applications FOR UPDATE"]).await;
    let waiting = async |direct: &mut PgConnection| -> i64 {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        ask(direct, sql).await
    };
    let write = tokio::spawn(async move { app.post_photo("add", "person_b_1.jpg", &[("templateId", "b")]).await });
    eventually("the write waits", async || waiting(&mut direct).await == 1).await;
    assert_eq!(write.await.unwrap().0, 503);
    eventually("statement_timeout ends the statement in Postgres", async || waiting(&mut direct).await == 0).await;
    run(&mut holder, &["ROLLBACK"]).await;
    let app = server.first_app();
    write_until_accepted(&app, "b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pooling_without_sessions_is_refused() {
    let Some(Database::Postgres(url)) = Database::postgres().await else { return };
    for mode in ["transaction", "statement"] {
        let Some(pooler) = PgBouncer::start("PgBouncer in transaction mode", &url, mode) else { return };
        let (code, message) = try_start(&tempfile::tempdir().unwrap(), &Database::Postgres(pooler.url()));
        assert_eq!(code, Some(1), "{mode}: {message}");
        assert!(message.contains("pool_mode = session"), "{mode}: {message}");
    }
}

/// The statements of docs/guides/postgres.md that make a role for the server.
fn documented_grants() -> String {
    let guide = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guides/postgres.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, block) = guide.split_once("<!-- grants -->\n```sql\n").expect("the guide lists the grants");
    block.split_once("```").unwrap().0.to_owned()
}

/// The owner of the tables migrates; the server runs as a role that has exactly the rights of the guide.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_ddl_serves() {
    let Some(Database::Postgres(url)) = Database::postgres().await else { return };
    let name = url.rsplit_once('/').unwrap().1.to_owned();
    let unique = &name[name.len() - 12..];
    let (owner, serving) = (format!("owner_{unique}"), format!("serving_{unique}"));
    let as_role = |role: &str| Database::Postgres(url.replace("postgres@", &format!("{role}@")));
    let mut direct = PgConnection::connect(&url).await.unwrap();
    run(
        &mut direct,
        &[
            &format!("CREATE ROLE {owner} LOGIN"),
            &format!("CREATE ROLE {serving} LOGIN"),
            &format!("ALTER DATABASE {name} OWNER TO {owner}"),
            &format!("ALTER SCHEMA public OWNER TO {owner}"),
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        ],
    )
    .await;
    let dir = tempfile::tempdir().unwrap();
    // Without tables, and without the right to make them, the server names the command.
    let (code, message) = try_start(&dir, &as_role(&serving));
    assert!(code == Some(1) && message.contains("semblance database migrate"), "{message}");
    let done = command(dir.path(), &as_role(&owner)).args(["database", "migrate"]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let mut as_owner = match as_role(&owner) {
        Database::Postgres(url) => PgConnection::connect(&url).await.unwrap(),
        Database::Sqlite => unreachable!(),
    };
    let grants = documented_grants().replace("semblance_owner", &owner).replace("semblance", &serving);
    run(&mut as_owner, &[&grants.replace(&format!("{serving}_owner"), &owner)]).await;

    let log = [("SEMBLANCE_LOG_LEVEL", "warn")];
    let server = Server::start_in(dir, &as_role(&serving), &log).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "person-a")]).await;
    assert_eq!(app.identify("person_a_2.jpg").await["result"]["templateId"], "person-a");
    assert_eq!(app.delete("person-a").await.0, 200);
    let made = server.create_app("second", &as_role(&serving)).await;
    server.app(made.clone()).add("person_a_1.jpg", &[("templateId", "a")]).await;
    server.command(&as_role(&serving), &["app", "rotate-key", &made.0]);
    server.command(&as_role(&serving), &["key", "rotate"]);
    server.command(&as_role(&serving), &["app", "delete", &made.0]);
    server.command(&as_role(&serving), &["journal", "verify"]);
    eventually("the server reports that it may not VACUUM", async || server.log().contains("may not VACUUM")).await;
}

/// A certificate for a host, signed by a private authority: (that of the authority, that of the server, its key).
fn certificates(host: &str) -> (String, String, String) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_cert = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    (authority_cert.pem(), server.pem(), key.serialize_pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_verifies_what_the_mode_says() {
    let (authority, certificate, key) = certificates("localhost");
    let (stranger, _, _) = certificates("localhost");
    let Some(postgres) = Postgres::with_tls("TLS to Postgres", &certificate, &key) else { return };
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, pem: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let (authority, stranger) = (put("authority.pem", &authority), put("stranger.pem", &stranger));
    let url = |host: &str, query: &str| {
        Database::Postgres(format!("postgres://postgres@{host}:{}/postgres?{query}", postgres.port))
    };
    let info = [("SEMBLANCE_LOG_LEVEL", "info")];
    let key_of_all = "5a".repeat(32);
    for (host, query, logged) in [
        ("localhost", format!("sslmode=verify-full&sslrootcert={authority}"), "certificate and name of the server"),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={authority}"), "but not that it names this host"),
        ("localhost", String::new(), "sslmode=prefer (the default)"),
        ("localhost", "sslmode=require".to_owned(), "neither the certificate of the server nor its name"),
    ] {
        let database = url(host, &query);
        let done = command(dir.path(), &database).args(["database", "migrate"]).output().unwrap();
        assert!(done.status.success(), "{query}: {}", String::from_utf8_lossy(&done.stderr));
        let key = [("SEMBLANCE_KEY", key_of_all.as_str()), info[0]];
        let server = Server::start_in(tempfile::tempdir().unwrap(), &database, &key).await;
        let log = server.log();
        assert!(log.contains(logged) && log.contains("encrypted=true"), "{query}: {log}");
    }
    for (host, query) in [
        ("localhost", format!("sslmode=verify-full&sslrootcert={stranger}")),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={authority}")),
        ("localhost", "sslmode=verify-full".to_owned()),
        ("localhost", format!("sslmode=verify-ca&sslrootcert={stranger}")),
    ] {
        let (code, message) = try_start(&tempfile::tempdir().unwrap(), &url(host, &query));
        assert!(code == Some(1) && message.to_lowercase().contains("certificate"), "{host} {query}: {message}");
    }
}
