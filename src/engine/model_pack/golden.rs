//! The expected outputs of every model on a built-in input, to the digits that matter.
//!
//! A file may be whole and a library may load, and the numbers still be wrong: a processor whose
//! kernels differ, a runtime of another version, a miscompiled build. The engine therefore feeds each
//! model a synthetic input when it loads and compares what comes out with `models/golden.toml`
//! (written by `semblance models golden`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::engine::LoadError;

/// Numbers kept of each output, evenly spaced.
const KEPT: usize = 8;

/// Numbers may differ by this much, and by this share of the expected one: more than the order of
/// additions makes, less than any decision notices.
const TOLERANCE: f32 = 2e-3;

/// What one model computes from the built-in input: output names and some of their numbers.
pub(in crate::engine) type GoldenOutput = BTreeMap<String, Vec<f32>>;

/// The expected outputs, by model id.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Golden(BTreeMap<String, GoldenOutput>);

impl Golden {
    pub(in crate::engine) fn load(path: &Path) -> Result<Self, LoadError> {
        let text = std::fs::read_to_string(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
        let models = toml::from_str(&text)
            .map_err(|error| LoadError::Pack { path: path.to_owned(), message: error.to_string() })?;
        Ok(Self(models))
    }

    /// Wraps outputs that were just computed.
    pub(in crate::engine) fn new(models: BTreeMap<String, GoldenOutput>) -> Self {
        Self(models)
    }

    /// Compares what a model computed with what it must.
    ///
    /// # Errors
    /// A sentence that names the first number that differs.
    pub(in crate::engine) fn compare(&self, model: &str, found: &GoldenOutput) -> Result<(), String> {
        let expected = self.0.get(model).ok_or("golden.toml has no numbers for it")?;
        if !expected.keys().eq(found.keys()) {
            return Err("golden.toml names other outputs".to_owned());
        }
        for ((output, expected), found) in expected.iter().zip(found.values()) {
            if expected.len() != found.len() {
                return Err(format!("{output} has another size than golden.toml says"));
            }
            for (at, (&expected, &found)) in expected.iter().zip(found).enumerate() {
                if !((found - expected).abs() <= TOLERANCE * (1.0 + expected.abs())) {
                    return Err(format!(
                        "computes {found} instead of {expected} on the built-in input (number {at} of {output}); \
                         do not use this processor or this ONNX Runtime build with it"
                    ));
                }
            }
        }
        Ok(())
    }

    /// The file's text.
    pub(in crate::engine) fn to_text(&self) -> String {
        let mut text = String::from(
            "# What each model computes from the built-in input (src/engine/model_pack/golden.rs): some numbers of\n\
             # each output. Written by `semblance models golden`; compared whenever the engine starts.\n",
        );
        for (model, outputs) in &self.0 {
            let _ = write!(text, "\n[{model}]\n");
            for (output, numbers) in outputs {
                let numbers: Vec<String> = numbers.iter().map(|number| format!("{number:?}")).collect();
                let _ = writeln!(text, "{output} = [{}]", numbers.join(", "));
            }
        }
        text
    }
}

/// The numbers kept of an output.
pub(in crate::engine) fn kept(numbers: &[f32]) -> Vec<f32> {
    let count = numbers.len().min(KEPT);
    (0..count).filter_map(|i| numbers.get((2 * i + 1) * numbers.len() / (2 * count))).copied().collect()
}

/// The built-in input of a shape: for planes of colour a picture of slopes and edges in whole
/// numbers from 0 to 255, for anything else noise from -1 to 1. Computed in integers, so it is the
/// same everywhere.
pub(in crate::engine) fn input(shape: &[usize]) -> Vec<f32> {
    match *shape {
        [1, 3, height, width] => {
            let pixel = |channel: usize, y: usize, x: usize| {
                let slope = (3 * x + 5 * y + 60 * channel) % 256;
                let edge = if (x / 9 + y / 7).is_multiple_of(2) { 0 } else { 40 };
                (slope ^ edge) as f32
            };
            (0..3)
                .flat_map(|c| (0..height).flat_map(move |y| (0..width).map(move |x| (c, y, x))))
                .map(|(c, y, x)| pixel(c, y, x))
                .collect()
        }
        _ => {
            let noise = |i: usize| (i as u32).wrapping_mul(2_654_435_761) >> 16;
            (0..shape.iter().product()).map(|i| noise(i) as f32 / 32_768.0 - 1.0).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(numbers: &[f32]) -> (Golden, GoldenOutput) {
        let output = GoldenOutput::from([("out".to_owned(), kept(numbers))]);
        (Golden::new(BTreeMap::from([("m".to_owned(), output.clone())])), output)
    }

    #[test]
    fn written_outputs_are_read_and_match() {
        let (expected, found) = golden(&[0.1, -2.5e-7, 3.0e8, 1.0]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("golden.toml");
        std::fs::write(&path, expected.to_text()).unwrap();
        Golden::load(&path).unwrap().compare("m", &found).unwrap();
    }

    #[test]
    fn differences_are_found() {
        let (expected, _) = golden(&[0.5; 100]);
        assert!(expected.compare("m", &golden(&[0.5; 100]).1).is_ok());
        assert!(expected.compare("m", &golden(&[0.504; 100]).1).is_err());
        assert!(expected.compare("m", &golden(&[f32::NAN; 100]).1).is_err());
        assert!(expected.compare("m", &golden(&[0.5; 3]).1).is_err());
        assert!(expected.compare("m", &GoldenOutput::new()).is_err());
        assert!(expected.compare("n", &golden(&[0.5; 100]).1).is_err());
    }

    #[test]
    fn all_of_few_numbers_are_kept_and_some_of_many() {
        assert_eq!(kept(&[1.0, 2.0]), [1.0, 2.0]);
        assert!(kept(&[]).is_empty());
        let many: Vec<f32> = (0..800).map(|i| i as f32).collect();
        assert_eq!(kept(&many), [50.0, 150.0, 250.0, 350.0, 450.0, 550.0, 650.0, 750.0]);
    }
}
