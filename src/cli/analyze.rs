//! `semblance analyze`: the engine alone, without a database.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::CliError;
use super::output::outln;
use super::photos::analyze_all;
use crate::api;
use crate::app;
use crate::domain::{Analysis, AnalysisRequest, Check, Checks, Measure, Subject, TenantKey};
use crate::engine::{Analyze, AnalyzeError};
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Photos.
    #[arg(required = true)]
    photos: Vec<PathBuf>,
    /// Print a line of JSON per photo: its path, and the result as the server would return it.
    #[arg(long)]
    json: bool,
    /// Which face is meant if there are several: only (the photo is refused), largest, or central (nearest to the center,
    /// as research data sets label their photos).
    #[arg(long, default_value = "only", value_name = "WHICH")]
    faces: Subject,
    /// The same as --faces central.
    #[arg(long, conflicts_with = "faces")]
    central: bool,
}

pub(super) async fn run(mut settings: Settings, arguments: Arguments) -> Result<(), CliError> {
    settings.accept_every_format();
    let engine: Arc<dyn Analyze> = app::start_engine(&settings)?;
    // Every check for which a model is installed.
    let checks = Checks { liveness: engine.offers(Check::Liveness), deepfake: engine.offers(Check::Deepfake) };
    let subject = if arguments.central { Subject::Central } else { arguments.faces };
    let request = AnalysisRequest {
        embedding: true,
        quality: true,
        checks,
        attributes: settings.policy.attributes,
        crop: false,
        subject,
        tenant: TenantKey::default(),
    };
    let shape = app::shape(&settings);
    let mut failed = 0;
    analyze_all(&engine, settings.compute.inference_threads, &arguments.photos, request, |at, outcome| {
        let photo = arguments.photos[at].display();
        match outcome {
            Ok(analysis) if arguments.json => {
                let result =
                    api::analysis_json(&analysis, shape).map_err(|error| CliError::message(error.to_string()))?;
                outln!("{}", serde_json::json!({ "photo": photo.to_string(), "result": result }))?;
            }
            Ok(analysis) => print(&photo.to_string(), &analysis)?,
            Err(AnalyzeError::Fault(fault)) => {
                failed += 1;
                if arguments.json {
                    outln!("{}", serde_json::json!({ "photo": photo.to_string(), "result": api::fault_json(fault) }))?;
                } else {
                    outln!("{photo}: {fault}")?;
                }
            }
            Err(other) => return Err(CliError::Service(other.into())),
        }
        Ok(())
    })
    .await?;
    match failed {
        0 => Ok(()),
        n => Err(CliError::message(format!("{n} of {} photos have no analysis", arguments.photos.len()))),
    }
}

fn print(photo: &str, analysis: &Analysis) -> Result<(), CliError> {
    let (width, height) = analysis.photo_size;
    let face = &analysis.face;
    outln!("{photo}: {width} x {height}")?;
    outln!(
        "  face {:.0} x {:.0} at {:.0},{:.0}, eyes {:.0} px apart, confidence {:.3}",
        face.width,
        face.height,
        face.x,
        face.y,
        analysis.landmarks.eye_distance(),
        analysis.detection_score
    )?;
    let pose = analysis.pose;
    outln!("  pitch {:.1}, yaw {:.1}, roll {:.1}", pose.pitch, pose.yaw, pose.roll)?;
    let measures = Measure::ALL.map(|measure| (measure.name(), analysis.quality[measure]));
    let checks = [(Check::Liveness, analysis.liveness), (Check::Deepfake, analysis.deepfake)];
    let checks = checks.map(|(check, verdict)| (check.name(), verdict));
    for (name, verdict) in measures.into_iter().chain(checks).filter_map(|(name, verdict)| Some((name, verdict?))) {
        let fine = if verdict.fine { "" } else { " (not fine)" };
        outln!("  {} {:.3}{fine}", name.replace('_', " "), verdict.score)?;
    }
    let demography = &analysis.demography;
    if let (Some(age), Some(gender)) = (demography.age, demography.gender) {
        outln!("  {gender}, about {age}{}", demography.race.map(|r| format!(", {r}")).unwrap_or_default())?;
    }
    Ok(())
}
