//! The details of a template: sealed, and found by the hash of their external id.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::executor::{DbRow, Executor, Tx, values};
use super::gallery_write::GalleryWrite;
use super::row::{self, corrupt};
use super::sql_store::SqlStore;
use crate::domain::{AppId, Details, Revision, TemplateId};
use crate::store::error::{InsertError, Refusal, StoreError};
use crate::store::key::Key;
use crate::store::keyring::LOOKUP_KEY;
use crate::store::seal::{Sealed, Sealer, details_key_aad};

impl SqlStore {
    /// The key of the hashes of external ids; `None` while no external id was ever stored.
    async fn lookup_key(&self, db: &mut impl Executor) -> Result<Option<Key>, StoreError> {
        let row = db.fetch_optional("SELECT value FROM meta WHERE name = $1", values![LOOKUP_KEY]).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(self.keys.open_key(LOOKUP_KEY.as_bytes(), row.get("value")?)?))
    }

    /// The hash of an external id; `None` while no external id was ever stored.
    pub(super) async fn external_hash(
        &self,
        db: &mut impl Executor,
        app: &AppId,
        external_id: &str,
    ) -> Result<Option<[u8; 32]>, StoreError> {
        Ok(self.lookup_key(db).await?.map(|key| hash(&key, app, external_id)))
    }

    /// The same in a transaction of a write, which has locked the gallery's row: no other sealing key is activated until
    /// it ends. The first one makes the key.
    async fn external_hash_for_write(
        &self,
        tx: &mut Tx,
        sealer: &Sealer,
        app: &AppId,
        external_id: &str,
    ) -> Result<[u8; 32], StoreError> {
        if let Some(hash) = self.external_hash(tx, app, external_id).await? {
            return Ok(hash);
        }
        let key = Key::random().map_err(|error| StoreError::Failed(Box::new(error)))?;
        let sealed = sealer.seal_bytes(LOOKUP_KEY.as_bytes(), key.0.as_ref())?;
        let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        tx.execute(sql, values![LOOKUP_KEY, &sealed]).await?;
        // Of two nodes that make it at once, one inserts it and both read it.
        self.external_hash(tx, app, external_id).await?.ok_or_else(|| corrupt("value"))
    }

    /// The details of a row with the columns `template_id`, `sealed`, `data_key` and `expires_at`. The first three may be
    /// NULL: no details.
    pub(super) fn open_details(&self, app: &AppId, row: &DbRow) -> Result<Details, StoreError> {
        let (Some(sealed), Some(data_key)) =
            (row.get::<Option<&[u8]>>("sealed")?, row.get::<Option<&[u8]>>("data_key")?)
        else {
            return Ok(Details::default());
        };
        let aad = details_key_aad(app, &row.template_id("template_id")?);
        let json = self.keys.open_text(&aad, sealed, data_key)?;
        let json = serde_json::from_slice(&json).map_err(|_| corrupt("sealed"))?;
        let details = Details::from_json(&json).map_err(|_| corrupt("sealed"))?;
        Ok(Details { expires_at: row.get::<Option<i64>>("expires_at")?.map(row::time), ..details })
    }
}

fn hash(key: &Key, app: &AppId, external_id: &str) -> [u8; 32] {
    let mut mac = match Hmac::<Sha256>::new_from_slice(key.0.as_ref()) {
        Ok(mac) => mac,
        Err(_) => unreachable!("a key of HMAC may have any length"),
    };
    mac.update(&(app.as_str().len() as u64).to_le_bytes());
    mac.update(app.as_str().as_bytes());
    mac.update(external_id.as_bytes());
    mac.finalize().into_bytes().into()
}

impl GalleryWrite<'_> {
    /// Refuses details whose external id another template has. Nothing is written but, for the first external id of the
    /// database, the key of the hashes.
    pub(super) async fn admit_details(
        &mut self,
        sealer: &Sealer,
        template: &TemplateId,
        details: &Details,
    ) -> Result<(), InsertError> {
        let Some(external_id) = &details.external_id else { return Ok(()) };
        let hash = self.store.external_hash_for_write(&mut self.tx, sealer, self.app, external_id).await?;
        let sql = "SELECT template_id FROM details WHERE app_id = $1 AND external_hash = $2";
        let owner = self.tx.fetch_optional(sql, values![self.app, &hash]).await?;
        match owner.map(|row| row.template_id("template_id")).transpose()? {
            Some(owner) if owner != *template => Err(Refusal::ExternalIdTaken.into()),
            Some(_) | None => Ok(()),
        }
    }

    /// The details of a template and its revision; `None` when it does not exist.
    pub(super) async fn details(&mut self, template: &TemplateId) -> Result<Option<(Details, Revision)>, StoreError> {
        let sql = "SELECT t.template_id, t.revision, d.sealed, d.data_key, d.expires_at FROM templates t
                   LEFT JOIN details d ON d.app_id = t.app_id AND d.template_id = t.template_id
                   WHERE t.app_id = $1 AND t.template_id = $2";
        let Some(row) = self.tx.fetch_optional(sql, values![self.app, template]).await? else { return Ok(None) };
        Ok(Some((self.store.open_details(self.app, &row)?, row.revision("revision")?)))
    }

    /// Whether a template has details.
    pub(super) async fn has_details(&mut self, template: &TemplateId) -> Result<bool, StoreError> {
        let sql = "SELECT named FROM details WHERE app_id = $1 AND template_id = $2";
        Ok(self.tx.fetch_optional(sql, values![self.app, template]).await?.is_some())
    }

    /// Seals the details of a template for another one, which has none.
    pub(super) async fn move_details(&mut self, from: &TemplateId, to: &TemplateId) -> Result<(), StoreError> {
        let Some((details, _)) = self.details(from).await?.filter(|(details, _)| !details.is_empty()) else {
            return Ok(());
        };
        let sealer = self.sealer().await?;
        self.put_details(&sealer, from, Details::NONE).await?;
        self.put_details(&sealer, to, &details).await
    }

    /// Replaces the details of a template that exists; empty ones are erased. What was stored before is destroyed with
    /// its data key.
    pub(super) async fn put_details(
        &mut self,
        sealer: &Sealer,
        template: &TemplateId,
        details: &Details,
    ) -> Result<(), StoreError> {
        let deleted = self
            .tx
            .execute("DELETE FROM details WHERE app_id = $1 AND template_id = $2", values![self.app, template])
            .await?;
        if deleted > 0 {
            self.tx.set_erasing();
        }
        if details.is_empty() {
            return Ok(());
        }
        let hash = match &details.external_id {
            Some(id) => Some(self.store.external_hash_for_write(&mut self.tx, sealer, self.app, id).await?),
            None => None,
        };
        let plain = Zeroizing::new(details.to_json().to_string().into_bytes());
        let Sealed { text, data_key } = sealer.seal_text(&details_key_aad(self.app, template), &plain)?;
        self.tx
            .execute(
                "INSERT INTO details (app_id, template_id, external_hash, named, expires_at, sealed, data_key)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
                values![
                    self.app,
                    template,
                    hash.as_ref().map(|hash| hash.as_slice()),
                    details.name.is_some(),
                    details.expires_at,
                    &text,
                    &data_key,
                ],
            )
            .await?;
        Ok(())
    }
}
