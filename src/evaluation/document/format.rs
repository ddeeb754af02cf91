//! Numbers as text, and text in HTML.

use super::super::Estimate;

/// A rate in percent, with three significant digits.
pub(super) fn percent(rate: f64) -> String {
    let percent = rate * 100.0;
    match percent {
        0.0 => "0".to_owned(),
        _ if percent >= 10.0 => format!("{percent:.1} %"),
        _ if percent >= 1.0 => format!("{percent:.2} %"),
        _ if percent >= 0.01 => format!("{percent:.3} %"),
        _ => format!("{percent:.1e} %"),
    }
}

/// A rate in percent with its interval.
pub(super) fn percent_interval(estimate: &Estimate) -> String {
    with_interval(estimate, percent)
}

/// A small rate, such as 3.1e-6.
pub(super) fn small(rate: f64) -> String {
    if rate == 0.0 { "0".to_owned() } else { format!("{rate:.1e}") }
}

/// A small rate with its interval.
pub(super) fn small_interval(estimate: &Estimate) -> String {
    with_interval(estimate, small)
}

fn with_interval(estimate: &Estimate, text: fn(f64) -> String) -> String {
    match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => format!("{} ({} to {})", text(estimate.rate), text(low), text(high)),
        _ => text(estimate.rate),
    }
}

/// A count with groups of three digits, which stay on one line.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text
}

/// Text that is safe between tags and in quoted attributes.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_digits_as_they_need() {
        assert_eq!(
            [0.0, 0.158, 0.0158, 0.00158, 0.000_01].map(percent),
            ["0", "15.8 %", "1.58 %", "0.158 %", "1.0e-3 %"]
        );
        assert_eq!([0.0, 9.94e-6].map(small), ["0", "9.9e-6"]);
        assert_eq!([7, 999, 1_000, 87_307_271].map(count), ["7", "999", "1\u{a0}000", "87\u{a0}307\u{a0}271"]);
        let estimate = Estimate { rate: 0.02, low: Some(0.01), high: Some(0.03) };
        assert_eq!(percent_interval(&estimate), "2.00 % (1.00 % to 3.00 %)");
        assert_eq!(small_interval(&Estimate { high: None, ..estimate }), "2.0e-2");
    }
}
