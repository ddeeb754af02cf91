//! License and provenance of ONNX Runtime and its components.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::LoadError;

/// License and provenance of ONNX Runtime, the same for every platform.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeProvenance {
    /// Its name and version.
    pub title: String,
    /// Where it comes from.
    pub source: String,
    /// SPDX expression of its license.
    pub licence: String,
    /// Copyright holder.
    pub copyright: String,
    /// Path, relative to the folder of the pack, of the list of its components (JSON).
    pub components: String,
}

/// A component of ONNX Runtime, as its notices list it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct RuntimeComponent {
    /// Its name.
    pub name: String,
    /// Its address, if the notices have one.
    pub source: Option<String>,
    /// Licences in the notices for it.
    pub licences: Vec<String>,
}

impl RuntimeProvenance {
    /// The components, from their file.
    pub(super) fn components(&self, dir: &Path) -> Result<Vec<RuntimeComponent>, LoadError> {
        let path = dir.join(&self.components);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(LoadError::Missing(path)),
            Err(source) => return Err(LoadError::Read { path, source }),
        };
        serde_json::from_str(&text).map_err(|error| LoadError::Pack { path, message: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_read_and_errors_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let text = "title = 'R 1'\nsource = 's'\nlicence = 'MIT'\ncopyright = 'c'\ncomponents = 'list.json'";
        let provenance: RuntimeProvenance = toml::from_str(text).unwrap();
        let failed = || provenance.components(dir.path()).unwrap_err().to_string();
        assert!(failed().contains("list.json is missing"), "{}", failed());
        std::fs::write(dir.path().join("list.json"), "[{}]").unwrap();
        assert!(failed().contains("list.json: missing field `name`"), "{}", failed());
        let list = r#"[{"name": "zlib", "source": null, "licences": ["Zlib"]}]"#;
        std::fs::write(dir.path().join("list.json"), list).unwrap();
        let zlib = RuntimeComponent { name: "zlib".into(), source: None, licences: vec!["Zlib".into()] };
        assert_eq!(provenance.components(dir.path()).unwrap(), [zlib]);
    }
}
