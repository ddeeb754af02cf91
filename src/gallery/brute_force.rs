//! The reference that the index must agree with, to the last bit.

use super::kernel::dot;
use super::{Hit, IndexedTemplate};
use crate::domain::{Cosine, Embedding};

/// Compares every sample, sorts all templates, and returns the best `limit`.
pub fn top_k(templates: &[IndexedTemplate], probe: &Embedding, limit: usize) -> Vec<Hit> {
    let mut hits: Vec<Hit> = templates
        .iter()
        .filter_map(|template| {
            let score = |e: &Embedding| Cosine::clamped(dot(probe.values(), e.values())).get();
            let best = template
                .samples
                .iter()
                .min_by(|a, b| score(&b.embedding).total_cmp(&score(&a.embedding)).then_with(|| a.id.cmp(&b.id)))?;
            let cosine = Cosine::clamped(score(&best.embedding));
            Some(Hit { template: template.id.clone(), sample: best.id, cosine })
        })
        .collect();
    hits.sort_by(|a, b| b.cosine.get().total_cmp(&a.cosine.get()).then_with(|| a.template.cmp(&b.template)));
    hits.truncate(limit);
    hits
}
