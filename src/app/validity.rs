//! When a certificate expires: the one field of X.509 that the TLS library checks for clients only.

use std::time::SystemTime;

/// The tags of ASN.1 (DER) that lead to the field.
const SEQUENCE: u8 = 0x30;
const EXPLICIT_VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of a certificate's validity (RFC 5280, section 4.1); `None` when the certificate is damaged.
pub(super) fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    let (signed, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(signed, SEQUENCE)?;
    if fields.first() == Some(&EXPLICIT_VERSION) {
        fields = next(fields)?.rest;
    }
    // The serial number, the algorithm and the issuer.
    for _ in 0..3 {
        fields = next(fields)?.rest;
    }
    let (validity, _) = element(fields, SEQUENCE)?;
    let end = next(next(validity)?.rest)?;
    time(end.tag, end.content)
}

struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

/// The first element of some DER.
fn next(der: &[u8]) -> Option<Element<'_>> {
    let (&tag, der) = der.split_first()?;
    let (&first, der) = der.split_first()?;
    let (length, der) = if first < 0x80 {
        (usize::from(first), der)
    } else {
        let bytes = usize::from(first & 0x7f);
        let (length, der) = der.split_at_checked(bytes).filter(|_| (1..=4).contains(&bytes))?;
        (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), der)
    };
    let (content, rest) = der.split_at_checked(length)?;
    Some(Element { tag, content, rest })
}

/// The content of the first element, if it has this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let found = next(der)?;
    (found.tag == tag).then_some((found.content, found.rest))
}

/// A time, which RFC 5280 requires in UTC and with seconds.
fn time(tag: u8, text: &[u8]) -> Option<SystemTime> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match tag {
        // Two digits for the years 1950 to 2049.
        UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    if text.len() != 14 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize| text.get(from..from + 2);
    let year = text.get(..4)?;
    let rfc3339 = format!("{year}-{}-{}T{}:{}:{}Z", part(4)?, part(6)?, part(8)?, part(10)?, part(12)?);
    humantime::parse_rfc3339(&rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rfc3339;

    #[test]
    fn the_end_of_the_validity_is_read_in_both_forms() {
        for year in [1999, 2026, 2049, 2050, 2999] {
            let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            parameters.not_after = rcgen::date_time_ymd(year, 11, 3);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = parameters.self_signed(&key).unwrap();
            let der = certificate.der();
            let expiry = not_after(der).unwrap();
            assert_eq!(rfc3339(expiry), format!("{year}-11-03T00:00:00.000Z"));
            for length in 0..der.len() {
                not_after(&der[..length]); // never a panic
            }
        }
    }

    #[test]
    fn other_times_are_refused() {
        for (tag, text) in [
            (UTC_TIME, "2611030000Z"),
            (UTC_TIME, "261103000000+0100"),
            (GENERALIZED_TIME, "20261103000000.5Z"),
            (GENERALIZED_TIME, "20261303000000Z"),
            (SEQUENCE, "20261103000000Z"),
        ] {
            assert_eq!(time(tag, text.as_bytes()), None, "{text}");
        }
    }
}
