//! `semblance app`: applications and their credentials.

mod key;
mod value;

use std::time::Duration;

use clap::Subcommand;

use super::kept_key::KeptKey;
use super::output::outln;
use super::{CliError, journal_command, scrub_removed};
use crate::app;
use crate::domain::{Actor, AppId, AppState, Clock, Guard, RequestLimits};
use crate::service::{Applications, Credentials};
use crate::settings::Settings;
use crate::store::{AppChange, AppRecord, AppRefusal, OpenMode, OutboxEvent, Replaced};
use crate::telemetry::error_chain;
use value::{
    Maximum, MinQuality, Own, Retention, Switch, burst, maximum, min_quality, name, per_second, period, probe_time,
    retention, share, threshold,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create an application and print its credentials. They are shown only once.
    Create {
        /// A name, for people to read.
        #[arg(value_parser = name)]
        name: String,
        /// Print {"app_id": ..., "app_key": ..., "key_id": ...}.
        #[arg(long)]
        json: bool,
    },
    /// List the applications.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Rename an application.
    Rename {
        /// The application's id.
        id: String,
        /// The new name.
        #[arg(value_parser = name)]
        name: String,
    },
    /// Refuse all requests of an application until it is resumed. Its templates are kept. Takes effect within a second.
    Suspend {
        /// The application's id.
        id: String,
    },
    /// Serve a suspended application again.
    Resume {
        /// The application's id.
        id: String,
    },
    /// List, add, replace, suspend and end the keys of an application, and set what each allows.
    #[command(subcommand)]
    Key(key::Command),
    /// Replace the only key of an application with a new random one. The old key ends within a second, or after an overlap.
    RotateKey {
        /// The application's id.
        id: String,
        /// How long the old key stays valid beside the new one, such as 90s, 45m, 12h or 7d.
        #[arg(long, value_parser = period, default_value = "0s")]
        overlap: Duration,
        /// Print {"app_id": ..., "app_key": ..., "key_id": ...}.
        #[arg(long)]
        json: bool,
    },
    /// Set whether responses to an application report age, gender and race. Takes effect within a second.
    Attributes {
        /// The application's id.
        id: String,
        /// `on` or `off`.
        #[arg(value_enum)]
        reported: Switch,
    },
    /// Set whether a crop of each enrolled face is kept (a JPEG of 224 pixels, sealed), so that people can be shown and
    /// embeddings made again by another model. Takes effect within a second; `off` also erases the crops that are there.
    Crops {
        /// The application's id.
        id: String,
        /// `on` or `off`.
        #[arg(value_enum)]
        kept: Switch,
    },
    /// Set how long probes of identifications without a match are held for review (embedding and crop, sealed), such as
    /// `7d`. Takes effect within a second; `off` also erases the probes that are held.
    Probes {
        /// The application's id.
        id: String,
        /// A time from a minute to 90 days, or `off`.
        #[arg(value_parser = probe_time)]
        period: Retention,
    },
    /// Set what happens when an enrollment may be a mix-up: a photo unlike the other samples of its template, or a face
    /// that is already enrolled under another id. Takes effect within a second.
    Guard {
        /// The application's id.
        id: String,
        /// `off`; `warn`: enroll with a warning in the response; `refuse`: respond 400.
        #[arg(value_name = "off|warn|refuse")]
        guard: Guard,
    },
    /// Set the least quality (`crfiqa`) of an enrolled photo. Takes effect within a second.
    Quality {
        /// The application's id.
        id: String,
        /// Above 0 and at most 1, such as 0.57; `off`: any quality.
        #[arg(value_parser = min_quality, value_name = "NUMBER|off")]
        least: MinQuality,
    },
    /// Set the most templates and samples of an application, and how much of the server it may use. Enrollments beyond are
    /// refused with 400, requests with 429. What is enrolled stays. Takes effect within a second.
    #[command(group = clap::ArgGroup::new("limit").required(true).multiple(true))]
    Limits {
        /// The application's id.
        id: String,
        /// The most templates, or `none`.
        #[arg(long, group = "limit", value_parser = maximum, value_name = "N|none")]
        templates: Option<Maximum>,
        /// The most samples of all templates together, or `none`.
        #[arg(long, group = "limit", value_parser = maximum, value_name = "N|none")]
        samples: Option<Maximum>,
        /// Requests per second on each node, 0 for no limit, or `default`: limits.app_per_s.
        #[arg(long, group = "limit", value_parser = per_second, value_name = "N|default")]
        per_second: Option<Own<f64>>,
        /// Requests that may come at once, or `default`: limits.app_burst.
        #[arg(long, group = "limit", value_parser = burst, value_name = "N|default")]
        burst: Option<Own<u32>>,
        /// The share of the memory for uploads and of the database's connections, or `default`: limits.app_share.
        #[arg(long, group = "limit", value_parser = share, value_name = "SHARE|default")]
        share: Option<Own<f64>>,
    },
    /// Set the similarity from which an application gets a match. Takes effect within a second.
    Threshold {
        /// The application's id.
        id: String,
        /// 0 to 1, such as 0.8; `default`: matching.threshold.
        #[arg(value_parser = threshold, value_name = "NUMBER|default")]
        threshold: Own<f64>,
    },
    /// Set how long templates are kept after their enrollment. Then they are deleted permanently.
    Retention {
        /// The application's id.
        id: String,
        /// At least 1s, such as 12h or 90d; `off`: forever.
        #[arg(value_parser = retention)]
        period: Retention,
    },
    /// Delete an application and all its templates permanently. The running server, or the next one to start, writes
    /// an erasure receipt for each template to its journal (see `journal receipts`).
    Delete {
        /// The application's id.
        id: String,
    },
}

/// Crops or probes that are erased in one transaction.
const ERASE_BATCH: usize = 1000;

pub(super) async fn run(settings: Settings, command: Command) -> Result<(), CliError> {
    let reads = matches!(command, Command::List { .. } | Command::Key(key::Command::List { .. }));
    let mode = if reads { OpenMode::Read } else { OpenMode::Create };
    let store = app::open_store(&settings, mode).await?;
    let applications = Applications::new(&store, Clock::system());
    match command {
        Command::Create { name, json } => create(&settings, &applications, &name, json).await?,
        Command::List { json } => list(&applications, json).await?,
        Command::Key(command) => key::run(&settings, &applications, command).await?,
        Command::RotateKey { id, overlap, json } => {
            let credentials = Credentials::for_app(parse(&id)?)?;
            key::rotate(&settings, &applications, &credentials, Replaced::Only, overlap, json).await?;
        }
        Command::Rename { id, name } => {
            let change = AppChange { name: Some(name.clone()), ..AppChange::default() };
            let id = set(&applications, &id, "app rename", &name, change).await?;
            outln!("{id}: renamed to {name}")?;
        }
        Command::Suspend { id } => {
            let change = AppChange { state: Some(AppState::Suspended), ..AppChange::default() };
            let id = set(&applications, &id, "app suspend", "suspended", change).await?;
            outln!("{id}: suspended; all its requests get 401 until `app resume`")?;
        }
        Command::Resume { id } => {
            let change = AppChange { state: Some(AppState::Active), ..AppChange::default() };
            let id = set(&applications, &id, "app resume", "active", change).await?;
            outln!("{id}: active")?;
        }
        Command::Attributes { id, reported } => {
            let text = if reported == Switch::On { "reported" } else { "not reported" };
            let change = AppChange { attributes: Some(reported == Switch::On), ..AppChange::default() };
            let id = set(&applications, &id, "app attributes", text, change).await?;
            outln!("{id}: attributes are {text}")?;
        }
        Command::Crops { id, kept } => {
            let text = if kept == Switch::On { "kept" } else { "not kept" };
            let change = AppChange { keep_crops: Some(kept == Switch::On), ..AppChange::default() };
            let id = set(&applications, &id, "app crops", text, change).await?;
            while store.samples.erase_unkept_crops(ERASE_BATCH).await? > 0 {}
            scrub_removed(&*store.scrubber).await?;
            outln!("{id}: crops are {text}")?;
        }
        Command::Probes { id, period } => {
            let (keep, text) = match period {
                Retention::Off => (None, "not held".to_owned()),
                Retention::For(period) => (Some(period), format!("held for {} seconds", period.as_secs())),
            };
            let change = AppChange { keep_probes: Some(keep), ..AppChange::default() };
            let id = set(&applications, &id, "app probes", &text, change).await?;
            while store.review.expire_probes(ERASE_BATCH).await? > 0 {}
            scrub_removed(&*store.scrubber).await?;
            outln!("{id}: probes are {text}")?;
        }
        Command::Retention { id, period } => {
            let (period, text) = match period {
                Retention::Off => (None, "forever".to_owned()),
                Retention::For(period) => (Some(period), format!("for {} seconds", period.as_secs())),
            };
            let change = AppChange { retention: Some(period), ..AppChange::default() };
            let id = set(&applications, &id, "app retention", &text, change).await?;
            outln!("{id}: templates are kept {text}")?;
        }
        Command::Guard { id, guard } => {
            let change = AppChange { guard: Some(guard), ..AppChange::default() };
            let id = set(&applications, &id, "app guard", guard.as_str(), change).await?;
            outln!("{id}: the guard is set to {guard}")?;
        }
        Command::Quality { id, least } => {
            let text = least.0.map_or_else(|| "off".to_owned(), |least| least.to_string());
            let change = AppChange { min_quality: Some(least.0), ..AppChange::default() };
            let id = set(&applications, &id, "app quality", &text, change).await?;
            outln!("{id}: the least quality is set to {text}")?;
        }
        Command::Threshold { id, threshold } => {
            let text = threshold.to_string();
            let change = AppChange { threshold: Some(threshold.0), ..AppChange::default() };
            let id = set(&applications, &id, "app threshold", &text, change).await?;
            outln!("{id}: the threshold is set to {text}")?;
        }
        Command::Limits { id, templates, samples, per_second, burst, share } => {
            let known = find(&applications, &parse(&id)?).await?;
            let mut set_to = Vec::new();
            set_to.extend(templates.map(|max| format!("templates: {max}")));
            set_to.extend(samples.map(|max| format!("samples: {max}")));
            set_to.extend(per_second.map(|rate| format!("per second: {rate}")));
            set_to.extend(burst.map(|burst| format!("burst: {burst}")));
            set_to.extend(share.map(|share| format!("share: {share}")));
            let text = set_to.join(", ");
            let limits = RequestLimits {
                per_second: per_second.map_or(known.limits.per_second, |own| own.0),
                burst: burst.map_or(known.limits.burst, |own| own.0),
                share: share.map_or(known.limits.share, |own| own.0),
            };
            let change = AppChange {
                max_templates: templates.map(|max| max.0),
                max_samples: samples.map(|max| max.0),
                limits: (limits != known.limits).then_some(limits),
                ..AppChange::default()
            };
            let id = set(&applications, &id, "app limits", &text, change).await?;
            outln!("{id}: the limits are set: {text}")?;
        }
        Command::Delete { id } => {
            let id = parse(&id)?;
            let count = applications.delete(&id, &*store.templates).await?.ok_or_else(|| unknown(&id))?;
            journal_command(&store, "app delete", Some(&id), &format!("templates: {count}")).await?;
            scrub_removed(&*store.scrubber).await?;
            outln!("deleted {id} and its templates: {count}")?;
        }
    }
    Ok(())
}

async fn create(settings: &Settings, applications: &Applications, name: &str, json: bool) -> Result<(), CliError> {
    let credentials = Credentials::random()?;
    let kept = KeptKey::write(&settings.data, &credentials)?;
    let app = AppRecord::new(credentials.app_id.clone(), name, Clock::system().now());
    let event = event(&credentials.app_id, "app create", name);
    if let Err(error) = applications.create_record(app, &credentials, &Actor::Command, Some(&event)).await {
        return Err(kept.uncertain(error_chain(&error)));
    }
    kept.print(json)
}

/// The event of a command that changes an application. It is written in the transaction of the change.
fn event(app: &AppId, operation: &str, detail: &str) -> OutboxEvent {
    OutboxEvent::new(Clock::system().now(), operation, Some(app), detail).by(Actor::Command)
}

/// Changes an application, and returns its id.
async fn set(
    applications: &Applications,
    id: &str,
    operation: &str,
    detail: &str,
    change: AppChange,
) -> Result<AppId, CliError> {
    let id = parse(id)?;
    match applications.change(&id, &change, Some(&event(&id, operation, detail))).await? {
        Ok(_) => Ok(id),
        Err(AppRefusal::NoSuchApp) => Err(unknown(&id)),
        Err(refusal) => Err(CliError::message(refusal.to_string())),
    }
}

fn parse(id: &str) -> Result<AppId, CliError> {
    id.parse().map_err(|error| CliError::message(format!("the application's id {error}")))
}

fn unknown(id: &AppId) -> CliError {
    CliError::message(format!("there is no application {id}"))
}

async fn find(applications: &Applications, id: &AppId) -> Result<AppRecord, CliError> {
    applications.list().await?.into_iter().find(|known| known.id == *id).ok_or_else(|| unknown(id))
}

async fn list(applications: &Applications, json: bool) -> Result<(), CliError> {
    let now = applications.store_clock().now();
    for record in applications.list().await? {
        if json {
            outln!(
                "{}",
                serde_json::json!({
                    "app_id": record.id.as_str(),
                    "name": record.name,
                    "state": record.state.as_str(),
                    "attributes": record.attributes,
                    "retention_s": record.retention.map(|period| period.as_secs()),
                    "guard": record.rules.guard.as_str(),
                    "min_quality": record.rules.min_quality,
                    "max_templates": record.rules.quota.templates,
                    "max_samples": record.rules.quota.samples,
                    "keep_crops": record.keep_crops,
                    "keep_probes_s": record.keep_probes.map(|keep| keep.as_secs()),
                    "threshold": record.threshold,
                    "per_second": record.limits.per_second,
                    "burst": record.limits.burst,
                    "share": record.limits.share,
                    "keys": record.keys.iter().map(|known| key::json_key(known, now)).collect::<Vec<_>>(),
                })
            )?;
        } else {
            let rules = record.rules;
            let quality = rules.min_quality.map_or_else(|| "off".to_owned(), |least| least.to_string());
            let templates = Maximum(rules.quota.templates);
            let samples = Maximum(rules.quota.samples);
            outln!(
                "{}  {}  ({}, guard {}, quality {quality}, threshold {}, most templates {templates}, most samples {samples})",
                record.id,
                record.name,
                record.state,
                rules.guard,
                Own(record.threshold),
            )?;
        }
    }
    Ok(())
}
