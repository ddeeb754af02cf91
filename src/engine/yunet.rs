//! YuNet: Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence
//! Research 2023. Its outputs are read as OpenCV's `FaceDetectorYN` reads them.

use super::detection::Detection;
use super::runtime::{Model, Runtime};
use super::{InferenceError, LoadError};
use crate::domain::{BoundingBox, Landmarks, Point};
use crate::engine::model_pack::{DetectorInput, ModelPack};
use crate::image::tensor::{Layout, planar};

/// Sides of the network's cells in pixels.
const STRIDES: [u32; 3] = [8, 16, 32];

/// Numbers per cell of each output: class, objectness, box, five points.
const OUTPUTS: [(&str, usize); 4] = [("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)];

/// A YuNet at one input size.
#[derive(Debug)]
pub(super) struct YuNet {
    model: Model,
    size: u32,
    layout: Layout,
    planes: Vec<f32>,
}

impl YuNet {
    /// Loads one of the pack's detector inputs.
    ///
    /// # Errors
    /// When the model does not load or lacks an output.
    pub(super) fn load(runtime: &Runtime, pack: &ModelPack, spec: &DetectorInput) -> Result<Self, LoadError> {
        let size = spec.input.size;
        let model = runtime.model(&spec.model, &pack.bytes(&spec.model)?)?;
        if !model.takes_picture(size) {
            let message = format!("its input is not one image of {size} x {size} pixels");
            return Err(LoadError::Model { model: spec.model.clone(), message });
        }
        for (name, stride) in OUTPUTS.iter().flat_map(|(name, _)| STRIDES.map(|stride| (name, stride))) {
            let name = format!("{name}_{stride}");
            if !model.has_output(&name) {
                return Err(LoadError::Model { model: spec.model.clone(), message: format!("no output {name}") });
            }
        }
        Ok(Self { model, size, layout: spec.input.layout(), planes: Vec::new() })
    }

    /// The model, for its self-check.
    pub(super) fn model(&mut self) -> &mut Model {
        &mut self.model
    }

    /// Height and width of the input in pixels.
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// All candidates of at least `score` on an image of `size` x `size` packed RGB pixels, in its
    /// coordinates, unsorted and overlapping.
    ///
    /// # Errors
    /// When the run fails, or the outputs are not those of a YuNet of this size.
    pub(super) fn candidates(&mut self, rgb: &[u8], score: f32) -> Result<Vec<Detection>, InferenceError> {
        planar(rgb, &self.layout, &mut self.planes);
        let mut found = Vec::new();
        let mut levels: [[Vec<f32>; 4]; 3] = Default::default();
        self.model.run(&[&self.planes], |name, numbers| {
            for (level, stride) in levels.iter_mut().zip(STRIDES) {
                for (output, (kind, _)) in level.iter_mut().zip(OUTPUTS) {
                    if name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('_')) == Some(&*stride.to_string()) {
                        output.extend_from_slice(numbers);
                    }
                }
            }
        })?;
        for ([class, objectness, boxes, points], stride) in levels.iter().zip(STRIDES) {
            let side = (self.size / stride) as usize;
            let right =
                [class, objectness, boxes, points].iter().zip(OUTPUTS).all(|(o, (_, n))| o.len() == n * side * side);
            if !right {
                return Err(self
                    .model
                    .wrong(format!("outputs at stride {stride} do not fit a grid of {side} x {side}")));
            }
            let level = Level { class, objectness, boxes, points, side, stride: stride as f32 };
            found.extend((0..side * side).filter_map(|cell| level.detection(cell, score)));
        }
        Ok(found)
    }
}

/// The outputs at one stride: a grid of `side` x `side` cells.
struct Level<'a> {
    class: &'a [f32],
    objectness: &'a [f32],
    boxes: &'a [f32],
    points: &'a [f32],
    side: usize,
    stride: f32,
}

impl Level<'_> {
    /// The detection of a cell, if it has at least that score and is finite.
    fn detection(&self, cell: usize, least: f32) -> Option<Detection> {
        let score = (self.class[cell].clamp(0.0, 1.0) * self.objectness[cell].clamp(0.0, 1.0)).sqrt();
        // Written so that NaN is refused.
        if !(score >= least) {
            return None;
        }
        let (column, row) = ((cell % self.side) as f32, (cell / self.side) as f32);
        let at = |x: f32, y: f32| Point { x: (column + x) * self.stride, y: (row + y) * self.stride };
        let [dx, dy, log_width, log_height] = *self.boxes.get(4 * cell..)?.first_chunk()?;
        let Point { x, y } = at(dx, dy);
        let (width, height) = (log_width.exp() * self.stride, log_height.exp() * self.stride);
        let points: &[f32; 10] = self.points.get(10 * cell..)?.first_chunk()?;
        let landmarks = Landmarks(std::array::from_fn(|i| at(points[2 * i], points[2 * i + 1])));
        let finite = [x, y, width, height].iter().chain(points).all(|v| v.is_finite());
        finite.then_some(Detection {
            face: BoundingBox { x: x - width / 2.0, y: y - height / 2.0, width, height },
            landmarks,
            score,
            turn: 0.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_decoded_about_its_corner() {
        let (mut class, mut objectness) = (vec![0.0; 16], vec![0.0; 16]);
        let (mut boxes, mut points) = (vec![0.0; 64], vec![0.0; 160]);
        let cell = 4 + 2; // column 2, row 1
        class[cell] = 0.64;
        objectness[cell] = 1.7; // clamped to 1
        boxes[4 * cell..4 * cell + 4].copy_from_slice(&[0.5, 0.25, 2.0f32.ln(), 4.0f32.ln()]);
        points[10 * cell..10 * cell + 2].copy_from_slice(&[-1.0, 1.0]);
        let level =
            Level { class: &class, objectness: &objectness, boxes: &boxes, points: &points, side: 4, stride: 8.0 };
        let detection = level.detection(cell, 0.6).unwrap();
        assert!((detection.score - 0.8).abs() < 1e-6);
        assert!((detection.face.width - 16.0).abs() < 1e-4 && (detection.face.height - 32.0).abs() < 1e-4);
        assert!((detection.face.x - 12.0).abs() < 1e-4 && (detection.face.y + 6.0).abs() < 1e-4);
        assert_eq!(detection.landmarks.0[0], Point { x: 8.0, y: 16.0 });
        assert!((0..16).filter(|c| *c != cell).all(|c| level.detection(c, 0.6).is_none()));
    }

    #[test]
    fn boxes_that_are_not_finite_are_ignored() {
        for (class, box_) in [(f32::NAN, 0.0), (1.0, f32::INFINITY), (1.0, 1000.0)] {
            let boxes = [0.0, 0.0, box_, 0.0];
            let level =
                Level { class: &[class], objectness: &[1.0], boxes: &boxes, points: &[0.0; 10], side: 1, stride: 8.0 };
            assert!(level.detection(0, 0.5).is_none());
        }
    }
}
