//! `semblance retention`: what waits for an operator before it is erased.

use std::time::UNIX_EPOCH;

use clap::Subcommand;

use super::output::outln;
use super::{CliError, journal_command};
use crate::app;
use crate::domain::{AppId, rfc3339};
use crate::settings::Settings;
use crate::store::{ClockReading, Hold, OpenMode, RetentionRecord, Store};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the clock by which templates expire, and for each application with a retention period what is held.
    Status {
        /// Print JSON: the clock first, then one line per application.
        #[arg(long)]
        json: bool,
    },
    /// Erase the templates of an application that are held because too many are due at once.
    Confirm {
        /// The application's id.
        id: String,
    },
    /// Confirm that the clock is right: after the server was off for more than a day, or after the clock was set.
    ConfirmClock,
    /// Set how much of a gallery may expire within a day without a confirmation.
    Limit {
        /// The application's id.
        id: String,
        /// 1 to 100 percent; at least 100 templates may always expire. `default`: 20.
        #[arg(value_parser = percent, value_name = "PERCENT|default")]
        percent: Percent,
    },
}

/// A share of a gallery; `None`: the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Percent(Option<u64>);

fn percent(text: &str) -> Result<Percent, String> {
    if text == "default" {
        return Ok(Percent(None));
    }
    let number = text.trim_end_matches('%').parse().ok().filter(|number| (1..=100).contains(number));
    number
        .map(|number| Percent(Some(number)))
        .ok_or_else(|| format!("'{text}' is neither `default` nor a percentage from 1 to 100"))
}

pub(super) async fn run(settings: Settings, command: Command) -> Result<(), CliError> {
    let mode = if matches!(command, Command::Status { .. }) { OpenMode::Read } else { OpenMode::Write };
    let store = app::open_store(&settings, mode).await?;
    match command {
        Command::Status { json } => status(&store, json).await,
        Command::Confirm { id } => {
            let app = parse(&id)?;
            let Some(hold) = store.retention.confirm_expiry(&app).await? else {
                return Err(CliError::message(format!("nothing is held for application {id}")));
            };
            outln!(
                "{app}: {} templates {} are confirmed; a running server erases them within a minute",
                hold.templates,
                which(&hold)
            )
        }
        Command::ConfirmClock => {
            let reading = store.retention.confirm_clock().await?;
            outln!("the clock is confirmed: {}; it was last seen at {}", rfc3339(reading.now), seen(&reading))
        }
        Command::Limit { id, percent } => {
            let app = parse(&id)?;
            if !store.retention.set_expiry_share(&app, percent.0).await? {
                return Err(CliError::message(format!("there is no application {id}")));
            }
            let text = percent.0.map_or_else(|| "default".to_owned(), |percent| format!("{percent} %"));
            journal_command(&store, "retention limit", Some(&app), &text).await?;
            outln!("{app}: the share of the gallery that may expire within a day is set to {text}")
        }
    }
}

fn parse(id: &str) -> Result<AppId, CliError> {
    id.trim().parse().map_err(|_| CliError::message(format!("there is no application {id}")))
}

fn seen(reading: &ClockReading) -> String {
    reading.seen.map_or_else(|| "no time".to_owned(), rfc3339)
}

async fn status(store: &Store, json: bool) -> Result<(), CliError> {
    let reading = store.retention.read_clock().await?;
    let retentions = store.retention.retentions().await?;
    if json {
        let clock = serde_json::json!({
            "now": rfc3339(reading.now),
            "seen": reading.seen.map(rfc3339),
            "confirmed": reading.confirmed.map(rfc3339),
        });
        outln!("{}", serde_json::json!({ "clock": clock }))?;
        return retentions.iter().try_for_each(|record| outln!("{}", json_record(record)));
    }
    outln!("clock: {} (last seen by a server: {})", rfc3339(reading.now), seen(&reading))?;
    for RetentionRecord { app, period, share, hold } in &retentions {
        let period = period.map_or_else(
            || "templates are kept until their own expiry".to_owned(),
            |period| format!("templates are kept for {}", humantime::format_duration(period)),
        );
        let held = hold.map_or_else(
            || "nothing is held".to_owned(),
            |hold| {
                format!(
                    "{} templates {} are held since {}: check, then run `semblance retention confirm {app}`",
                    hold.templates,
                    which(&hold),
                    rfc3339(hold.since)
                )
            },
        );
        outln!("{app}: {period}; up to {share} % may expire within a day; {held}")?;
    }
    Ok(())
}

/// Which templates are held, in words.
fn which(hold: &Hold) -> String {
    let (enrolled, expire) = (rfc3339(hold.enrolled_before), rfc3339(hold.expire_before));
    if hold.enrolled_before == UNIX_EPOCH {
        format!("that expire before {expire}")
    } else {
        format!("enrolled before {enrolled}, or that expire by themselves before {expire},")
    }
}

fn json_record(record: &RetentionRecord) -> serde_json::Value {
    serde_json::json!({
        "app_id": record.app.as_str(),
        "retention_s": record.period.map(|period| period.as_secs()),
        "share": record.share,
        "held": record.hold.map_or(0, |hold| hold.templates),
        "enrolled_before": record.hold.map(|hold| rfc3339(hold.enrolled_before)),
        "expire_before": record.hold.map(|hold| rfc3339(hold.expire_before)),
        "held_since": record.hold.map(|hold| rfc3339(hold.since)),
    })
}
