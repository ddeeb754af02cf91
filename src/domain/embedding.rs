//! Embeddings: what a recognition model makes of a face.

use std::fmt;
use std::sync::Arc;

use super::Cosine;

/// Names the model that made an embedding. Vectors of different models never meet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelTag(Arc<str>);

impl ModelTag {
    /// A tag from a model's name in the pack.
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why numbers are not an embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmbeddingError {
    /// No numbers at all.
    #[error("an embedding needs at least one dimension")]
    Empty,
    /// NaN or infinity.
    #[error("an embedding must be finite")]
    NotFinite,
    /// A length of zero (or so small that its direction means nothing).
    #[error("an embedding must not be zero")]
    Zero,
    /// Two embeddings of different models or sizes were compared.
    #[error("embeddings of different models cannot be compared")]
    DifferentModels,
}

/// A unit vector and the model that made it.
#[derive(Clone, PartialEq)]
pub struct Embedding {
    values: Arc<[f32]>,
    model: ModelTag,
}

impl Embedding {
    /// Scales raw model output to unit length.
    ///
    /// # Errors
    /// When the numbers are none, not finite, or all (nearly) zero.
    pub fn new(raw: &[f32], model: ModelTag) -> Result<Self, EmbeddingError> {
        if raw.is_empty() {
            return Err(EmbeddingError::Empty);
        }
        if raw.iter().any(|v| !v.is_finite()) {
            return Err(EmbeddingError::NotFinite);
        }
        let norm = raw.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
        if norm < 1e-12 {
            return Err(EmbeddingError::Zero);
        }
        // A vector that is of unit length already (read back from the store) stays bit for bit.
        let values = if (norm - 1.0).abs() < 1e-6 {
            Arc::from(raw)
        } else {
            raw.iter().map(|&v| (f64::from(v) / norm) as f32).collect()
        };
        Ok(Self { values, model })
    }

    /// The unit vector.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The model that made it.
    pub fn model(&self) -> &ModelTag {
        &self.model
    }

    /// Cosine of the angle between two embeddings.
    ///
    /// # Errors
    /// When they come from different models or have different sizes.
    pub fn cosine(&self, other: &Self) -> Result<Cosine, EmbeddingError> {
        if self.model != other.model || self.values.len() != other.values.len() {
            return Err(EmbeddingError::DifferentModels);
        }
        let dot = self.values.iter().zip(other.values.iter()).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        Ok(Cosine::clamped(dot as f32))
    }
}

/// The mean of unit vectors of one size, of unit length again; `None` for fewer than two, or where they cancel each other out.
/// It is summed in f64, so that the order of the vectors does not matter in f32 but for rounding.
pub fn mean_direction<'a>(vectors: impl IntoIterator<Item = &'a [f32]>) -> Option<Vec<f32>> {
    let (mut count, mut sum) = (0, Vec::new());
    for vector in vectors {
        sum.resize(sum.len().max(vector.len()), 0.0);
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += f64::from(*value));
        count += 1;
    }
    let norm = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
    (count > 1 && norm > CANCELED * f64::from(count)).then(|| sum.iter().map(|value| (value / norm) as f32).collect())
}

/// A mean of unit vectors that is no longer than this has no direction.
const CANCELED: f64 = 1e-3;

/// Lanes that are summed separately, so that the compiler can use vector registers.
const LANES: usize = 16;

/// The dot product of two vectors, in f32: the cosine of two of unit length, but for rounding. Of vectors of different lengths
/// the shorter length counts. For statistics over millions of pairs; the index has kernels of its own.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0f32; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// Shows the model and the size, never the numbers: an embedding is biometric data.
impl fmt::Debug for Embedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Embedding({} x {})", self.model, self.values.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag() -> ModelTag {
        ModelTag::new("m")
    }

    #[test]
    fn raw_output_is_scaled_to_unit_length() {
        let e = Embedding::new(&[3.0, 4.0], tag()).unwrap();
        assert_eq!(e.values(), [0.6, 0.8]);
        assert!((e.cosine(&e).unwrap().get() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_unit_vector_is_kept_bit_for_bit() {
        let e = Embedding::new(&[0.3, -0.2, 0.9, 0.77], tag()).unwrap();
        assert_eq!(Embedding::new(e.values(), tag()).unwrap().values(), e.values());
    }

    #[test]
    fn what_is_not_a_direction_is_refused() {
        assert_eq!(Embedding::new(&[], tag()), Err(EmbeddingError::Empty));
        assert_eq!(Embedding::new(&[0.0, 0.0], tag()), Err(EmbeddingError::Zero));
        assert_eq!(Embedding::new(&[f32::NAN], tag()), Err(EmbeddingError::NotFinite));
    }

    #[test]
    fn models_never_meet() {
        let a = Embedding::new(&[1.0], tag()).unwrap();
        let b = Embedding::new(&[1.0], ModelTag::new("n")).unwrap();
        assert_eq!(a.cosine(&b), Err(EmbeddingError::DifferentModels));
    }

    #[test]
    fn a_mean_has_unit_length_and_needs_two_vectors_that_do_not_cancel_out() {
        let (east, north, west): (&[f32], &[f32], &[f32]) = (&[1.0, 0.0], &[0.0, 1.0], &[-1.0, 0.0]);
        let half = std::f32::consts::FRAC_1_SQRT_2;
        assert_eq!(mean_direction([east, north]), Some(vec![half, half]));
        assert_eq!(mean_direction([east, west, north]), Some(vec![0.0, 1.0]));
        for none in [vec![], vec![east], vec![east, west]] {
            assert_eq!(mean_direction(none), None);
        }
    }

    #[test]
    fn debug_shows_no_numbers() {
        let e = Embedding::new(&[3.0, 4.0], tag()).unwrap();
        assert_eq!(format!("{e:?}"), "Embedding(m x 2)");
    }
}
