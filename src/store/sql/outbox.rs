//! What the journal is to tell of.

macro_rules! outbox {
    ($store:ty, $database:ty, $failed:path) => {
        impl $store {
            /// Puts a event down, in a transaction or by itself.
            async fn insert_event<'e>(
                &self,
                on: impl sqlx::Executor<'e, Database = $database>,
                event: &OutboxEvent,
            ) -> Result<(), StoreError> {
                sqlx::query(
                    "INSERT INTO outbox
                         (notice_id, happened_at, operation, transaction_id, app_id, template_id, revision, detail,
                          node, claimed_until)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                )
                .bind(event.id.as_bytes().to_vec())
                .bind(row::millis(event.at))
                .bind(event.operation.clone())
                .bind(event.transaction.map(|id| id.as_bytes().to_vec()))
                .bind(event.app.clone())
                .bind(event.template.clone())
                .bind(event.revision.map(|revision| row::number(Revision(revision))))
                .bind(event.detail.clone())
                .bind(self.node.get().map(|node| node.as_bytes().to_vec()))
                .bind(self.node.get().map(|_| row::millis(event.at + LEASE)))
                .execute(on)
                .await
                .map_err($failed)?;
                Ok(())
            }
        }

        #[async_trait]
        impl OutboxStore for $store {
            fn register_node(&self, node: Uuid) {
                let _ = self.node.set(node);
            }

            async fn enqueue(&self, event: &OutboxEvent) -> Result<(), StoreError> {
                self.insert_event(&self.write, event).await
            }

            async fn claim(&self, node: Uuid, lease: Duration, limit: usize) -> Result<Claim, StoreError> {
                let id = Uuid::new_v4();
                // Mostly there is none, and nobody has to wait for it.
                let any: Option<(i64,)> = sqlx::query_as("SELECT happened_at FROM outbox LIMIT 1")
                    .fetch_optional(&self.read)
                    .await
                    .map_err($failed)?;
                if any.is_none() {
                    return Ok(Claim { id, events: Vec::new() });
                }
                let now = SystemTime::now();
                // Said twice: of two nodes that choose the same rows, the second waits, and looks again.
                let rows: Vec<row::EventRow> = sqlx::query_as(
                    "UPDATE outbox SET node = $1, claim = $2, claimed_until = $3
                     WHERE notice_id IN (
                         SELECT notice_id FROM outbox WHERE node IS NULL OR node = $1 OR claimed_until < $4
                         ORDER BY happened_at, notice_id LIMIT $5
                     ) AND (node IS NULL OR node = $1 OR claimed_until < $4)
                     RETURNING notice_id, happened_at, operation, transaction_id, app_id, template_id, revision, detail",
                )
                .bind(node.as_bytes().as_slice())
                .bind(id.as_bytes().as_slice())
                .bind(row::millis(now + lease))
                .bind(row::millis(now))
                .bind(row::count(limit))
                .fetch_all(&self.write)
                .await
                .map_err($failed)?;
                let mut events = rows.into_iter().map(row::event).collect::<Result<Vec<_>, StoreError>>()?;
                events.sort_by_key(|event| (event.at, event.revision));
                Ok(Claim { id, events })
            }

            async fn ack(&self, claim: Uuid) -> Result<(), StoreError> {
                sqlx::query("DELETE FROM outbox WHERE claim = $1")
                    .bind(claim.as_bytes().as_slice())
                    .execute(&self.write)
                    .await
                    .map_err($failed)?;
                Ok(())
            }

            async fn expire(&self, before: SystemTime) -> Result<u64, StoreError> {
                let done = sqlx::query("DELETE FROM outbox WHERE happened_at < $1")
                    .bind(row::millis(before))
                    .execute(&self.write)
                    .await
                    .map_err($failed)?;
                Ok(done.rows_affected())
            }

            async fn journal_positions(&self) -> Result<Vec<NodePosition>, StoreError> {
                let rows: Vec<(Vec<u8>, i64, Vec<u8>, i64)> =
                    sqlx::query_as("SELECT node, last_line, mac, seen_at FROM journals ORDER BY seen_at, node")
                        .fetch_all(&self.read)
                        .await
                        .map_err($failed)?;
                rows.into_iter()
                    .map(|(node, line, mac, at)| {
                        let mac = mac.try_into().map_err(|_| StoreError::Corrupt("a journal's position".to_owned()))?;
                        Ok(NodePosition {
                            node: row::uuid(&node)?,
                            position: JournalPosition { line: row::revision(line).0, mac },
                            reported_at: row::time(at),
                        })
                    })
                    .collect()
            }

            async fn record_position(&self, known: &NodePosition) -> Result<(), StoreError> {
                sqlx::query(
                    "INSERT INTO journals (node, last_line, mac, seen_at) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (node) DO UPDATE
                         SET last_line = excluded.last_line, mac = excluded.mac, seen_at = excluded.seen_at
                         WHERE journals.last_line < excluded.last_line",
                )
                .bind(known.node.as_bytes().as_slice())
                .bind(row::number(Revision(known.position.line)))
                .bind(known.position.mac.as_slice())
                .bind(row::millis(known.reported_at))
                .execute(&self.write)
                .await
                .map_err($failed)?;
                Ok(())
            }
        }
    };
}

pub(in crate::store) use outbox;
