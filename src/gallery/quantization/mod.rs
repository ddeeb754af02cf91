//! Codes for rows, and the proof that no bound is below the dot product.
//!
//! The mean of the gallery is subtracted from a row, the result is rotated onto the principal axes, and each coordinate
//! is rounded to one of a few levels. With r' the rounded row, a dot product q.r is q.mean + q.r' + q.(r - r'), and by
//! Cauchy-Schwarz the last term is at most |Wq| |(r - r')/W| for any positive weights W of the axes. So a bound is never
//! below the dot product, even when the gallery has changed since its axes were learned.
//!
//! This is done twice: *sketches*, which are read for all rows, have four bits for the first axes and two for the
//! others; *fine codes*, which are read only for rows that sketches do not rule out, have more.

mod codes;
mod huge_pages;
mod levels;
mod pca;
mod quantizer;

pub(super) use codes::{Codes, ResidualNorms};
pub(super) use huge_pages::HugePages;
pub(super) use levels::BOUNDS;
pub(super) use quantizer::{EncodedQuery, Quantizer};
