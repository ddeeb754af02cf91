//! Error rates of a search in a gallery, open set: some of those who are searched for are not enrolled.

use serde::Serialize;

use super::bins::{BINS, Counted, ErrorCurve, bin, edge, threshold_bin};
use super::data_set::DataSet;
use super::interval::{Estimate, percentiles};
use super::parallel::in_parallel;
use super::random::Random;
use super::sample::{Both, Draws, Weighting};
use super::scores::Scores;
use super::verification::{NotReported, OperatingPoint, Threshold, Verification};
use crate::domain;

/// Sizes of measured galleries, as far as there are people.
const SIZES: [usize; 9] = [10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000];
/// Sizes of extrapolated galleries, beyond the largest measured one.
const LARGER_SIZES: [usize; 5] = [1_000, 3_000, 10_000, 100_000, 1_000_000];
/// False positive identification rates at which FNIR is reported.
const FPIRS: [f64; 5] = [0.1, 0.03, 0.01, 0.003, 0.001];
/// Of the people without a template in the gallery, so many are expected to be matched at a reported rate.
const MATCHES_NEEDED: f64 = 3.0;
/// A size is measured when so many people with several photos are enrolled on average.
const MATED_NEEDED: usize = 10;
/// Draws of who is enrolled.
const GALLERIES: usize = 100;

/// FNIR at a false positive identification rate.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct IdentificationPoint {
    /// The highest allowed FPIR.
    pub fpir: f64,
    /// The lowest cosine, in steps of 1e-4, that keeps it.
    pub cosine: f64,
    /// FPIR at that cosine.
    pub measured_fpir: f64,
    /// FNIR at that cosine.
    pub fnir: Estimate,
}

/// The rates at the threshold of the settings.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SearchRatesInForce {
    /// False positive identification rate.
    pub fpir: Estimate,
    /// False negative identification rate.
    pub fnir: Estimate,
}

/// Rates of one size of gallery, counted in one way.
#[derive(Debug, Clone, Serialize)]
pub struct SearchRates {
    /// Share of mated searches whose own template is not the first.
    pub rank_one_miss: Estimate,
    /// FNIR at false positive identification rates.
    pub points: Vec<IdentificationPoint>,
    /// The rates at the threshold of the settings.
    pub in_force: SearchRatesInForce,
    /// FPIR and FNIR by cosine, in steps of 1e-3.
    #[serde(skip)]
    pub curve: Vec<(f64, f64, f64)>,
}

/// A measured size of gallery. Counts are averages of the draws.
#[derive(Debug, Clone, Serialize)]
pub struct MeasuredGallery {
    /// Templates, one photo each.
    pub size: usize,
    /// Draws of who is enrolled.
    pub draws: usize,
    /// Searches for enrolled people, with photos that are not enrolled, in one draw.
    pub mated_searches: f64,
    /// People that these searches show.
    pub mated_people: f64,
    /// Searches for people who are not enrolled, in one draw.
    pub non_mated_searches: f64,
    /// People that these searches show.
    pub non_mated_people: usize,
    /// Rates, each search or each person counted alike.
    #[serde(flatten)]
    pub rates: Both<SearchRates>,
    /// Rates for which there are too few people who are not enrolled.
    pub not_reported: Vec<NotReported>,
}

/// FNIR of a larger gallery, extrapolated.
#[derive(Debug, Clone, Serialize)]
pub struct ExtrapolatedPoint {
    /// The false positive identification rate.
    pub fpir: f64,
    /// The false match rate of one comparison that leads to it: 1 - (1 - FPIR)^(1 / size).
    pub fmr: f64,
    /// FNMR at that rate; `None` when there are too few impostors for it.
    pub by_comparison: Option<OperatingPoint>,
    /// The same with each person counted alike.
    pub by_person: Option<OperatingPoint>,
}

/// A larger gallery than could be measured, by FPIR = 1 - (1 - FMR)^size, with FNMR in place of FNIR.
#[derive(Debug, Clone, Serialize)]
pub struct ExtrapolatedGallery {
    /// Templates.
    pub size: usize,
    /// Always true: these rates are not measured.
    pub extrapolated: bool,
    /// FPIR at the threshold of the settings.
    pub fpir_in_force: Option<Both<Estimate>>,
    /// FNIR at false positive identification rates.
    pub points: Vec<ExtrapolatedPoint>,
}

/// Rates of searches in galleries of several sizes.
#[derive(Debug, Serialize)]
pub struct Identification {
    /// Sizes that the people of the data set carry.
    pub measured: Vec<MeasuredGallery>,
    /// Larger sizes.
    pub extrapolated: Vec<ExtrapolatedGallery>,
}

/// The sizes that a data set carries: at least a third of the people are not enrolled.
fn measured_sizes(data: &DataSet) -> Vec<usize> {
    let people = data.people();
    let several = (0..people).filter(|person| data.photos_of(*person).len() > 1).count();
    let carried = |size: &usize| size * 3 <= people * 2 && several * size >= MATED_NEEDED * people;
    SIZES.into_iter().filter(carried).collect()
}

fn larger_sizes(data: &DataSet) -> Vec<usize> {
    let largest = measured_sizes(data).last().copied().unwrap_or(0);
    LARGER_SIZES.into_iter().filter(|size| *size > largest).collect()
}

/// The false match rates whose FNMR [`Identification::new`] needs of the verification.
pub(super) fn needed_fmrs(data: &DataSet) -> Vec<f64> {
    let pairs = larger_sizes(data).into_iter().flat_map(|size| FPIRS.map(|fpir| (fpir, size)));
    pairs.map(|(fpir, size)| domain::fmr(fpir, size as f64)).collect()
}

impl Identification {
    pub(super) fn new(data: &DataSet, scores: &Scores, verification: &Verification, draws: Draws) -> Self {
        let threshold = verification.threshold;
        let sizes = measured_sizes(data).into_iter();
        Self {
            measured: sizes.map(|size| measure(data, scores, size, threshold, draws)).collect(),
            extrapolated: larger_sizes(data).into_iter().map(|size| extrapolate(verification, size)).collect(),
        }
    }
}

fn extrapolate(verification: &Verification, size: usize) -> ExtrapolatedGallery {
    let points = FPIRS.map(|fpir| {
        let fmr = domain::fmr(fpir, size as f64);
        let find = |points: &Vec<OperatingPoint>| points.iter().copied().find(|point| point.fmr == fmr);
        let extra = &verification.extra;
        ExtrapolatedPoint { fpir, fmr, by_comparison: find(&extra.by_comparison), by_person: find(&extra.by_person) }
    });
    let rates = &verification.rates;
    let fpir = |weighting| Some(rates.get(weighting).in_force?.fmr.map(|fmr| domain::fpir(fmr, size as f64)));
    let fpir_in_force = match (fpir(Weighting::Comparison), fpir(Weighting::Person)) {
        (Some(by_comparison), Some(by_person)) => Some(Both { by_comparison, by_person }),
        _ => None,
    };
    ExtrapolatedGallery { size, extrapolated: true, fpir_in_force, points: points.into() }
}

/// A search in one draw of who is enrolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Search {
    person: u32,
    /// Whether the person is enrolled.
    mated: bool,
    /// Of a mated search the step of the own template, or 0 when another one leads; of others that of the first template.
    step: u16,
}

/// The searches of all draws of one size. Equal ones are counted.
struct Searches {
    /// By person, mated or not, and step.
    counted: Vec<(Search, u32)>,
    /// Searches of each person in a draw in which it is enrolled, and in the others.
    per_draw: Vec<(usize, usize)>,
}

impl Searches {
    fn new(data: &DataSet, draws: Vec<Vec<Search>>) -> Self {
        let mut all: Vec<Search> = draws.into_iter().flatten().collect();
        all.sort_unstable();
        let counted = all.chunk_by(|a, b| a == b).map(|equal| (equal[0], equal.len() as u32)).collect();
        let photos = (0..data.people()).map(|person| data.photos_of(person).len());
        Self { counted, per_draw: photos.map(|photos| (photos - 1, photos)).collect() }
    }

    /// Searches of one kind.
    fn count(&self, mated: bool) -> u64 {
        self.counted.iter().filter(|(search, _)| search.mated == mated).map(|(_, count)| u64::from(*count)).sum()
    }

    /// The rates when each person is there as often as it was drawn.
    fn curves(&self, drawn: Option<&[u32]>) -> Both<ErrorCurve> {
        Both::new(|weighting| {
            let mut counted = Counted {
                genuine: vec![0.0; BINS],
                genuine_total: 0.0,
                impostor: vec![0.0; BINS],
                impostor_total: 0.0,
                known_from: 0,
            };
            for (search, count) in &self.counted {
                let person = search.person as usize;
                let (enrolled, other) = self.per_draw[person];
                let of_draw = if search.mated { enrolled } else { other };
                let share = if weighting == Weighting::Comparison { 1.0 } else { 1.0 / of_draw as f64 };
                let weight = drawn.map_or(1.0, |drawn| f64::from(drawn[person])) * share * f64::from(*count);
                let (steps, total) = if search.mated {
                    (&mut counted.genuine, &mut counted.genuine_total)
                } else {
                    (&mut counted.impostor, &mut counted.impostor_total)
                };
                steps[usize::from(search.step)] += weight;
                *total += weight;
            }
            ErrorCurve::new(&counted)
        })
    }
}

fn measure(data: &DataSet, scores: &Scores, size: usize, threshold: Threshold, draws: Draws) -> MeasuredGallery {
    let in_force = threshold_bin(threshold.cosine);
    let made = in_parallel(draws.threads, GALLERIES, 1, |range| {
        draw(data, scores, size, Random::for_draw(draws.seed ^ size as u64, range.start))
    });
    let mated_people = made.iter().map(|draw| draw.mated_people).sum::<usize>() as f64 / GALLERIES as f64;
    let searches = Searches::new(data, made.into_iter().map(|draw| draw.searches).collect());
    let samples = in_parallel(draws.threads, draws.count, 1, |range| {
        let drawn = Random::for_draw(!draws.seed, range.start).multiplicities(data.people());
        let curves = searches.curves(Some(&drawn));
        Both::new(|weighting| values(curves.get(weighting), in_force))
    });
    let curves = searches.curves(None);
    let non_mated_people = data.people() - size;
    let lacking = |fpir: f64| {
        let needs = (MATCHES_NEEDED / fpir).round() as u64;
        ((non_mated_people as u64) < needs).then_some(NotReported { rate: fpir, needs, has: non_mated_people as u64 })
    };
    let rates = |weighting: Weighting| {
        let interval = |at: usize| percentiles(samples.iter().map(|values| values.get(weighting)[at]));
        let curve = curves.get(weighting);
        let fnir = |at: usize, of: usize| Estimate::new(curve.fnmr(at), interval(of), mated_people as u64);
        let fpir = Estimate::new(curve.fmr(in_force).unwrap_or(0.0), interval(1), non_mated_people as u64);
        let points = FPIRS.into_iter().enumerate().filter(|(_, fpir)| lacking(*fpir).is_none());
        let points = points.filter_map(|(at, fpir)| {
            let lowest = curve.at_fmr(fpir)?;
            Some(IdentificationPoint {
                fpir,
                cosine: edge(lowest),
                measured_fpir: curve.fmr(lowest)?,
                fnir: fnir(lowest, VALUES_BEFORE_FPIRS + at),
            })
        });
        SearchRates {
            rank_one_miss: fnir(1, 0),
            points: points.collect(),
            in_force: SearchRatesInForce { fpir, fnir: fnir(in_force, 2) },
            curve: (0..BINS)
                .step_by(10)
                .filter_map(|at| Some((edge(at), curve.fmr(at)?, curve.fnmr(at))))
                .filter(|(_, fpir, fnir)| *fpir > 0.0 && *fpir < 1.0 || *fnir > 0.0 && *fnir < 1.0)
                .collect(),
        }
    };
    MeasuredGallery {
        size,
        draws: GALLERIES,
        mated_searches: searches.count(true) as f64 / GALLERIES as f64,
        mated_people,
        non_mated_searches: searches.count(false) as f64 / GALLERIES as f64,
        non_mated_people,
        rates: Both::new(rates),
        not_reported: FPIRS.into_iter().filter_map(lacking).collect(),
    }
}

/// Rank-one miss, FPIR and FNIR at the threshold of the settings.
const VALUES_BEFORE_FPIRS: usize = 3;

fn values(curve: &ErrorCurve, in_force: usize) -> Vec<Option<f64>> {
    let mut values = vec![Some(curve.fnmr(1)), curve.fmr(in_force), Some(curve.fnmr(in_force))];
    values.extend(FPIRS.map(|fpir| curve.at_fmr(fpir).map(|at| curve.fnmr(at))));
    values
}

/// One draw of who is enrolled.
struct Draw {
    searches: Vec<Search>,
    /// Enrolled people who are searched for.
    mated_people: usize,
}

fn draw(data: &DataSet, scores: &Scores, size: usize, mut random: Random) -> Draw {
    let mut order: Vec<usize> = (0..data.people()).collect();
    random.shuffle_front(&mut order, size);
    let mut gallery = Gallery::new(data.photos().len());
    let mut enrolled = vec![None; data.people()];
    for person in &order[..size] {
        let photos = data.photos_of(*person);
        let photo = photos[random.below(photos.len())];
        gallery.add(photo);
        enrolled[*person] = Some(photo);
    }
    let search = |photo: usize| {
        let person = data.photos()[photo].person;
        let other = gallery.first_other(data, scores, photo);
        let step = match enrolled[person] {
            None => other.map_or(0, bin),
            Some(own) => {
                let own = data.cosine(photo, own);
                if other.is_none_or(|other| own >= other) { bin(own).max(1) } else { 0 }
            }
        };
        Search { person: person as u32, mated: enrolled[person].is_some(), step: step as u16 }
    };
    let probes = (0..data.photos().len()).filter(|photo| !gallery.is_enrolled[*photo]);
    let several = |person: &&usize| data.photos_of(**person).len() > 1;
    Draw { searches: probes.map(search).collect(), mated_people: order[..size].iter().filter(several).count() }
}

/// The enrolled photos of a draw.
struct Gallery {
    is_enrolled: Vec<bool>,
    photos: Vec<usize>,
}

impl Gallery {
    fn new(photos: usize) -> Self {
        Self { is_enrolled: vec![false; photos], photos: Vec::new() }
    }

    fn add(&mut self, photo: usize) {
        self.is_enrolled[photo] = true;
        self.photos.push(photo);
    }

    /// The highest cosine of a photo with the template of another person who is no relative: among its neighbors, or else
    /// among all templates.
    fn first_other(&self, data: &DataSet, scores: &Scores, photo: usize) -> Option<f32> {
        let near = scores.neighbors[photo].iter().find(|neighbor| self.is_enrolled[neighbor.photo as usize]);
        if let Some(near) = near {
            return Some(near.cosine);
        }
        let person = data.photos()[photo].person;
        let others = self.photos.iter().filter(|other| {
            let theirs = data.photos()[**other].person;
            theirs != person && !data.are_relatives(person, theirs)
        });
        others.map(|other| data.cosine(photo, *other)).max_by(f32::total_cmp)
    }
}

#[cfg(test)]
mod tests {
    use super::super::data_set::tests::people;
    use super::super::sample::{Sample, Tail};
    use super::super::scores::impostors_from;
    use super::*;

    fn data(count: u16) -> DataSet {
        let photo = |n: u16, turn: f32| {
            let angle = (f32::from(n) * 3.0 + turn).to_radians();
            (format!("p{n:03}"), [angle.cos(), angle.sin()])
        };
        let photos: Vec<_> = (0..count).flat_map(|n| [photo(n, 0.0), photo(n, 1.0)]).collect();
        people(&photos.iter().map(|(name, values)| (name.as_str(), *values)).collect::<Vec<_>>())
    }

    fn identification(data: &DataSet, cosine: f64) -> Identification {
        let scores = Scores::new(data, 2);
        let pairs = impostors_from(data, 1, 0);
        let sample = Sample::new(data, &scores, Tail { pairs: &pairs, known_from: 0 }, |_| true);
        let threshold = Threshold { similarity: 0.75, cosine };
        let draws = Draws { count: 20, seed: 4, threads: 2 };
        let verification = Verification::new(&scores, &sample, threshold, &needed_fmrs(data), draws);
        Identification::new(data, &scores, &verification, draws)
    }

    /// 120 people in a circle at 3 degrees, the second photo of each 1 degree from the first one.
    #[test]
    fn rates_are_those_of_the_drawn_galleries() {
        let found = identification(&data(120), f64::from(1.5f32.to_radians().cos()));
        assert_eq!(found.measured.iter().map(|gallery| gallery.size).collect::<Vec<_>>(), [10, 30]);
        let gallery = &found.measured[1];
        assert_eq!((gallery.mated_people, gallery.mated_searches), (30.0, 30.0));
        assert_eq!((gallery.non_mated_people, gallery.non_mated_searches), (90, 180.0));
        let rates = &gallery.rates.by_person;
        assert_eq!(rates.rank_one_miss.rate, 0.0, "the own photo is the nearest");
        // Own photos are 1 degree apart, others at least 2: a threshold at 1.5 degrees makes no error.
        assert_eq!((rates.in_force.fpir.rate, rates.in_force.fnir.rate), (0.0, 0.0));
        assert_eq!(rates.in_force.fpir.high, Some(3.0 / 90.0));
        // 90 people carry 3 / 90: 10 %, but not 3 %.
        assert_eq!(rates.points.iter().map(|point| point.fpir).collect::<Vec<_>>(), [0.1]);
        assert_eq!(gallery.not_reported[0].needs, 100);
    }

    /// With a threshold at 2.5 degrees, a photo that is not enrolled matches if the neighbor on its side is enrolled with
    /// the photo on that side: with chance 30 / 119 x 1 / 2 = 12.6 %.
    #[test]
    fn a_person_who_is_not_enrolled_matches_as_often_as_chance_says() {
        let found = identification(&data(120), f64::from(2.5f32.to_radians().cos()));
        let fpir = found.measured[1].rates.by_comparison.in_force.fpir;
        assert!((fpir.rate - 0.126).abs() < 0.02, "{fpir:?}");
        assert!(fpir.low.unwrap() < fpir.rate && fpir.rate < fpir.high.unwrap());
    }

    #[test]
    fn neighbors_and_all_templates_lead_to_the_same_first_template() {
        let data = data(60);
        let mut scores = Scores::new(&data, 1);
        let mut gallery = Gallery::new(data.photos().len());
        [0, 31, 77].into_iter().for_each(|photo| gallery.add(photo));
        let with: Vec<_> = (0..120).map(|photo| gallery.first_other(&data, &scores, photo)).collect();
        scores.neighbors = vec![Vec::new(); 120];
        let without: Vec<_> = (0..120).map(|photo| gallery.first_other(&data, &scores, photo)).collect();
        assert_eq!(with, without);
    }

    #[test]
    fn a_larger_gallery_is_extrapolated() {
        assert!((domain::fpir(1e-5, 1e4) - 0.0952).abs() < 1e-4);
        assert!((domain::fpir(domain::fmr(0.003, 1e6), 1e6) - 0.003).abs() < 1e-9);
        let found = identification(&data(120), 0.9999);
        assert_eq!(found.extrapolated[0].size, 1000);
        assert!(found.extrapolated.iter().all(|gallery| gallery.extrapolated));
        // 1 000 templates at FPIR 10 % need FMR 1e-4, which 7 140 pairs of people do not carry.
        assert!(found.extrapolated[0].points[0].by_person.is_none());
    }

    #[test]
    fn few_people_carry_no_gallery() {
        let found = identification(&data(6), 0.9);
        assert!(found.measured.is_empty() && !found.extrapolated.is_empty());
    }
}
