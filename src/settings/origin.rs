//! Where each setting comes from, for `semblance config` and the administration API.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::{DEFAULTS, is_secret};

/// The source that gave a setting its value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origin {
    /// `default.toml`.
    #[default]
    Default,
    /// The configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line of the key, counted from 1; `None` when the key is written in a form that has no line of its own.
        line: Option<usize>,
    },
    /// An environment variable.
    Environment {
        /// Its name as it was given, which may be an old one.
        variable: String,
    },
    /// A flag of the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: Some(line) } => write!(f, "{}, line {line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Environment { variable } => f.write_str(variable),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// What a running server reads again without a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// The setting itself, on SIGHUP.
    Setting,
    /// The content of the file that the setting names: on SIGHUP, or by itself.
    Content,
    /// Nothing: a change needs a restart.
    Nothing,
}

/// One setting in force.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingEntry {
    /// The key, such as `limits.body_bytes`.
    pub key: String,
    /// The value as it is configured; `None` for a secret.
    pub value: Option<serde_json::Value>,
    /// What the server uses in place of a value that means "chosen at start"; `None` where it uses the value.
    pub in_force: Option<u64>,
    /// Whether the value is other than empty.
    pub is_set: bool,
    /// Where the value comes from.
    pub origin: Origin,
    /// What is read again without a restart.
    pub reload: Reload,
}

/// The origins of the settings that are not defaults, by key.
#[derive(Debug, Default)]
pub(super) struct Origins(BTreeMap<String, Origin>);

impl Origins {
    pub(super) fn set(&mut self, key: &str, origin: Origin) {
        self.0.insert(key.to_owned(), origin);
    }

    /// All settings, in the order of `default.toml`. `table` has the values as configured, `chosen`
    /// the numbers that the server uses in place of 0.
    pub(super) fn entries(mut self, table: &Table, chosen: &[(&str, usize)]) -> Vec<SettingEntry> {
        let order = KeyLines::new(DEFAULTS);
        let mut keys: Vec<(String, &Value)> = table
            .iter()
            .flat_map(|(name, value)| match value {
                Value::Table(section) => section.iter().map(|(key, value)| (format!("{name}.{key}"), value)).collect(),
                value => vec![(name.clone(), value)],
            })
            .collect();
        // A key that has no line in the reference, such as the limit of a measure, follows its section.
        keys.sort_by_cached_key(|(key, _)| {
            let section = key.split_once('.').map_or("", |(section, _)| section);
            (order.line(key).or_else(|| order.line(section)), key.clone())
        });
        let entry = |(key, value): (String, &Value)| SettingEntry {
            value: if is_secret(&key) { None } else { serde_json::to_value(value).ok() },
            in_force: in_force(&key, value, chosen),
            is_set: !is_empty(value),
            origin: self.0.remove(&key).unwrap_or_default(),
            reload: reload(&key),
            key,
        };
        keys.into_iter().map(entry).collect()
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// The number that stands for 0.
fn in_force(key: &str, value: &Value, chosen: &[(&str, usize)]) -> Option<u64> {
    let (_, number) = chosen.iter().find(|(known, _)| *known == key)?;
    u64::try_from(*number).ok().filter(|_| value.as_integer() == Some(0))
}

fn reload(key: &str) -> Reload {
    match key {
        "log.level" => Reload::Setting,
        "key_file" | "tls.cert" | "tls.key" | "database.password_file" => Reload::Content,
        _ => Reload::Nothing,
    }
}

/// The lines of the keys of a TOML file.
#[derive(Debug, Default)]
pub(super) struct KeyLines(HashMap<String, usize>);

impl KeyLines {
    /// Empty for a text that is not TOML.
    pub(super) fn new(text: &str) -> Self {
        let Ok(table) = DeTable::parse(text) else { return Self::default() };
        let line = |at: usize| text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
        let mut lines = HashMap::new();
        for (name, value) in table.get_ref() {
            lines.insert(name.get_ref().to_string(), line(name.span().start));
            if let DeValue::Table(section) = value.get_ref() {
                for key in section.keys() {
                    lines.insert(format!("{}.{}", name.get_ref(), key.get_ref()), line(key.span().start));
                }
            }
        }
        Self(lines)
    }

    /// The line of a key, counted from 1.
    pub(super) fn line(&self, key: &str) -> Option<usize> {
        self.0.get(key).copied()
    }

    /// The origin of a key of a file with these lines.
    pub(super) fn origin(&self, path: &Path, key: &str) -> Origin {
        Origin::File { path: path.to_owned(), line: self.line(key) }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::settings::{Overrides, Settings};

    fn entry<'a>(settings: &'a Settings, key: &str) -> &'a SettingEntry {
        settings.entries.iter().find(|entry| entry.key == key).unwrap()
    }

    #[test]
    fn every_setting_has_its_value_and_its_origin() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        let text = "data = \"/d\" # a comment\n\n[database]\nurl = \"postgres://u:hunter2@h/d\"\n\n[matching]\n# old\n\
                    floor = 0.9\n[quality]\nblur = \"0.4\"\n";
        std::fs::write(&path, text).unwrap();
        let overrides = Overrides {
            config: Some(path.clone()),
            values: vec![("listen", "9000".to_owned()), ("models", "m".into())],
        };
        let variables = [("SEMBLANCE_LIMITS_INSIDE", "7"), ("SEMBLANCE_DATA", "/e"), ("SEMBLANCE_KEY", "hunter3")];
        let variables = variables.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let settings = Settings::load_from(&overrides, variables).unwrap();
        let file = |line| Origin::File { path: path.clone(), line: Some(line) };
        let variable = |name: &str| Origin::Environment { variable: name.to_owned() };
        for (key, value, origin) in [
            ("listen", Some(serde_json::json!("9000")), Origin::Flag),
            ("data", Some(serde_json::json!("/e")), variable("SEMBLANCE_DATA")),
            ("key", None, variable("SEMBLANCE_KEY")),
            ("database.url", None, file(4)),
            ("matching.threshold", Some(serde_json::json!(0.9)), file(8)),
            ("quality.blur", Some(serde_json::json!("0.4")), file(10)),
            ("limits.max_in_flight", Some(serde_json::json!(7)), variable("SEMBLANCE_LIMITS_INSIDE")),
            ("limits.body_bytes", Some(serde_json::json!(20 << 20)), Origin::Default),
            ("server.cors_origins", Some(serde_json::json!([])), Origin::Default),
        ] {
            let found = entry(&settings, key);
            assert_eq!((&found.value, &found.origin), (&value, &origin), "{key}");
        }
        assert!(entry(&settings, "key").is_set && entry(&settings, "database.url").is_set);
        assert!(!entry(&settings, "key_file").is_set && !entry(&settings, "server.cors_origins").is_set);
        let text = format!("{:?}", settings.entries);
        assert!(!text.contains("hunter"), "{text}");
    }

    #[test]
    fn what_the_server_chooses_is_in_force() {
        let settings = Settings::load_from(&Overrides::default(), []).unwrap();
        let threads = settings.compute.inference_threads as u64;
        assert_eq!(entry(&settings, "compute.inference_threads").in_force, Some(threads));
        assert_eq!(entry(&settings, "limits.max_in_flight").in_force, Some(8 * threads));
        assert_eq!(entry(&settings, "limits.upload_bytes").in_force, Some(16 * (20 << 20)));
        assert_eq!(entry(&settings, "limits.body_bytes").in_force, None);
        let set = Overrides { values: vec![("compute.search_threads", "3".to_owned())], ..Overrides::default() };
        let settings = Settings::load_from(&set, []).unwrap();
        assert_eq!(entry(&settings, "compute.search_threads").in_force, None);
    }

    #[test]
    fn settings_have_the_order_of_the_reference() {
        let settings = Settings::load_from(&Overrides::default(), []).unwrap();
        let keys: Vec<&str> = settings.entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(&keys[..5], ["listen", "data", "models", "key", "key_file"]);
        let at = |key: &str| keys.iter().position(|known| *known == key).unwrap();
        assert!(at("faces.second_area") < at("quality.blur") && at("quality.blur") < at("response.shape"), "{keys:?}");
        assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), keys.len());
        let reloaded = settings.entries.iter().filter(|entry| entry.reload == Reload::Setting);
        assert_eq!(reloaded.map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["log.level"]);
    }
}
