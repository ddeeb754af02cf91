//! Error versus discard (ISO/IEC 29794-1): what leaving out the photos of the lowest quality saves.

use serde::Serialize;

use super::bins::{ErrorCurve, edge, threshold_bin};
use super::data_set::DataSet;
use super::interval::Estimate;
use super::sample::{Both, Draws, Sample, Tail, Weighting};
use super::scores::Scores;
use super::verification::{Threshold, not_carried};

/// Shares of photos that are left out.
const SHARES: [f64; 4] = [0.0, 0.05, 0.1, 0.2];
/// False match rates at which FNMR is reported.
const FMRS: [f64; 3] = [1e-3, 1e-4, 1e-5];

/// Comparisons down to this false match rate are enough for the highest of these rates: those of low quality, once they are
/// left out, move its threshold little.
const KEPT_TO_FMR: f64 = 4e-3;

/// FNMR at a fixed false match rate.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct DiscardPoint {
    /// The false match rate among the remaining photos.
    pub fmr: f64,
    /// The threshold that keeps it.
    pub cosine: f64,
    /// FNMR there.
    pub fnmr: Estimate,
}

/// FNMR without some of the photos, counted in one way.
#[derive(Debug, Clone, Serialize)]
pub struct DiscardRates {
    /// FNMR at fixed false match rates.
    pub points: Vec<DiscardPoint>,
    /// FNMR at the threshold of the settings.
    pub fnmr_in_force: Estimate,
}

/// The rates when a share of the photos is left out.
#[derive(Debug, Clone, Serialize)]
pub struct Discard {
    /// The share of photos left out.
    pub share: f64,
    /// Photos that remain.
    pub photos: u64,
    /// The lowest quality among them.
    pub lowest_crfiqa: f64,
    /// People with several of them.
    pub people_with_several: u64,
    /// The rates.
    #[serde(flatten)]
    pub rates: Both<DiscardRates>,
}

/// The rates for each share; empty when a photo has no quality.
pub(super) fn discards(
    data: &DataSet,
    scores: &Scores,
    tail: Tail<'_>,
    threshold: Threshold,
    draws: Draws,
) -> Vec<Discard> {
    let Some(quality) = data.photos().iter().map(|photo| photo.crfiqa).collect::<Option<Vec<f64>>>() else {
        return Vec::new();
    };
    let curves = Sample::new(data, scores, tail, |_| true).curves();
    let enough = Weighting::ALL.into_iter().filter_map(|weighting| curves.get(weighting).at_fmr(KEPT_TO_FMR)).min();
    let tail = enough.map_or(tail, |step| tail.from(step.min(threshold_bin(threshold.cosine))));
    let mut order: Vec<usize> = (0..quality.len()).collect();
    order.sort_by(|a, b| quality[*a].total_cmp(&quality[*b]).then(a.cmp(b)));
    let mut rank = vec![0; order.len()];
    order.iter().enumerate().for_each(|(at, photo)| rank[*photo] = at);
    let at_share = |share: f64| {
        let dropped = (share * order.len() as f64).floor() as usize;
        let sample = Sample::new(data, scores, tail, |photo| rank[photo] >= dropped);
        let lowest_crfiqa = order.get(dropped).map(|photo| quality[*photo])?;
        (sample.genuine() > 0 && sample.people() > 1).then(|| discard(&sample, share, lowest_crfiqa, threshold, draws))
    };
    SHARES.into_iter().filter_map(at_share).collect()
}

fn discard(sample: &Sample, share: f64, lowest_crfiqa: f64, threshold: Threshold, draws: Draws) -> Discard {
    let in_force = threshold_bin(threshold.cosine);
    let values = |curve: &ErrorCurve| {
        let mut values = vec![Some(curve.fnmr(in_force))];
        values.extend(FMRS.map(|fmr| curve.at_fmr(fmr).map(|at| curve.fnmr(at))));
        values
    };
    let intervals = sample.bootstrap(draws, |curves| {
        Weighting::ALL.iter().flat_map(|weighting| values(curves.get(*weighting))).collect()
    });
    let curves = sample.curves();
    let rates = |weighting| {
        let first = if weighting == Weighting::Comparison { 0 } else { 1 + FMRS.len() };
        let curve = curves.get(weighting);
        let fnmr = |at: usize, interval: usize| {
            let interval = intervals.get(first + interval).copied().flatten();
            Estimate::new(curve.fnmr(at), interval, sample.people_with_several())
        };
        let carried = |fmr: &f64| not_carried(*fmr, sample.impostors(weighting)).is_none();
        let points = FMRS.iter().enumerate().filter(|(_, fmr)| carried(fmr)).filter_map(|(place, fmr)| {
            let at = curve.at_fmr(*fmr)?;
            Some(DiscardPoint { fmr: *fmr, cosine: edge(at), fnmr: fnmr(at, 1 + place) })
        });
        DiscardRates { points: points.collect(), fnmr_in_force: fnmr(in_force, 0) }
    };
    Discard {
        share,
        photos: sample.photos(),
        lowest_crfiqa,
        people_with_several: sample.people_with_several(),
        rates: Both::new(rates),
    }
}

#[cfg(test)]
mod tests {
    use super::super::data_set::tests::photo;
    use super::super::photo::{FaceRecord, PhotoOutcome};
    use super::super::scores::impostors_from;
    use super::*;

    /// 20 people with two photos each; one person's second photo is of low quality and does not match.
    #[test]
    fn leaving_out_the_worst_photo_removes_its_error() {
        let mut photos = Vec::new();
        for person in 0..20u8 {
            let angle = f32::from(person) * 0.05;
            for (number, turn) in [(0, 0.0), (1, if person == 7 { 2.0 } else { 0.001 })] {
                let angle: f32 = angle + turn;
                let mut photo = photo(&format!("p{person:02}"), number, &[angle.cos(), angle.sin()]);
                if let PhotoOutcome::Face(face) = &mut photo.outcome {
                    *face = FaceRecord { crfiqa: Some(if turn > 1.0 { 0.1 } else { 0.9 }), ..face.clone() };
                }
                photos.push(photo);
            }
        }
        let data = DataSet::new(photos);
        let scores = Scores::new(&data, 1);
        let pairs = impostors_from(&data, 1, 0);
        let tail = Tail { pairs: &pairs, known_from: 0 };
        let threshold = Threshold { similarity: 0.75, cosine: 0.9999 };
        let draws = Draws { count: 100, seed: 2, threads: 2 };
        let found = discards(&data, &scores, tail, threshold, draws);
        let missed: Vec<f64> = found.iter().map(|discard| discard.rates.by_person.fnmr_in_force.rate).collect();
        assert_eq!(missed.len(), 4);
        assert!((missed[0] - 0.05).abs() < 1e-9 && missed[1..].iter().all(|missed| *missed == 0.0), "{missed:?}");
        assert_eq!((found[0].photos, found[1].photos, found[1].lowest_crfiqa), (40, 38, 0.9));
    }
}
