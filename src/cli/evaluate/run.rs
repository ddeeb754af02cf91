//! What a report says about how it was made.

use std::path::Path;

use super::Arguments;
use crate::domain::{Clock, Subject, rfc3339};
use crate::engine::ModelPack;
use crate::evaluation::{Draws, GroupSource, ModelName, Run};

/// The facts of a run. The command is made of the options of this command alone: others may hold a password.
pub(super) fn facts(arguments: &Arguments, pack: &ModelPack, draws: Draws, cached: usize) -> Run {
    let models = pack.models().map(|model| ModelName {
        id: model.id.clone(),
        title: model.title.clone(),
        sha256: model.sha256.to_string(),
    });
    Run {
        program: format!("semblance {}", env!("CARGO_PKG_VERSION")),
        command: command(arguments),
        started: rfc3339(Clock::system().now()),
        machine: machine(),
        pack: pack.version(),
        models: models.collect(),
        faces: arguments.dir.as_ref().map(|_| subject_name(arguments.faces_of_people()).to_owned()),
        cached,
        seed: draws.seed,
        draws: draws.count,
        groups: match &arguments.groups {
            Some(file) => Some(GroupSource::File(file.display().to_string())),
            None => arguments.estimate_groups.then_some(GroupSource::Estimated),
        },
    }
}

/// The name of a choice of face, as the option has it.
pub(super) fn subject_name(subject: Subject) -> &'static str {
    match subject {
        Subject::Only => "only",
        Subject::Largest => "largest",
        Subject::Central => "central",
    }
}

fn command(arguments: &Arguments) -> String {
    let mut words = vec!["semblance evaluate".to_owned()];
    words.extend(arguments.dir.as_ref().map(|dir| dir.display().to_string()));
    let files = [
        ("--attacks", &arguments.attacks),
        ("--forgeries", &arguments.forgeries),
        ("--pairs", &arguments.pairs),
        ("--relatives", &arguments.relatives),
        ("--groups", &arguments.groups),
        ("--cache", &arguments.cache),
        ("--curves", &arguments.curves),
        ("--report", &arguments.report),
        ("--embeddings", &arguments.embeddings),
    ];
    let given = files.into_iter().filter_map(|(name, file)| Some(format!("{name} {}", file.as_ref()?.display())));
    words.extend(given);
    words.extend(arguments.estimate_groups.then(|| "--estimate-groups".to_owned()));
    words.extend(arguments.faces.map(|subject| format!("--faces {}", subject_name(subject))));
    words.push(format!("--draws {} --seed {}", arguments.draws, arguments.seed));
    words.join(" ")
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let system = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    let processor = processor(Path::new("/proc/cpuinfo")).map(|name| format!(", {name}")).unwrap_or_default();
    format!("{system}{processor}, {cores} cores")
}

/// The name of the processor, where Linux has one.
fn processor(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
