//! Where the time of one photo goes: `cargo bench --bench engine -- PHOTO...`
//!
//! One thread, the pack in `models/`. Prints medians in milliseconds over 20 rounds, after one that
//! warms up, and the cosines between all photos.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use semblance::domain::{Checks, Embedding, Need};
use semblance::engine::{DecodeLimits, Engine, EngineConfig, Manifest};
use semblance::image::Photo;

const ROUNDS: usize = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let paths: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let manifest = Arc::new(Manifest::load(&models)?);
    let mut engine = Engine::load(&EngineConfig { manifest, limits: DecodeLimits::default() })?;
    let need = Need { embedding: true, checks: Checks::default(), attributes: true };
    let mut embeddings: Vec<(String, Embedding)> = Vec::new();
    println!("{:>8} {:>8} {:>8} {:>8} {:>8}", "decode", "detect", "embed", "assess", "total");
    for path in paths {
        let photo = Photo::new(std::fs::read(&path)?);
        let mut rows: Vec<[Duration; 5]> = Vec::new();
        for _ in 0..=ROUNDS {
            let start = Instant::now();
            let analysis = engine.analyze(&photo, need)?;
            let t = analysis.timings;
            rows.push([t.decode, t.detect, t.embed, t.assess, start.elapsed()]);
            if rows.len() == 1 {
                println!("{path}: {:?} {:.2} {:?}", analysis.photo_size, analysis.detection_score, analysis.pose);
                println!("    {:?} {:?}", analysis.face, analysis.quality);
                embeddings.extend(analysis.embedding.map(|e| (path.clone(), e)));
            }
        }
        rows.remove(0);
        for column in 0..5 {
            let mut times: Vec<_> = rows.iter().map(|row| row[column]).collect();
            times.sort();
            print!("{:8.2} ", times[ROUNDS / 2].as_secs_f64() * 1000.0);
        }
        println!();
    }
    for (i, (a, x)) in embeddings.iter().enumerate() {
        for (b, y) in &embeddings[..i] {
            println!("{:.4}  {a}  {b}", x.cosine(y)?.get());
        }
    }
    Ok(())
}
