//! Refuses a native library that carries a telemetry client.
//!
//! The pack's SHA-256 already excludes other files. This check is for a library that an operator pins in their own pack.
//! It finds clients by the hosts and names in the library; it does not find a client that hides them.

use std::path::Path;

use memchr::memmem;

use super::LoadError;

/// Lines of a text, a tab, and the client with this text. `scripts/setup.py` reads the same file.
const MARKERS: &str = include_str!("../../scripts/telemetry_markers.txt");

fn markers() -> impl Iterator<Item = (&'static str, &'static str)> {
    MARKERS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t'))
}

/// Checks the bytes of a library.
///
/// # Errors
/// [`LoadError::Telemetry`] for the first telemetry client that they name.
pub(super) fn refuse_telemetry(path: &Path, library: &[u8]) -> Result<(), LoadError> {
    match markers().find(|(marker, _)| memmem::find(library, marker.as_bytes()).is_some()) {
        None => Ok(()),
        Some((marker, client)) => Err(LoadError::Telemetry { path: path.to_owned(), marker, client }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_marker_is_found_at_any_offset() {
        assert!(markers().count() >= 10);
        assert_eq!(markers().count(), MARKERS.lines().filter(|line| !line.starts_with('#')).count());
        for (marker, client) in markers() {
            for (before, after) in [(0, 0), (5_000_000, 3), (1, 1_000_000)] {
                let library = [vec![0xCC; before], marker.as_bytes().to_vec(), vec![0; after]].concat();
                let error = refuse_telemetry(Path::new("/pack/libonnxruntime.so"), &library).unwrap_err().to_string();
                assert!(error.contains("/pack/libonnxruntime.so"), "{error}");
                assert!(error.contains(&format!("{marker:?}")) && error.contains(client), "{error}");
                assert!(error.contains("[runtime]"), "{error}");
            }
        }
    }

    #[test]
    fn other_hosts_are_not_telemetry() {
        let library = b"https://github.com/onnx/onnx \0 https://www.microsoft.com/en-us/research/ \0 Microsoft";
        assert!(refuse_telemetry(Path::new("library"), library).is_ok());
        assert!(refuse_telemetry(Path::new("library"), b"").is_ok());
    }
}
