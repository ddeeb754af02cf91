//! The short run of the fuzz targets: seeds, what fuzzing found worth keeping, and changed copies of both.
//!
//! The same changes every time. More of them: `SEMBLANCE_FUZZ_CASES=100000`. The long runs are in `fuzz/`.

pub mod mutate;
mod seeds;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mutate::Random;

/// Changed inputs per target.
const CASES: usize = 1500;

/// What a target may need beside what its first inputs needed, in MiB.
const GROWTH: u64 = 48;

const TARGET: &str = "SEMBLANCE_FUZZ_TARGET";

fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(of)
}

/// The seeds, then what is kept in `fuzz/seeds`.
fn inputs(name: &str) -> Vec<Vec<u8>> {
    let mut inputs = seeds::of(name);
    let mut kept: Vec<PathBuf> =
        std::fs::read_dir(folder("seeds").join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    kept.sort();
    assert!(!inputs.is_empty() && !kept.is_empty(), "{name} has nothing to begin with");
    inputs.extend(kept.iter().map(|path| std::fs::read(path).unwrap()));
    inputs
}

/// Each target runs in a process of its own, so that its memory can be measured, and an abort be seen.
fn run(name: &str) {
    let outcome = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "fuzz::inside"])
        .env(TARGET, name)
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success(), "{name}: {}\n{output}", outcome.status);
    let grown: u64 = output.lines().find_map(|line| line.strip_prefix("grown by ")).unwrap().parse().unwrap();
    assert!(grown <= GROWTH << 10, "{name} took {grown} KiB more");
}

macro_rules! targets {
    ($($name:ident)*) => { $( #[test] fn $name() { run(stringify!($name)) } )*
        #[test]
        fn every_target_runs() {
            assert_eq!([$(stringify!($name)),*], targets::ALL.map(|(name, _)| name));
        }
    };
}

targets! { photo multipart boundary query json snapshot frames backup model_pack journal import sealed proxy_header forwarded details }

#[test]
#[ignore = "the tests above run it, in a process of its own"]
fn inside() {
    let Ok(name) = std::env::var(TARGET) else { return };
    let (_, target) = targets::ALL.into_iter().find(|(known, _)| *known == name).unwrap();
    // Caught or not, there must be none but of the JPEG decoder, which has one that `decode` contains (see
    // docs/hostile-input.md). An uncaught one ends the run in any case.
    let panics = Arc::new(AtomicUsize::new(0));
    let usual = std::panic::take_hook();
    let count = Arc::clone(&panics);
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|place| place.file().contains("/zune-jpeg-")) {
            count.fetch_add(1, Ordering::SeqCst);
            usual(panic);
        }
    }));
    let tried = |target, what: &str, input: &[u8]| {
        tried(target, what, input);
        assert_eq!(panics.load(Ordering::SeqCst), 0, "{what} panicked: {}", hex(input));
    };
    let inputs = inputs(&name);
    inputs.iter().for_each(|input| tried(target, "as it is", input));
    let before = peak();
    let cases = std::env::var("SEMBLANCE_FUZZ_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    for case in 0..cases {
        let input = mutate::changed(&mut Random::new(case as u64), &inputs);
        tried(target, &format!("change {case}"), &input);
    }
    eprintln!("grown by {}", peak() - before);
}

/// Calls a target, and says what it was given when it panics.
fn tried(target: targets::Target, what: &str, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        eprintln!("{what}: {}", hex(input));
        resume_unwind(panic);
    }
}

fn hex(input: &[u8]) -> String {
    input.iter().take(4096).map(|byte| format!("{byte:02x}")).collect()
}

/// Most memory that this process ever had, in KiB; 0 where the system does not say.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

/// Puts the seeds where a long run begins: `fuzz/corpus`.
#[test]
#[ignore = "writes files; see fuzz/README.md"]
fn plant() {
    for (name, _) in targets::ALL {
        let dir = folder("corpus").join(name);
        std::fs::create_dir_all(&dir).unwrap();
        for (at, seed) in seeds::of(name).iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{at:02}")), seed).unwrap();
        }
    }
}
