//! Learns a threshold from a gallery: how often people who are not enrolled match (FPIR), at which threshold they match as often
//! as an operator accepts, and how many enrolled people that costs (FNIR).
//!
//! Layers, each importing only those above it: `estimate` (values with intervals), `pareto` (the tail's distribution),
//! `impostors` (all comparisons of different people), `genuine` (comparisons of one person's samples), `goodness` (Anderson-Darling), `fit` (the tail, its intervals,
//! outliers), `source` (the fit, or for a small gallery the curve of the model pack).
//!
//! The false match rate of a high threshold is the tail of a distribution, so by the theorem of Pickands, Balkema and de Haan
//! it is close to a generalized Pareto distribution; Shi et al. (2008) fit it to biometric scores in the same way.
//! Pure computation: the same gallery gives the same result. docs/calibrate.md explains it to operators.

mod estimate;
mod fit;
mod genuine;
mod goodness;
mod impostors;
mod pareto;
mod source;

pub use estimate::{Estimate, Figure};
pub use fit::{Fit, MIN_EXPECTED_PAIRS, MIN_PEOPLE, Outlier, Rounds, Tail, outliers, scores};
pub use genuine::Genuine;
pub use goodness::Goodness;
pub use impostors::{Impostors, Measure, Pair, PairScore, Person, ProbeMaximum};
pub use pareto::Pareto;
pub use source::Source;
