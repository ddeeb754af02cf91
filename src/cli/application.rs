//! `semblance app`: applications and their credentials.

use std::fmt;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};

use super::kept_key::KeptKey;
use super::output::{errln, outln};
use super::{CliError, journal_command, scrub_removed};
use crate::app;
use crate::domain::{AppId, Clock, Guard};
use crate::service::{Applications, Credentials};
use crate::settings::Settings;
use crate::store::OpenMode;
use crate::telemetry::error_chain;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create an application and print its credentials. They are shown only once.
    Create {
        /// A name, for people to read.
        name: String,
        /// Print {"app_id": ..., "app_key": ...}.
        #[arg(long)]
        json: bool,
    },
    /// List the applications.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Replace the key with a new random one. The old key ends within a second, or after an overlap.
    RotateKey {
        /// The application's id.
        id: String,
        /// How long the old key stays valid beside the new one, such as 90s, 45m, 12h or 7d.
        #[arg(long, value_parser = period, default_value = "0s")]
        overlap: Duration,
        /// Print {"app_id": ..., "app_key": ...}.
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
    /// Set the most templates and samples of an application. Further enrollments are refused with 400. What is enrolled
    /// stays.
    Limits {
        /// The application's id.
        id: String,
        /// The most templates, or `none`.
        #[arg(long, value_parser = maximum, value_name = "N|none", required_unless_present = "samples")]
        templates: Option<Maximum>,
        /// The most samples of all templates together, or `none`.
        #[arg(long, value_parser = maximum, value_name = "N|none")]
        samples: Option<Maximum>,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Switch {
    On,
    Off,
}

/// How long templates are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retention {
    Off,
    For(Duration),
}

/// The least quality of a photo that is enrolled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MinQuality(Option<f64>);

fn min_quality(text: &str) -> Result<MinQuality, String> {
    if text == "off" {
        return Ok(MinQuality(None));
    }
    let number = text.parse().ok().filter(|number| *number > 0.0 && *number <= 1.0);
    number
        .map(|number| MinQuality(Some(number)))
        .ok_or_else(|| format!("'{text}' is neither `off` nor a number above 0 and up to 1, such as 0.57"))
}

/// The most that an application may store; `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Maximum(Option<u64>);

impl fmt::Display for Maximum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(max) => max.fmt(f),
            None => f.write_str("none"),
        }
    }
}

fn maximum(text: &str) -> Result<Maximum, String> {
    match text {
        "none" => Ok(Maximum(None)),
        text => text
            .parse()
            .map(|max| Maximum(Some(max)))
            .map_err(|_| format!("'{text}' is neither `none` nor a whole number, such as 10000")),
    }
}

/// Crops that are erased in one transaction.
const CROPS_BATCH: usize = 1000;

/// The longest period: some ten million years, which the database can still add to a time.
const LONGEST_PERIOD: Duration = Duration::from_secs(u32::MAX as u64 * 86_400);

/// A duration in whole seconds, with its unit.
fn period(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .ok()
        .filter(|period| period.subsec_nanos() == 0 && *period <= LONGEST_PERIOD)
        .ok_or_else(|| format!("'{text}' is not a duration such as 90s, 45m, 12h or 7d"))
}

fn retention(text: &str) -> Result<Retention, String> {
    match text {
        "off" => Ok(Retention::Off),
        text => match period(text)? {
            Duration::ZERO => Err("must be at least 1 second".to_owned()),
            period => Ok(Retention::For(period)),
        },
    }
}

pub(super) async fn run(settings: Settings, command: Command) -> Result<(), CliError> {
    let mode = if matches!(command, Command::List { .. }) { OpenMode::Read } else { OpenMode::Create };
    let store = app::open_store(&settings, mode).await?;
    let applications = Applications::new(store.apps.clone(), Clock::system());
    match command {
        Command::Create { name, json } => {
            if name.trim().is_empty() {
                return Err(CliError::message("the name must not be empty"));
            }
            let credentials = Credentials::random()?;
            let kept = KeptKey::write(&settings.data, &credentials)?;
            if let Err(error) = applications.create_with(name.trim(), &credentials).await {
                return Err(kept.uncertain(error_chain(&error)));
            }
            let printed = kept.print(json); // first: a later failure must not hide the credentials
            journal_command(&store, "app create", Some(&credentials.app_id), name.trim()).await?;
            printed?;
        }
        Command::List { json } => list(&applications, json).await?,
        Command::RotateKey { id, overlap, json } => {
            let id = parse(&id)?;
            let credentials = Credentials::for_app(id.clone())?;
            let kept = KeptKey::write(&settings.data, &credentials)?;
            match applications.set_key(&credentials, overlap).await {
                Ok(true) => {}
                Ok(false) => {
                    kept.discard();
                    return Err(unknown(&id));
                }
                Err(error) => return Err(kept.uncertain(error_chain(&error))),
            }
            let printed = kept.print(json);
            let updated = app::update_credentials(&settings, &credentials);
            journal_command(&store, "app rotate-key", Some(&id), &format!("overlap: {} s", overlap.as_secs())).await?;
            printed?;
            // On standard error: the output may be JSON.
            if let Some(file) = updated? {
                errln!("{} holds the new key", file.display());
            }
        }
        Command::Attributes { id, reported } => {
            let id = parse(&id)?;
            if !applications.set_attributes(&id, reported == Switch::On).await? {
                return Err(unknown(&id));
            }
            let text = if reported == Switch::On { "reported" } else { "not reported" };
            journal_command(&store, "app attributes", Some(&id), text).await?;
            outln!("{id}: attributes are {text}")?;
        }
        Command::Crops { id, kept } => {
            let id = parse(&id)?;
            if !applications.set_keep_crops(&id, kept == Switch::On).await? {
                return Err(unknown(&id));
            }
            let text = if kept == Switch::On { "kept" } else { "not kept" };
            journal_command(&store, "app crops", Some(&id), text).await?;
            while store.samples.erase_unkept_crops(CROPS_BATCH).await? > 0 {}
            scrub_removed(&*store.scrubber).await?;
            outln!("{id}: crops are {text}")?;
        }
        Command::Retention { id, period } => {
            let id = parse(&id)?;
            let (period, text) = match period {
                Retention::Off => (None, "forever".to_owned()),
                Retention::For(period) => (Some(period), format!("for {} seconds", period.as_secs())),
            };
            if !applications.set_retention(&id, period).await? {
                return Err(unknown(&id));
            }
            journal_command(&store, "app retention", Some(&id), &text).await?;
            outln!("{id}: templates are kept {text}")?;
        }
        Command::Guard { id, guard } => {
            let id = parse(&id)?;
            if !applications.set_guard(&id, guard).await? {
                return Err(unknown(&id));
            }
            journal_command(&store, "app guard", Some(&id), guard.as_str()).await?;
            outln!("{id}: the guard is set to {guard}")?;
        }
        Command::Quality { id, least } => {
            let id = parse(&id)?;
            if !applications.set_min_quality(&id, least.0).await? {
                return Err(unknown(&id));
            }
            let least = least.0.map_or_else(|| "off".to_owned(), |least| least.to_string());
            journal_command(&store, "app quality", Some(&id), &least).await?;
            outln!("{id}: the least quality is set to {least}")?;
        }
        Command::Limits { id, templates, samples } => {
            let id = parse(&id)?;
            let mut set = Vec::new();
            if let Some(max) = templates {
                if !applications.set_max_templates(&id, max.0).await? {
                    return Err(unknown(&id));
                }
                set.push(format!("templates: {max}"));
            }
            if let Some(max) = samples {
                if !applications.set_max_samples(&id, max.0).await? {
                    return Err(unknown(&id));
                }
                set.push(format!("samples: {max}"));
            }
            let set = set.join(", ");
            journal_command(&store, "app limits", Some(&id), &set).await?;
            outln!("{id}: the limits are set: {set}")?;
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

fn parse(id: &str) -> Result<AppId, CliError> {
    id.parse().map_err(|error| CliError::message(format!("the application's id {error}")))
}

fn unknown(id: &AppId) -> CliError {
    CliError::message(format!("there is no application {id}"))
}

async fn list(applications: &Applications, json: bool) -> Result<(), CliError> {
    for record in applications.list().await? {
        if json {
            outln!(
                "{}",
                serde_json::json!({
                    "app_id": record.id.as_str(),
                    "name": record.name,
                    "attributes": record.attributes,
                    "retention_s": record.retention.map(|period| period.as_secs()),
                    "guard": record.rules.guard.as_str(),
                    "min_quality": record.rules.min_quality,
                    "max_templates": record.rules.quota.templates,
                    "max_samples": record.rules.quota.samples,
                    "keep_crops": record.keep_crops,
                })
            )?;
        } else {
            let rules = record.rules;
            let quality = rules.min_quality.map_or_else(|| "off".to_owned(), |least| least.to_string());
            let templates = Maximum(rules.quota.templates);
            let samples = Maximum(rules.quota.samples);
            outln!(
                "{}  {}  (guard {}, quality {quality}, most templates {templates}, most samples {samples})",
                record.id,
                record.name,
                rules.guard
            )?;
        }
    }
    Ok(())
}
