//! Points in time as RFC 3339 with milliseconds, in UTC: `2025-09-23T13:43:31.114Z`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last millisecond of the year 9999: RFC 3339 has four digits for the year.
const LAST: Duration = Duration::from_millis(253_402_300_799_999);

/// Formats a point in time. One before 1970 becomes 1970-01-01, one after 9999 the last of that year.
pub fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST);
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

/// Reads a point in time from 1970 to 9999, to the millisecond. `None`: it is not in RFC 3339 and UTC. The offset of UTC may
/// be `Z` or, as Python writes it, `+00:00`.
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let utc = text.strip_suffix("+00:00").map(|time| format!("{time}Z"));
    let since = humantime::parse_rfc3339(utc.as_deref().unwrap_or(text)).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(UNIX_EPOCH + Duration::from_millis(u64::try_from(since.as_millis()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_formatted_as_documented() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_758_635_011_114, "2025-09-23T13:43:31.114Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_millis(ms)), expected);
        }
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_formatted_time_parses_to_itself() {
        for ms in [0, 951_782_400_000, 1_758_635_011_114, 253_402_300_799_999] {
            let time = UNIX_EPOCH + Duration::from_millis(ms);
            assert_eq!(parse_rfc3339(&rfc3339(time)), Some(time));
            assert_eq!(parse_rfc3339(&rfc3339(time).replace('Z', "+00:00")), Some(time));
        }
        for text in [
            "",
            "2025-09-23",
            "2025-13-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2025-09-23T13:43:31+02:00",
            "Z+00:00",
            "+00:00",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }
}
