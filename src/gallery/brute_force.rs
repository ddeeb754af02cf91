//! The reference that the index must agree with, to the last bit.

use super::kernel::dot;
use super::{Hit, IndexedTemplate, order, vectors};
use crate::domain::{Cosine, Embedding};

/// Compares every sample and every mean, sorts all templates, and returns the best `limit`.
pub fn top_k(templates: &[IndexedTemplate], probe: &Embedding, limit: usize) -> Vec<Hit> {
    let mut hits: Vec<Hit> = templates
        .iter()
        .filter_map(|template| {
            let cosine = |vector: &[f32]| Cosine::clamped(dot(probe.values(), vector));
            let scored = vectors(&template.samples).map(|(sample, vector)| (sample, cosine(&vector)));
            let (sample, cosine) = scored.min_by(|(a_sample, a), (b_sample, b)| {
                b.get().total_cmp(&a.get()).then_with(|| order(*a_sample).cmp(&order(*b_sample)))
            })?;
            Some(Hit { template: template.id.clone(), sample, cosine })
        })
        .collect();
    hits.sort_by(|a, b| b.cosine.get().total_cmp(&a.cosine.get()).then_with(|| a.template.cmp(&b.template)));
    hits.truncate(limit);
    hits
}
