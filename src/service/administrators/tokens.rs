//! Tokens and one-time codes.

use std::fmt;
use std::time::SystemTime;

use super::{AdminError, Administrators, BOOTSTRAP_LIFE, CODE_LIFE, Error, MAX_TOKENS, secret};
use crate::domain::{Actor, AdminTokenId, AdministratorId, Role, TransactionId};
use crate::store::{AdminCodeRecord, AdminTokenRecord, AdministratorRecord, TokenChange};

/// A token that was just made.
pub struct NewToken {
    /// What is stored of it.
    pub record: AdminTokenRecord,
    /// Its text, which is not stored.
    pub text: String,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewToken({}, ..)", self.record.id)
    }
}

/// The first owner, who has no name of its own yet.
pub struct Bootstrap {
    /// The text of its token.
    pub token: String,
    /// A one-time code for a link to the console.
    pub code: String,
    /// When the token ends; `None`: it has no end.
    pub expires_at: Option<SystemTime>,
}

impl fmt::Debug for Bootstrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bootstrap(..)")
    }
}

/// The name of the administrator of a first run.
const BOOTSTRAP_NAME: &str = "first owner";

/// The name of the administrator of a recovery.
const RECOVERY_NAME: &str = "recovery";

/// The name of the token of a first run or of a recovery.
const BOOTSTRAP_TOKEN_NAME: &str = "first token";

impl Administrators {
    /// Makes a token. The administrator has at most 10.
    ///
    /// # Errors
    /// [`AdminError::NotFound`], [`AdminError::TooManyTokens`], store failures.
    pub async fn create_token(
        &self,
        administrator: &AdministratorId,
        name: &str,
        expires_at: Option<SystemTime>,
        by: Actor,
        transaction: Option<TransactionId>,
    ) -> Result<NewToken, Error> {
        let token = self.new_token(administrator, name, expires_at)?;
        let detail = format!("token {} of {administrator}", token.record.id);
        let mut event = self.event("token create", &detail).by(by);
        event.transaction = transaction.map(|transaction| transaction.0);
        match self.store.create_token(&token.record, MAX_TOKENS, &event).await? {
            TokenChange::Done => {}
            TokenChange::NotFound => return Err(AdminError::NotFound("administrator").into()),
            TokenChange::TooMany => return Err(AdminError::TooManyTokens(MAX_TOKENS).into()),
        }
        self.refresh_cache().await;
        Ok(token)
    }

    fn new_token(
        &self,
        administrator: &AdministratorId,
        name: &str,
        expires_at: Option<SystemTime>,
    ) -> Result<NewToken, Error> {
        let secret = secret::random()?;
        let id = secret::random_token_id()?;
        let text = secret::token_text(&id, &secret);
        let record = AdminTokenRecord {
            id,
            administrator: administrator.clone(),
            name: name.to_owned(),
            hash: secret::hash(&secret),
            created_at: self.now(),
            last_used_at: None,
            expires_at,
        };
        Ok(NewToken { record, text })
    }

    /// Ends a token with the sessions that were made with it.
    ///
    /// # Errors
    /// [`AdminError::NotFound`], store failures.
    pub async fn end_token(&self, id: &AdminTokenId, by: Actor, transaction: TransactionId) -> Result<(), Error> {
        let event = self.event("token end", &format!("token {id}")).by(by).within(transaction);
        let ended = self.store.delete_token(id, &event).await?;
        self.refresh_cache().await;
        if ended { Ok(()) } else { Err(AdminError::NotFound("token").into()) }
    }

    /// Makes a one-time code with which an administrator can sign in. Returns it with its end.
    ///
    /// # Errors
    /// [`AdminError::NotFound`], store failures.
    pub async fn invite(
        &self,
        administrator: &AdministratorId,
        by: Actor,
        transaction: Option<TransactionId>,
    ) -> Result<(String, SystemTime), Error> {
        let (code, record) = self.new_code(administrator)?;
        let mut event = self.event("invitation", &format!("a one-time code for {administrator}")).by(by);
        event.transaction = transaction.map(|transaction| transaction.0);
        if !self.store.create_code(&record, &event).await? {
            return Err(AdminError::NotFound("administrator").into());
        }
        Ok((code, record.expires_at))
    }

    fn new_code(&self, administrator: &AdministratorId) -> Result<(String, AdminCodeRecord), Error> {
        let code = secret::random()?;
        let now = self.now();
        let hash = secret::hash(&code);
        let record = AdminCodeRecord {
            hash,
            administrator: administrator.clone(),
            created_at: now,
            expires_at: now + CODE_LIFE,
        };
        Ok((code, record))
    }

    /// Makes the first owner with a token and a one-time code; `None`, without effect, when an administrator exists.
    ///
    /// # Errors
    /// Store failures.
    pub async fn bootstrap(&self) -> Result<Option<Bootstrap>, Error> {
        let administrator = self.bootstrap_record(BOOTSTRAP_NAME);
        let expires_at = self.now() + BOOTSTRAP_LIFE;
        let token = self.new_token(&administrator.id, BOOTSTRAP_TOKEN_NAME, Some(expires_at))?;
        let (code, code_record) = self.new_code(&administrator.id)?;
        let detail = format!("the first owner {} with a token for 7 days", administrator.id);
        let event = self.event("administrator create", &detail).by(Actor::Server);
        let created =
            self.store.create_first_administrator(&administrator, &token.record, &code_record, &event).await?;
        self.refresh_cache().await;
        Ok(created.then_some(Bootstrap { token: token.text, code, expires_at: Some(expires_at) }))
    }

    /// Makes a token for the owner of this name, who is created if needed; or, without a name, one for an owner without a
    /// name, which ends after [`BOOTSTRAP_LIFE`]. For commands on the machine of the server.
    ///
    /// # Errors
    /// [`AdminError::NameTaken`] when an administrator of this name is not an active owner,
    /// [`AdminError::TooManyTokens`], store failures.
    pub async fn recover(&self, name: Option<&str>) -> Result<Bootstrap, Error> {
        self.refresh().await?;
        let all = self.list();
        let known = match name {
            Some(name) => all.iter().find(|one| one.name.to_lowercase() == name.to_lowercase()),
            None => all.iter().find(|one| one.is_bootstrap && one.is_active && one.role == Role::Owner),
        };
        let administrator = match known {
            Some(known) if known.is_active && known.role == Role::Owner => known.id.clone(),
            Some(_) => return Err(AdminError::NameTaken.into()),
            None => {
                let mut new = self.bootstrap_record(name.unwrap_or(RECOVERY_NAME));
                new.is_bootstrap = name.is_none();
                let event = self.event("administrator create", &format!("the owner {}", new.id)).by(Actor::Command);
                if !self.store.create_administrator(&new, &event).await? {
                    return Err(AdminError::NameTaken.into());
                }
                new.id
            }
        };
        let expires_at = name.is_none().then(|| self.now() + BOOTSTRAP_LIFE);
        let token = self.create_token(&administrator, "made on the machine", expires_at, Actor::Command, None).await?;
        let (code, _) = self.invite(&administrator, Actor::Command, None).await?;
        Ok(Bootstrap { token: token.text, code, expires_at })
    }

    fn bootstrap_record(&self, name: &str) -> AdministratorRecord {
        AdministratorRecord {
            id: AdministratorId::random(),
            name: name.to_owned(),
            role: Role::Owner,
            applications: None,
            may_change: true,
            is_active: true,
            is_bootstrap: true,
            created_at: self.now(),
            last_sign_in_at: None,
        }
    }
}
