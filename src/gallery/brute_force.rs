//! The reference that the index must agree with, to the last bit.

use super::kernel::dot;
use super::{Hit, IndexedTemplate, vectors};
use crate::domain::{Cosine, Embedding, SampleId};

/// Compares every sample and every mean, sorts all templates, and returns the best `limit`.
pub fn top_k(templates: &[IndexedTemplate], probe: &Embedding, limit: usize) -> Vec<Hit> {
    let mut hits: Vec<Hit> = templates
        .iter()
        .filter_map(|template| {
            let scored = vectors(&template.samples).map(|(sample, vector)| (sample, dot(probe.values(), &vector)));
            let scored = scored.map(|(sample, score)| (sample, Cosine::clamped(score)));
            let (sample, cosine) = scored.min_by(|(a_sample, a), (b_sample, b)| {
                let sample = |sample: &Option<SampleId>| (sample.is_none(), *sample);
                b.get().total_cmp(&a.get()).then_with(|| sample(a_sample).cmp(&sample(b_sample)))
            })?;
            Some(Hit { template: template.id.clone(), sample, cosine })
        })
        .collect();
    hits.sort_by(|a, b| b.cosine.get().total_cmp(&a.cosine.get()).then_with(|| a.template.cmp(&b.template)));
    hits.truncate(limit);
    hits
}
