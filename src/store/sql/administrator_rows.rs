//! The rows of administrators, tokens, codes and sessions.

use super::executor::{DbRow, Executor, Tx, values};
use super::row::{self, corrupt};
use crate::domain::{AdminTokenId, AdministratorId, AppId};
use crate::store::administrators::{AdminCodeRecord, AdminSessionRecord, AdminTokenRecord, AdministratorRecord};
use crate::store::error::StoreError;
use crate::store::record::KeyHash;

/// The form in which names are compared.
pub(super) fn name_key(name: &str) -> String {
    use unicode_normalization::UnicodeNormalization as _;
    name.nfkc().collect::<String>().to_lowercase()
}

pub(super) fn applications_text(administrator: &AdministratorRecord) -> Result<Option<String>, StoreError> {
    let Some(applications) = &administrator.applications else { return Ok(None) };
    let ids: Vec<&str> = applications.iter().map(AppId::as_str).collect();
    serde_json::to_string(&ids).map(Some).map_err(|error| StoreError::Failed(Box::new(error)))
}

/// Inserts an administrator; `false` when the name is taken.
pub(super) async fn insert_administrator(tx: &mut Tx, new: &AdministratorRecord) -> Result<bool, StoreError> {
    let applications = applications_text(new)?;
    let inserted = tx
        .execute(
            "INSERT INTO administrators
                 (admin_id, name, name_key, role, applications, may_change, active, bootstrap, created_at,
                  last_sign_in_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (name_key) DO NOTHING",
            values![
                &new.id,
                new.name.as_str(),
                name_key(&new.name).as_str(),
                new.role.as_str(),
                applications.as_deref(),
                new.may_change,
                new.is_active,
                new.is_bootstrap,
                new.created_at,
                new.last_sign_in_at,
            ],
        )
        .await?;
    Ok(inserted == 1)
}

pub(super) async fn insert_token(tx: &mut Tx, token: &AdminTokenRecord) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO admin_tokens (token_id, admin_id, name, hash, created_at, last_used_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        values![
            &token.id,
            &token.administrator,
            token.name.as_str(),
            &token.hash.0,
            token.created_at,
            token.last_used_at,
            token.expires_at,
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn insert_code(tx: &mut Tx, code: &AdminCodeRecord) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO admin_codes (hash, admin_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
        values![&code.hash.0, &code.administrator, code.created_at, code.expires_at],
    )
    .await?;
    Ok(())
}

pub(super) async fn insert_session(tx: &mut Tx, session: &AdminSessionRecord) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO admin_sessions
             (session_id, hash, admin_id, token_id, address, client, created_at, last_seen_at, confirmed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        values![
            &session.id,
            &session.hash.0,
            &session.administrator,
            session.token.as_ref().map(AdminTokenId::as_str),
            session.address.as_deref(),
            session.client.as_deref(),
            session.created_at,
            session.last_seen_at,
            session.confirmed_at,
        ],
    )
    .await?;
    Ok(())
}

/// Locks the row of an administrator; `false` when it does not exist.
pub(super) async fn lock_administrator(tx: &mut Tx, id: &AdministratorId) -> Result<bool, StoreError> {
    let sql = "UPDATE administrators SET created_at = created_at WHERE admin_id = $1";
    Ok(tx.execute(sql, values![id]).await? == 1)
}

pub(super) fn administrator(row: &DbRow) -> Result<AdministratorRecord, StoreError> {
    let applications: Option<&str> = row.get("applications")?;
    let applications = applications
        .map(|text| {
            let ids: Vec<String> = serde_json::from_str(text).map_err(|_| corrupt("applications"))?;
            ids.iter().map(|id| id.parse().map_err(|_| corrupt("applications"))).collect::<Result<_, StoreError>>()
        })
        .transpose()?;
    Ok(AdministratorRecord {
        id: row.administrator_id("admin_id")?,
        name: row.get("name")?,
        role: row.get::<&str>("role")?.parse().map_err(|_| corrupt("role"))?,
        applications,
        may_change: row.get("may_change")?,
        is_active: row.get("active")?,
        is_bootstrap: row.get("bootstrap")?,
        created_at: row.time("created_at")?,
        last_sign_in_at: row.get::<Option<i64>>("last_sign_in_at")?.map(row::time),
    })
}

pub(super) fn token(row: &DbRow) -> Result<AdminTokenRecord, StoreError> {
    Ok(AdminTokenRecord {
        id: row.get::<&str>("token_id")?.parse().map_err(|_| corrupt("token_id"))?,
        administrator: row.administrator_id("admin_id")?,
        name: row.get("name")?,
        hash: hash(row)?,
        created_at: row.time("created_at")?,
        last_used_at: row.get::<Option<i64>>("last_used_at")?.map(row::time),
        expires_at: row.get::<Option<i64>>("expires_at")?.map(row::time),
    })
}

pub(super) fn session(row: &DbRow) -> Result<AdminSessionRecord, StoreError> {
    let token: Option<&str> = row.get("token_id")?;
    Ok(AdminSessionRecord {
        id: row.get::<&str>("session_id")?.parse().map_err(|_| corrupt("session_id"))?,
        hash: hash(row)?,
        administrator: row.administrator_id("admin_id")?,
        token: token.map(|id| id.parse().map_err(|_| corrupt("token_id"))).transpose()?,
        address: row.get("address")?,
        client: row.get("client")?,
        created_at: row.time("created_at")?,
        last_seen_at: row.time("last_seen_at")?,
        confirmed_at: row.time("confirmed_at")?,
    })
}

fn hash(row: &DbRow) -> Result<KeyHash, StoreError> {
    row.get::<&[u8]>("hash")?.try_into().map(KeyHash).map_err(|_| corrupt("hash"))
}
