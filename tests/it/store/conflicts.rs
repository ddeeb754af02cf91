//! Transactions that Postgres rolls back because of concurrent ones are repeated, and their callers do not see it.

use semblance::domain::{Actor, TransactionId};
use sqlx::{Connection as _, PgConnection};

use super::*;
use crate::support::{eventually, figure};

/// A fixture on Postgres, and a connection of its own to that database.
async fn on_postgres() -> Option<(Fixture, PgConnection)> {
    let fixture = Fixture::postgres().await?;
    let DatabaseConfig::Postgres { url, .. } = &fixture.database else { return None };
    let outside = PgConnection::connect(url).await.unwrap();
    Some((fixture, outside))
}

/// Sets a default of the database for connections that are opened later.
async fn set_default(fixture: &Fixture, setting: &str) {
    let sql = format!("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {setting}', current_database()); END $$");
    fixture.tamper(&sql).await;
}

/// A count of `pg_stat_database`. Sessions report theirs with a delay.
async fn count(outside: &mut PgConnection, column: &str) -> i64 {
    let sql = format!("SELECT {column} FROM pg_stat_database WHERE datname = current_database()");
    let (count,) = sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_one(outside).await.unwrap();
    count
}

/// Two nodes write into one gallery with eight writers, under an isolation level that allows only one of them at a time.
#[tokio::test(flavor = "multi_thread")]
async fn serialization_failures_are_repeated() {
    let Some((fixture, mut outside)) = on_postgres().await else { return };
    set_default(&fixture, "default_transaction_isolation = ''serializable''").await;
    let stores = [fixture.open().await, fixture.open().await];
    let a = with_app(&stores[0], "a").await;
    let tasks: Vec<_> = (0..8u32)
        .map(|writer| {
            let store = stores[writer as usize % 2].clone();
            let a = a.clone();
            tokio::spawn(async move {
                for n in 0..10 {
                    let name = format!("w{writer}-{n}");
                    insert(&store, &a, &name, &sample(writer * 100 + n)).await.unwrap();
                    let added =
                        store.templates.add_sample(&a, &id(&name), &enrolled(sample(writer * 100 + n + 50))).await;
                    added.unwrap().unwrap();
                    if n % 2 == 1 {
                        let removed = store.templates.remove(&a, &id(&name), ErasureReason::IMPORT).await;
                        removed.unwrap().unwrap();
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(revision(&stores[0], &a).await, Revision(8 * 25));
    let found = all(&stores[1], &a).await;
    assert!(found.len() == 40 && found.iter().all(|template| template.samples.len() == 2), "{}", found.len());
    eventually("the database reports the transactions that it rolled back", async || {
        count(&mut outside, "xact_rollback").await > 0
    })
    .await;
    let rolled_back = count(&mut outside, "xact_rollback").await;
    figure(
        "8 writers on 2 nodes, one gallery, isolation level serializable",
        &format!("200 of 200 writes succeeded; Postgres rolled back {rolled_back} transactions meanwhile"),
    );
}

/// Another session takes the locks of a removal in the opposite order. Postgres ends the removal's transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_repeated() {
    let Some((fixture, mut outside)) = on_postgres().await else { return };
    // The one that waits first looks first, and finds the cycle when it is there by then.
    set_default(&fixture, "deadlock_timeout = ''3s''").await;
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    insert(&store, &a, "x", &sample(1)).await.unwrap();
    insert(&store, &a, "y", &sample(2)).await.unwrap();
    let replaced = OnConflict::Replace(ErasureReason::replace(TransactionId::random(), Actor::Server));
    for round in 0..2 {
        let mut lock = PgConnection::connect(match &fixture.database {
            DatabaseConfig::Postgres { url, .. } => url,
            DatabaseConfig::Sqlite(_) => return,
        })
        .await
        .unwrap();
        sqlx::raw_sql("SET deadlock_timeout = '60s'; BEGIN; SELECT 1 FROM templates FOR UPDATE")
            .execute(&mut lock)
            .await
            .unwrap();
        let (store, a) = (store.clone(), a.clone());
        let replaced = replaced.clone();
        let write = tokio::spawn(async move {
            if round == 0 {
                store.templates.insert(&a, &id("x"), &enrolled(sample(3)), replaced).await.map(drop).unwrap();
            } else {
                store.templates.remove(&a, &id("y"), ErasureReason::IMPORT).await.unwrap().unwrap();
            }
        });
        eventually("the write waits for the template's row", async || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                       AND wait_event_type = 'Lock' AND query LIKE 'DELETE FROM templates%'";
            let (waiting,): (i64,) = sqlx::query_as(sql).fetch_one(&mut outside).await.unwrap();
            waiting == 1
        })
        .await;
        // This closes the cycle, and ends when Postgres has ended the write's transaction.
        sqlx::query("UPDATE applications SET revision = revision").execute(&mut lock).await.unwrap();
        sqlx::query("COMMIT").execute(&mut lock).await.unwrap();
        write.await.unwrap();
    }
    let found = all(&store, &a).await;
    assert!(found.len() == 1 && found[0].samples[0].embedding == sample(3).embedding);
    assert_eq!(revision(&store, &a).await, Revision(4), "no attempt is counted twice");
    // The end of a session reports what it counted.
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    sqlx::query(sql).execute(&mut outside).await.unwrap();
    eventually("the database reports its deadlocks", async || count(&mut outside, "deadlocks").await == 2).await;
    figure("a replacement and a removal, each ended by Postgres in a deadlock", "2 of 2 succeeded at the next attempt");
}
