//! The arithmetic of error rates.

/// The quantile of the normal distribution for two-sided 95 % intervals.
pub const Z95: f64 = 1.959_963_985;

/// FPIR of a gallery at a false match rate: 1 - (1 - FMR)^N, as if the N comparisons of one search were independent.
pub fn fpir(fmr: f64, gallery: f64) -> f64 {
    -(gallery * (-fmr.clamp(0.0, 1.0)).ln_1p()).exp_m1()
}

/// The inverse of [`fpir`]: the false match rate at which a gallery has an FPIR.
pub fn fmr(fpir: f64, gallery: f64) -> f64 {
    -((-fpir.clamp(0.0, 1.0)).ln_1p() / gallery).exp_m1()
}

/// Wilson's (1927) 95 % interval of a share of `count` things.
pub fn wilson(share: f64, count: usize) -> (f64, f64) {
    let n = count.max(1) as f64;
    let z2 = Z95 * Z95 / n;
    let middle = (share + z2 / 2.0) / (1.0 + z2);
    let half = Z95 / (1.0 + z2) * (share * (1.0 - share) / n + z2 / (4.0 * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

/// The range from the 2.5th to the 97.5th percentile; `None` without values.
pub fn percentiles(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)? as f64;
    let at = |share: f64| values.get((share * last).round() as usize).copied();
    Some((at(0.025)?, at(0.975)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fpir_and_fmr_are_inverse() {
        assert!((fpir(1e-5, 1680.0) - 0.01666).abs() < 1e-4);
        assert!((fmr(fpir(1e-7, 2e4), 2e4) / 1e-7 - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_false_positive_becomes_more_likely_with_the_gallery() {
        assert_eq!(fpir(1e-5, 0.0), 0.0);
        assert!((fpir(1e-5, 1.0) - 1e-5).abs() < 1e-12);
        assert!((fpir(1e-5, 10_000.0) - 0.0952).abs() < 1e-3);
        assert!(fpir(1e-3, 1_000_000.0) > 0.999);
    }

    /// Newcombe (1998), table I: 81 of 263, and 0 of 20.
    #[test]
    fn the_interval_is_wilsons() {
        let (low, high) = wilson(81.0 / 263.0, 263);
        assert!((low - 0.2553).abs() < 1e-4 && (high - 0.3662).abs() < 1e-4, "{low} {high}");
        let (low, high) = wilson(0.0, 20);
        assert!(low == 0.0 && (high - 0.1611).abs() < 1e-4, "{low} {high}");
    }

    #[test]
    fn percentiles_hold_19_of_20_values() {
        assert_eq!(percentiles((0..=1000).rev().map(f64::from).collect()), Some((25.0, 975.0)));
        assert_eq!(percentiles(Vec::new()), None);
    }
}
