//! `semblance doctor`: checks everything that the server needs, one by one.

use super::CliError;
use super::output::outln;
use crate::app::doctor::{Outcome, Patient, check_all};
use crate::settings::Settings;

/// Runs every check, also after a failure, and prints what to do.
pub(super) async fn run(settings: Settings) -> Result<(), CliError> {
    let checks = check_all(&settings, Patient::Machine).await;
    for check in &checks {
        let mark = match check.outcome {
            Outcome::Good => "ok  ",
            Outcome::Warning => "warn",
            Outcome::Failed => "FAIL",
        };
        outln!("{mark}  {}: {}", check.name, check.line())?;
    }
    match checks.iter().filter(|check| check.outcome == Outcome::Failed).count() {
        0 => Ok(()),
        n => Err(CliError::message(format!("{n} checks failed"))),
    }
}
