//! `semblance app key`: the keys of an application.

use std::time::{Duration, SystemTime};

use clap::Subcommand;

use super::value::{expiry, name, period, scopes};
use super::{event, parse, unknown};
use crate::app;
use crate::cli::CliError;
use crate::cli::kept_key::KeptKey;
use crate::cli::output::{errln, outln};
use crate::domain::{Actor, AppId, AppKeyId, KeySwitch, Scopes, rfc3339};
use crate::service::{Applications, Credentials, NewKey};
use crate::settings::Settings;
use crate::store::{AppKeyChange, AppKeyRecord, AppKeyRefusal, OutboxEvent, Replaced};
use crate::telemetry::error_chain;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// List the keys of an application: ids, names and states, never the keys themselves.
    List {
        /// The application's id.
        id: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Add a key and print it. It is shown only once. An application has at most 8 keys in force.
    Add {
        /// The application's id.
        id: String,
        /// A name, for people to read: where the key is used.
        #[arg(value_parser = name)]
        name: String,
        /// What the key allows: some of identify,enroll,read,delete.
        #[arg(long, value_parser = scopes, default_value = "identify,enroll,read,delete")]
        scopes: Scopes,
        /// Until when it is accepted: a duration such as 90d, or a time such as 2027-01-31T00:00:00Z.
        #[arg(long, value_parser = expiry, value_name = "TIME")]
        expires: Option<SystemTime>,
        /// Print {"app_id": ..., "app_key": ..., "key_id": ...}.
        #[arg(long)]
        json: bool,
    },
    /// Replace a key with a new random one of the same name and scopes. The old key ends within a second, or after an
    /// overlap.
    Rotate {
        /// The application's id.
        id: String,
        /// The key's id, such as k-11d02f9a.
        key: AppKeyId,
        /// How long the old key stays valid beside the new one, such as 90s, 45m, 12h or 7d. 0s for a key that has leaked.
        #[arg(long, value_parser = period, default_value = "0s")]
        overlap: Duration,
        /// Print {"app_id": ..., "app_key": ..., "key_id": ...}.
        #[arg(long)]
        json: bool,
    },
    /// Refuse a key until it is resumed. Takes effect within a second.
    Suspend {
        /// The application's id.
        id: String,
        /// The key's id.
        key: AppKeyId,
    },
    /// Accept a suspended key again.
    Resume {
        /// The application's id.
        id: String,
        /// The key's id.
        key: AppKeyId,
    },
    /// End a key for ever. Takes effect within a second.
    End {
        /// The application's id.
        id: String,
        /// The key's id.
        key: AppKeyId,
    },
    /// Set what a key allows. Takes effect within a second.
    Scopes {
        /// The application's id.
        id: String,
        /// The key's id.
        key: AppKeyId,
        /// Some of identify,enroll,read,delete.
        #[arg(value_parser = scopes)]
        scopes: Scopes,
    },
    /// Rename a key.
    Rename {
        /// The application's id.
        id: String,
        /// The key's id.
        key: AppKeyId,
        /// The new name.
        #[arg(value_parser = name)]
        name: String,
    },
}

pub(super) async fn run(settings: &Settings, applications: &Applications, command: Command) -> Result<(), CliError> {
    let change = |switch| AppKeyChange { switch: Some(switch), ..AppKeyChange::default() };
    match command {
        Command::List { id, json } => list(applications, &parse(&id)?, json).await,
        Command::Add { id, name, scopes, expires, json } => {
            let credentials = Credentials::for_app(parse(&id)?)?;
            let kept = KeptKey::write(&settings.data, &credentials)?;
            let detail = format!("{name}, scopes: {scopes}");
            let event = of_key(&credentials.app_id, credentials.key_id, "app key add", &detail);
            let new = NewKey { name, scopes, expires_at: expires };
            let added = applications.add_key(&credentials, &new, &Actor::Command, Some(&event)).await;
            finish(kept, added, &credentials.app_id, json)
        }
        Command::Rotate { id, key, overlap, json } => {
            let credentials = Credentials::for_app(parse(&id)?)?;
            rotate(settings, applications, &credentials, Replaced::Key(key), overlap, json).await
        }
        Command::Suspend { id, key } => {
            set(applications, &id, key, "app key suspend", "suspended", change(KeySwitch::Suspended)).await
        }
        Command::Resume { id, key } => {
            set(applications, &id, key, "app key resume", "resumed", change(KeySwitch::Active)).await
        }
        Command::End { id, key } => set(applications, &id, key, "app key end", "ended", change(KeySwitch::Ended)).await,
        Command::Scopes { id, key, scopes } => {
            let change = AppKeyChange { scopes: Some(scopes), ..AppKeyChange::default() };
            set(applications, &id, key, "app key scopes", &format!("scopes: {scopes}"), change).await
        }
        Command::Rename { id, key, name } => {
            let text = format!("renamed to {name}");
            let change = AppKeyChange { name: Some(name), ..AppKeyChange::default() };
            set(applications, &id, key, "app key rename", &text, change).await
        }
    }
}

/// Replaces a key, prints the new one, and rewrites the credentials file that holds the old one.
pub(super) async fn rotate(
    settings: &Settings,
    applications: &Applications,
    credentials: &Credentials,
    replaced: Replaced,
    overlap: Duration,
    json: bool,
) -> Result<(), CliError> {
    let kept = KeptKey::write(&settings.data, credentials)?;
    let app = &credentials.app_id;
    let detail = format!("overlap: {} s", overlap.as_secs());
    let event = match replaced {
        Replaced::Only => event(app, "app rotate-key", &detail),
        Replaced::Key(old) => {
            of_key(app, old, "app key rotate", &format!("replaced by {}, {detail}", credentials.key_id))
        }
    };
    let rotated = applications.replace_key(credentials, replaced, overlap, &Actor::Command, Some(&event)).await;
    let replaced =
        rotated.as_ref().ok().and_then(|rotated| rotated.as_ref().ok()).map(|rotated| rotated.replaced.clone());
    // First: a later failure must not hide the credentials.
    let printed = finish(kept, rotated, app, json);
    let updated = replaced.map(|replaced| app::update_credentials(settings, credentials, &replaced.hash));
    printed?;
    // On standard error: the output may be JSON.
    if let Some(file) = updated.transpose()?.flatten() {
        errln!("{} holds the new key", file.display());
    }
    Ok(())
}

/// Prints a new key that is in force, or removes the file with one that is not.
fn finish<T>(
    kept: KeptKey<'_>,
    outcome: Result<Result<T, AppKeyRefusal>, crate::service::Error>,
    app: &AppId,
    json: bool,
) -> Result<(), CliError> {
    match outcome {
        Ok(Ok(_)) => kept.print(json),
        Ok(Err(refusal)) => {
            kept.discard();
            Err(refused(app, refusal))
        }
        Err(error) => Err(kept.uncertain(error_chain(&error))),
    }
}

fn refused(app: &AppId, refusal: AppKeyRefusal) -> CliError {
    match refusal {
        AppKeyRefusal::NoSuchApp => unknown(app),
        AppKeyRefusal::NotOne(0) => {
            CliError::message("no key of the application is in force: add one with `app key add`")
        }
        AppKeyRefusal::NotOne(keys) => CliError::message(format!(
            "the application has {keys} keys: name one with `app key rotate {app} KEY`, see `app key list {app}`"
        )),
        refusal => CliError::message(refusal.to_string()),
    }
}

/// The event of a change of a key.
fn of_key(app: &AppId, key: AppKeyId, operation: &str, detail: &str) -> OutboxEvent {
    event(app, operation, &format!("{key}: {detail}")).of_key(key)
}

async fn set(
    applications: &Applications,
    id: &str,
    key: AppKeyId,
    operation: &str,
    done: &str,
    change: AppKeyChange,
) -> Result<(), CliError> {
    let app = parse(id)?;
    let event = of_key(&app, key, operation, done);
    let changed = applications.change_key(&app, key, &change, Some(&event)).await?;
    changed.map_err(|refusal| refused(&app, refusal))?;
    outln!("{key} of {app}: {done}")
}

async fn list(applications: &Applications, app: &AppId, json: bool) -> Result<(), CliError> {
    let found = applications.list().await?.into_iter().find(|known| known.id == *app).ok_or_else(|| unknown(app))?;
    let now = applications.store_clock().now();
    for key in &found.keys {
        let state = key.state(now);
        if json {
            outln!("{}", json_key(key, now))?;
        } else {
            let time = |time: Option<SystemTime>| time.map_or_else(|| "never".to_owned(), rfc3339);
            let hint = key.hint.as_deref().map(|hint| format!("...{hint}")).unwrap_or_default();
            let end = key.ends_at.or(key.expires_at);
            outln!(
                "{}  {}  {state}  {}  (last used: {}, ends: {})  {hint}",
                key.id,
                key.name,
                key.scopes,
                time(key.last_used_at),
                time(end)
            )?;
        }
    }
    Ok(())
}

pub(super) fn json_key(key: &AppKeyRecord, now: SystemTime) -> serde_json::Value {
    serde_json::json!({
        "key_id": key.id.to_string(),
        "name": key.name,
        "scopes": key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>(),
        "state": key.state(now).as_str(),
        "hint": key.hint,
        "created_at": rfc3339(key.created_at),
        "created_by": key.created_by,
        "last_used_at": key.last_used_at.map(rfc3339),
        "ends_at": key.ends_at.map(rfc3339),
        "expires_at": key.expires_at.map(rfc3339),
    })
}
