//! Variables with our prefix that are not settings: misspelt ones, and those that Kubernetes makes for Services.

use super::PREFIX;

/// How many letters a misspelt name may differ from a setting's to be refused.
const MAX_DISTANCE: usize = 2;

/// Whether Kubernetes sets a variable of this form in pods, for a Service whose name begins like ours: a Service
/// `semblance` gives `SEMBLANCE_SERVICE_HOST`, `SEMBLANCE_SERVICE_PORT`, `SEMBLANCE_SERVICE_PORT_HTTP`,
/// `SEMBLANCE_PORT=tcp://10.0.0.1:8080`, `SEMBLANCE_PORT_8080_TCP=tcp://...` and `SEMBLANCE_PORT_8080_TCP_ADDR`, `_PORT`
/// and `_PROTO`.
pub(super) fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let prefix = PREFIX.trim_end_matches('_');
    let Some(rest) = name.strip_prefix(prefix) else { return false };
    if let Some((_, port_name)) = rest.split_once("_SERVICE_PORT") {
        return is_number(value) && (port_name.is_empty() || port_name.starts_with('_'));
    }
    if rest.ends_with("_SERVICE_HOST") {
        return value.parse::<std::net::IpAddr>().is_ok();
    }
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    if rest.ends_with("_PORT") && is_url {
        return true;
    }
    // What follows `_PORT_`: the port, the protocol, and one of three suffixes.
    let Some((_, port)) = rest.rsplit_once("_PORT_").filter(|(_, port)| !["", "PROTO"].contains(port)) else {
        return rest.rsplit_once("_PORT").is_some_and(|(before, _)| is_port_of_service(before));
    };
    let mut parts = port.split('_');
    let is_port = parts.next().is_some_and(is_number) && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"));
    is_port && matches!(parts.next(), None | Some("ADDR" | "PORT" | "PROTO")) && parts.next().is_none()
}

/// Whether a name ends with the port and the protocol of a Service: `_PORT_8080_TCP`.
fn is_port_of_service(name: &str) -> bool {
    let Some((_, port)) = name.rsplit_once("_PORT_") else { return false };
    port.split_once('_').is_some_and(|(port, protocol)| is_number(port) && ["TCP", "UDP", "SCTP"].contains(&protocol))
}

fn is_number(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

/// The known name that a misspelt one stands for: the nearest, if it differs in at most two letters.
pub(super) fn meant(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let distances = known.map(|known| (distance(name, &known), known));
    distances
        .filter(|(distance, _)| *distance <= MAX_DISTANCE)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The number of letters that are inserted, deleted, replaced or swapped with their neighbor between two names.
fn distance(one: &str, other: &str) -> usize {
    let one = one.as_bytes();
    let other = other.as_bytes();
    if one.len().abs_diff(other.len()) > MAX_DISTANCE {
        return usize::MAX;
    }
    let width = other.len() + 1;
    let mut before: Vec<usize> = vec![0; width];
    let mut last: Vec<usize> = (0..width).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1; width];
        for (j, b) in other.iter().enumerate() {
            let replaced = last[j] + usize::from(a != b);
            let best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            let swapped = i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b;
            row[j + 1] = if swapped { best.min(before[j - 1] + 1) } else { best };
        }
        before = std::mem::replace(&mut last, row);
    }
    last[width - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_services_are_recognized() {
        for (name, value) in [
            ("SEMBLANCE_SERVICE_HOST", "10.96.0.12"),
            ("SEMBLANCE_SERVICE_HOST", "fd00::c"),
            ("SEMBLANCE_SERVICE_PORT", "8080"),
            ("SEMBLANCE_SERVICE_PORT_HTTP", "8080"),
            ("SEMBLANCE_SERVICE_PORT_HTTP_ADMIN", "9090"),
            ("SEMBLANCE_PORT", "tcp://10.96.0.12:8080"),
            ("SEMBLANCE_PORT_8080_TCP", "tcp://10.96.0.12:8080"),
            ("SEMBLANCE_PORT_8080_TCP_ADDR", "10.96.0.12"),
            ("SEMBLANCE_PORT_8080_TCP_PORT", "8080"),
            ("SEMBLANCE_PORT_8080_TCP_PROTO", "tcp"),
            ("SEMBLANCE_ADMIN_SERVICE_HOST", "10.96.0.13"),
            ("SEMBLANCE_ADMIN_PORT", "tcp://10.96.0.13:9090"),
            ("SEMBLANCE_ADMIN_PORT_9090_TCP_PORT", "9090"),
            ("SEMBLANCE_PORT_53_UDP", "udp://10.96.0.12:53"),
        ] {
            assert!(is_of_kubernetes(name, value), "{name}");
        }
        for (name, value) in [
            ("SEMBLANCE_PORT", "8080"),
            ("SEMBLANCE_LISTEN", "tcp://10.96.0.12:8080"),
            ("SEMBLANCE_SERVICE_HOST", "a host"),
            ("SEMBLANCE_PORT_8080", "8080"),
            ("SEMBLANCE_PORT_HTTP_TCP", "tcp://10.96.0.12:8080"),
            ("OTHER_SERVICE_HOST", "10.96.0.12"),
        ] {
            assert!(!is_of_kubernetes(name, value), "{name}");
        }
    }

    #[test]
    fn a_name_within_two_letters_is_meant() {
        let known = || ["LISTEN", "KEY", "KEY_FILE"].map(str::to_owned).into_iter();
        for (name, expected) in [
            ("LISTN", Some("LISTEN")),
            ("LITSEN", Some("LISTEN")),
            ("LISTENXY", Some("LISTEN")),
            ("KEYFILE", Some("KEY_FILE")),
            ("KEYS", Some("KEY")),
            ("LSTENXY", None),
            ("VERSION", None),
            ("", None),
        ] {
            assert_eq!(meant(name, known()).as_deref(), expected, "{name}");
        }
        assert_eq!((distance("abcd", "abdc"), distance("abc", "xyz"), distance("a", "abcd")), (1, 3, usize::MAX));
    }
}
