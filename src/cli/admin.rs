//! `semblance admin`: administrators, on the machine of the server. What it changes is in force within one poll.

use clap::Subcommand;

use super::CliError;
use super::output::{flush, outln};
use crate::app;
use crate::domain::{Actor, AdministratorId, Clock, administrator_name, rfc3339};
use crate::service::{AdminError, Administrators, Error};
use crate::settings::{AdminListen, Settings};
use crate::store::OpenMode;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a token for an owner and print it: after a lock-out, or where no administrator exists yet. The server goes on.
    Token {
        /// The owner's name; the owner is created if needed. Without it: an owner without a name, whose token is valid for
        /// 7 days and ends when a named owner signs in.
        #[arg(long, value_name = "NAME")]
        owner: Option<String>,
        /// Print {"token": ..., "code": ...}.
        #[arg(long)]
        json: bool,
    },
    /// List the administrators.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// End the sessions of the console: of one administrator, or of all. Their tokens stay.
    EndSessions {
        /// The administrator's id.
        #[arg(long, value_name = "ID")]
        administrator: Option<String>,
    },
}

pub(super) async fn run(settings: Settings, command: Command) -> Result<(), CliError> {
    let mode = if matches!(command, Command::List { .. }) { OpenMode::Read } else { OpenMode::Create };
    let store = app::open_store(&settings, mode).await?;
    let administrators = Administrators::new(store.administrators.clone(), Clock::system());
    administrators.refresh().await?;
    match command {
        Command::Token { owner, json } => token(&settings, &administrators, owner.as_deref(), json).await,
        Command::List { json } => list(&administrators, json),
        Command::EndSessions { administrator } => end_sessions(&administrators, administrator.as_deref()).await,
    }
}

async fn token(
    settings: &Settings,
    administrators: &Administrators,
    owner: Option<&str>,
    json: bool,
) -> Result<(), CliError> {
    let name = owner.map(administrator_name).transpose();
    let name = name.map_err(|error| CliError::message(format!("the name {error}")))?;
    let made = administrators.recover(name.as_deref()).await.map_err(|error| match error {
        Error::Administration(AdminError::NameTaken) => {
            CliError::message("an administrator of this name is not an active owner; use another name")
        }
        error => error.into(),
    })?;
    if json {
        outln!("{}", serde_json::json!({ "token": made.token, "code": made.code }))?;
        return flush();
    }
    outln!("The token, shown once:\n\n  {}\n", made.token)?;
    if let Some(end) = made.expires_at {
        outln!("It ends at {}, or when a named owner signs in.", rfc3339(end))?;
    }
    if let Some(url) = console_url(settings) {
        outln!("Or sign in with this link, once and within a day:\n\n  {url}/console#code={}\n", made.code)?;
    }
    flush()
}

/// Where the console is, as far as the settings tell.
fn console_url(settings: &Settings) -> Option<String> {
    let address = match settings.admin.listen {
        AdminListen::Off => return None,
        AdminListen::Default => AdminListen::DEFAULT,
        AdminListen::At(address) => address,
        AdminListen::Api => settings.listen,
    };
    let scheme = if settings.tls_files().is_some() { "https" } else { "http" };
    Some(match settings.admin.hosts.first() {
        Some(host) => format!("{scheme}://{host}:{}", address.port()),
        None if address.ip().is_unspecified() => format!("{scheme}://localhost:{}", address.port()),
        None => format!("{scheme}://{address}"),
    })
}

fn list(administrators: &Administrators, json: bool) -> Result<(), CliError> {
    for one in administrators.list() {
        let state = if one.is_active { "active" } else { "disabled" };
        let sessions = administrators.sessions(Some(&one.id)).len();
        let tokens = administrators.tokens(&one.id).len();
        if json {
            outln!(
                "{}",
                serde_json::json!({
                    "admin_id": one.id.as_str(),
                    "name": one.name,
                    "role": one.role.as_str(),
                    "state": state,
                    "bootstrap": one.is_bootstrap,
                    "applications": one.applications.as_ref().map(|ids| ids.iter().map(|id| id.as_str()).collect::<Vec<_>>()),
                    "may_change": one.may_change,
                    "tokens": tokens,
                    "sessions": sessions,
                    "last_sign_in_at": one.last_sign_in_at.map(rfc3339),
                })
            )?;
        } else {
            let last = one.last_sign_in_at.map_or_else(|| "never".to_owned(), rfc3339);
            outln!(
                "{}  {}  ({}, {state}, tokens {tokens}, sessions {sessions}, last sign-in {last})",
                one.id,
                one.name,
                one.role
            )?;
        }
    }
    Ok(())
}

async fn end_sessions(administrators: &Administrators, administrator: Option<&str>) -> Result<(), CliError> {
    let id = administrator.map(str::parse::<AdministratorId>).transpose();
    let id = id.map_err(|error| CliError::message(format!("the administrator's id {error}")))?;
    if let Some(id) = &id {
        administrators.get(id)?;
    }
    let ended = administrators.end_sessions(id.as_ref(), None, Actor::Command, None).await?;
    outln!("ended sessions: {ended}")?;
    Ok(())
}
