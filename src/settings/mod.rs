//! One typed configuration, validated once: defaults < file < environment < command line.
//!
//! `default.toml` has the defaults and is the reference. An unknown key in a file or a variable is an error, so a
//! misspelt one is not silently ignored.

mod address;
mod environment;
mod origin;
mod renamed;
mod sections;
mod user;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use address::AdminListen;
use environment::{is_of_kubernetes, meant};
use origin::{KeyLines, Origins};
pub use origin::{Origin, Reload, SettingEntry};
use renamed::{GivenNames, new_variable, old_variables};
pub use sections::{
    ClientFrom, Compute, Database, Limits, Log, LogFormat, Matching, PhotoSection, PolicySection, Response, Secret,
    Server, Settings, ShapeKind, SimilarityKind, Tls,
};
use toml::{Table, Value};
pub use user::UserFolders;

use crate::domain::{Check, Measure};

/// Why there is no valid configuration.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The configuration file cannot be read.
    #[error("the configuration file {path} cannot be read: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration is not TOML of the right shape.
    #[error("{origin}: {message}")]
    Shape {
        /// Which source is at fault.
        origin: String,
        /// What is wrong.
        message: String,
    },
    /// A variable that is not a setting.
    #[error("{name} is not a setting; did you mean {meant}?")]
    UnknownVariable {
        /// The variable.
        name: String,
        /// The setting's variable that it resembles.
        meant: String,
    },
    /// A key of the command line that is not a setting.
    #[error("{0} is not a setting; docs/configuration.md has them all")]
    UnknownKey(String),
    /// One source gives a setting under its old and its new name.
    #[error("{old} is the old name of {new}; remove {old}")]
    BothNames {
        /// The old name.
        old: String,
        /// The new name.
        new: String,
    },
    /// A value that cannot be used.
    #[error("{key}{value}: {message}")]
    Value {
        /// The setting, or its variable.
        key: String,
        /// The value with an equals sign; empty for a secret.
        value: String,
        /// The form that the value must have.
        message: String,
    },
}

impl SettingsError {
    /// An error of a setting with its value, which is not shown where it may be a secret.
    pub fn value(key: &str, value: Option<&Value>, message: impl Into<String>) -> Self {
        let value =
            value.filter(|_| !is_secret(key)).and_then(shown).map_or_else(String::new, |text| format!(" = {text}"));
        Self::Value { key: key.to_owned(), value, message: message.into() }
    }
}

/// Settings whose values are never shown, as keys and as variables.
fn is_secret(key: &str) -> bool {
    ["key", "database.url", "SEMBLANCE_KEY", "SEMBLANCE_DATABASE_URL"]
        .iter()
        .any(|secret| secret.eq_ignore_ascii_case(key))
}

/// The most characters of a value in an error.
const MAX_SHOWN: usize = 100;

/// A value as an error shows it; `None` where it may hold a password (a URL in the wrong place) or is a table.
fn shown(value: &Value) -> Option<String> {
    let text = match value {
        Value::Table(_) => return None,
        Value::String(text) => format!("{text:?}"),
        value => value.to_string(),
    };
    (!text.contains("://") && text.chars().count() <= MAX_SHOWN).then_some(text)
}

const DEFAULTS: &str = include_str!("default.toml");
const PREFIX: &str = "SEMBLANCE_";

/// Variables with the prefix that are not settings: the path of the configuration file, and those of the tests.
const NOT_SETTINGS: [&str; 2] = ["SEMBLANCE_CONFIG", "SEMBLANCE_TEST_POSTGRES_URL"];

/// Settings from the command line. Absent values leave the setting unchanged.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// Setting (`listen`, `tls.cert`, ...) and value.
    pub values: Vec<(&'static str, String)>,
}

impl Settings {
    /// Loads the configuration of this process.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn load(overrides: &Overrides) -> Result<Self, SettingsError> {
        Self::load_from(overrides, std::env::vars_os())
    }

    /// Loads a configuration with the given environment.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn load_from(
        overrides: &Overrides,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingsError> {
        let mut table = defaults()?;
        let mut warnings = Vec::new();
        let mut origins = Origins::default();
        let variables: Vec<(String, String)> = environment
            .into_iter()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v)))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .map(|(name, value)| match value.into_string() {
                Ok(value) => Ok((name, value)),
                Err(_) => Err(SettingsError::value(&name, None, "must be UTF-8")),
            })
            .collect::<Result<_, _>>()?;

        let from_env = variables.iter().find(|(name, _)| name == "SEMBLANCE_CONFIG").map(|(_, v)| PathBuf::from(v));
        if let Some(path) = overrides.config.clone().or(from_env) {
            merge_file(&mut table, &path, &mut warnings, &mut origins)?;
        }
        let mut unknown = Vec::new();
        let mut names = GivenNames::of_environment(&mut warnings);
        for (name, value) in variables.iter().filter(|(name, _)| !NOT_SETTINGS.contains(&name.as_str())) {
            let current = new_variable(name).unwrap_or_else(|| name.clone());
            match slot_of_variable(&mut table, &current) {
                Some((key, slot)) => {
                    names.current(name)?;
                    *slot = typed(slot, name, value)?;
                    origins.set(&key, Origin::Environment { variable: name.clone() });
                }
                None if is_of_kubernetes(name, value) => {}
                None => match meant(&name.to_ascii_uppercase(), variables_of(&table)) {
                    Some(meant) => return Err(SettingsError::UnknownVariable { name: name.clone(), meant }),
                    None => unknown.push(format!("the variable {name} is not a setting and has no effect")),
                },
            }
        }
        warnings.append(&mut unknown);
        for (key, value) in &overrides.values {
            let slot = slot_of_key(&mut table, key).ok_or_else(|| SettingsError::UnknownKey((*key).to_owned()))?;
            *slot = typed(slot, key, value)?;
            origins.set(key, Origin::Flag);
        }
        let mut settings = read(&mut table)?;
        settings.warnings = warnings;
        let mut settings = settings.validated().map_err(|error| match error {
            SettingsError::Value { key, message, .. } => {
                SettingsError::value(&key, slot_of_key(&mut table, &key).as_deref(), message)
            }
            error => error,
        })?;
        settings.entries = origins.entries(&table, &chosen(&settings));
        Ok(settings)
    }
}

/// The numbers that are chosen at start where a setting is 0.
fn chosen(settings: &Settings) -> [(&'static str, usize); 5] {
    [
        ("compute.inference_threads", settings.compute.inference_threads),
        ("compute.search_threads", settings.compute.search_threads),
        ("limits.upload_bytes", settings.limits.upload_bytes),
        ("limits.max_in_flight", settings.limits.max_in_flight),
        ("limits.store", settings.limits.store),
    ]
}

/// The typed form of a table.
fn read(table: &mut Table) -> Result<Settings, SettingsError> {
    Value::Table(table.clone()).try_into().map_err(|error: toml::de::Error| {
        // The error's text ends with the key: in `section.key`
        let text = error.to_string();
        let key = text.trim_end().rsplit_once("in `").and_then(|(_, key)| key.strip_suffix('`'));
        match key {
            Some(key) => SettingsError::value(key, slot_of_key(table, key).as_deref(), form(error.message())),
            None => {
                SettingsError::Shape { origin: "the configuration".to_owned(), message: error.message().to_owned() }
            }
        }
    })
}

/// What a value must be, from the text of a deserializer.
fn form(text: &str) -> String {
    // unknown variant `magic`, expected `calibrated` or `cosine`
    match text.split_once(", expected ") {
        Some((_, forms)) => format!("must be {}", forms.replace('`', "\"")),
        None => text.to_owned(),
    }
}

/// The variables of all settings, with those of their old names, and the variables that are not settings.
fn variables_of(table: &Table) -> impl Iterator<Item = String> {
    let keys = table.iter().flat_map(|(name, value)| match value {
        Value::Table(section) => section.keys().map(|key| format!("{name}_{key}")).collect::<Vec<_>>(),
        _ => vec![name.clone()],
    });
    let variables = keys.map(|key| format!("{PREFIX}{}", key.to_ascii_uppercase()));
    variables.chain(NOT_SETTINGS.map(str::to_owned)).chain(old_variables())
}

/// `default.toml`, with a key in `[quality]` for each measure and check.
fn defaults() -> Result<Table, SettingsError> {
    let mut table = parse(DEFAULTS, "the defaults")?;
    if let Some(Value::Table(quality)) = table.get_mut("quality") {
        let names = Measure::ALL.map(Measure::name).into_iter().chain(Check::ALL.map(Check::name));
        quality.extend(names.map(|name| (name.to_owned(), Value::from(""))));
    }
    Ok(table)
}

/// An error names the line, never its content, which may be a secret.
fn parse(text: &str, origin: &str) -> Result<Table, SettingsError> {
    text.parse().map_err(|e: toml::de::Error| {
        let line = e.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
        let place = line.map_or_else(String::new, |line| format!(", line {line}"));
        SettingsError::Shape { origin: format!("{origin}{place}"), message: e.message().to_owned() }
    })
}

fn merge_file(
    table: &mut Table,
    path: &Path,
    warnings: &mut Vec<String>,
    origins: &mut Origins,
) -> Result<(), SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::File { path: path.to_owned(), source })?;
    let origin = path.display().to_string();
    let wrong = |message: String| SettingsError::Shape { origin: origin.clone(), message };
    let mut names = GivenNames::of_file(warnings);
    let lines = KeyLines::new(&text);
    let mut set = |table: &mut Table, name: &str, value: Value| {
        let current = names.current(name)?;
        let slot = slot_of_key(table, &current).ok_or_else(|| wrong(format!("{name} is not a setting")))?;
        let unfit = SettingsError::value(name, Some(&value), format!("must be {}", kind(slot)));
        *slot = fitting(slot, value).ok_or_else(|| wrong(unfit.to_string()))?;
        origins.set(&current, lines.origin(path, name));
        Ok::<_, SettingsError>(())
    };
    for (name, value) in parse(&text, &origin)? {
        match value {
            Value::Table(section) if is_section(table, &name) => {
                for (key, value) in section {
                    set(table, &format!("{name}.{key}"), value)?;
                }
            }
            value => set(table, &name, value)?,
        }
    }
    Ok(())
}

fn is_section(table: &Table, name: &str) -> bool {
    let current = renamed::new_key(name);
    matches!(table.get(current.as_deref().unwrap_or(name)), Some(Value::Table(_)))
}

/// A value of the type of the setting; a whole number is also a number.
fn fitting(slot: &Value, value: Value) -> Option<Value> {
    match (slot, value) {
        (Value::Float(_), Value::Integer(whole)) => Some(Value::Float(whole as f64)),
        (slot, value) => slot.same_type(&value).then_some(value),
    }
}

/// A type, as an error names it.
fn kind(slot: &Value) -> &'static str {
    match slot {
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
        Value::String(_) | Value::Datetime(_) => "a text",
    }
}

/// `SEMBLANCE_LIMITS_BODY_BYTES` is the slot of `limits.body_bytes`. Returns the key and its slot.
fn slot_of_variable<'a>(table: &'a mut Table, name: &str) -> Option<(String, &'a mut Value)> {
    let name = name.strip_prefix(PREFIX)?.to_ascii_lowercase();
    table.iter_mut().find_map(|(key, value)| match value {
        Value::Table(section) => {
            let inner = name.strip_prefix(key.as_str())?.strip_prefix('_')?;
            section.get_mut(inner).map(|slot| (format!("{key}.{inner}"), slot))
        }
        value => (*key == name).then_some((name.clone(), value)),
    })
}

fn slot_of_key<'a>(table: &'a mut Table, key: &str) -> Option<&'a mut Value> {
    match key.split_once('.') {
        Some((section, inner)) => table.get_mut(section)?.as_table_mut()?.get_mut(inner),
        None => table.get_mut(key),
    }
}

/// Reads a text as the type that the setting has.
fn typed(slot: &Value, key: &str, text: &str) -> Result<Value, SettingsError> {
    let bad = || SettingsError::value(key, Some(&Value::from(text)), format!("must be {}", kind(slot)));
    let text = text.trim();
    Ok(match slot {
        Value::Integer(_) => Value::Integer(text.parse().map_err(|_| bad())?),
        Value::Float(_) => Value::Float(text.parse().map_err(|_| bad())?),
        Value::Boolean(_) => Value::Boolean(match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => return Err(bad()),
        }),
        Value::Array(_) => {
            Value::Array(text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(Value::from).collect())
        }
        Value::String(_) | Value::Datetime(_) | Value::Table(_) => Value::from(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(env: &[(&str, &str)], values: &[(&'static str, &str)]) -> Result<Settings, SettingsError> {
        let overrides = Overrides { config: None, values: values.iter().map(|(k, v)| (*k, (*v).to_owned())).collect() };
        Settings::load_from(&overrides, env.iter().map(|(k, v)| (OsString::from(k), OsString::from(v))))
    }

    #[test]
    fn the_defaults_are_valid() {
        let settings = load(&[], &[]).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.admin.listen, AdminListen::Default);
        assert_eq!(settings.matching.threshold, 0.75);
    }

    #[test]
    fn the_environment_overrides_and_the_command_line_overrides_that() {
        let settings = load(
            &[("SEMBLANCE_LISTEN", "0.0.0.0:1"), ("SEMBLANCE_LIMITS_BODY_BYTES", "2000"), ("OTHER", "x")],
            &[("listen", "127.0.0.1:2")],
        )
        .unwrap();
        assert_eq!(settings.listen.port(), 2);
        assert_eq!(settings.limits.body_bytes, 2000);
    }

    #[test]
    fn lists_and_booleans_are_read_from_variables() {
        let settings = load(
            &[("SEMBLANCE_SERVER_CORS_ORIGINS", "https://a, https://b"), ("SEMBLANCE_POLICY_ATTRIBUTES", "off")],
            &[],
        )
        .unwrap();
        assert_eq!(settings.server.cors_origins, ["https://a", "https://b"]);
        assert!(!settings.policy.attributes);
    }

    #[test]
    fn a_misspelt_variable_is_an_error() {
        let error = load(&[("SEMBLANCE_LISTN", "x")], &[]).unwrap_err();
        assert_eq!(error.to_string(), "SEMBLANCE_LISTN is not a setting; did you mean SEMBLANCE_LISTEN?");
        let error = load(&[("SEMBLANCE_MATCHING_FLOOOR", "0.8")], &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "SEMBLANCE_MATCHING_FLOOOR is not a setting; did you mean SEMBLANCE_MATCHING_FLOOR?"
        );
    }

    #[test]
    fn other_variables_do_not_stop_the_start() {
        let kubernetes = [
            ("SEMBLANCE_SERVICE_HOST", "10.96.0.12"),
            ("SEMBLANCE_SERVICE_PORT", "8080"),
            ("SEMBLANCE_PORT", "tcp://10.96.0.12:8080"),
            ("SEMBLANCE_PORT_8080_TCP_PROTO", "tcp"),
        ];
        assert!(load(&kubernetes, &[]).unwrap().warnings.is_empty());
        let settings = load(&[("SEMBLANCE_DEPLOYED_BY", "a pipeline")], &[]).unwrap();
        assert_eq!(settings.warnings, ["the variable SEMBLANCE_DEPLOYED_BY is not a setting and has no effect"]);
    }

    #[test]
    fn a_wrong_value_names_its_setting() {
        for (name, value) in [
            ("SEMBLANCE_LISTEN", "nowhere"),
            ("SEMBLANCE_LIMITS_BODY_BYTES", "many"),
            ("SEMBLANCE_MATCHING_THRESHOLD", "1.5"),
            ("SEMBLANCE_SERVER_BODY_TIMEOUT_S", "0"),
            ("SEMBLANCE_SERVER_CONNECTIONS", "0"),
            ("SEMBLANCE_SERVER_PEER_SHARE", "0"),
            ("SEMBLANCE_SERVER_TRUSTED_PROXIES", "10.0.0.0/33"),
            ("SEMBLANCE_SERVER_CLIENT_FROM", "proxy-protocol"),
            ("SEMBLANCE_LIMITS_UNAUTHENTICATED_PER_S", "-1"),
            ("SEMBLANCE_MATCHING_SIMILARITY", "magic"),
            ("SEMBLANCE_RESPONSE_SHAPE", "round"),
        ] {
            assert!(load(&[(name, value)], &[]).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn an_error_names_key_value_and_form() {
        for (key, value, text) in [
            ("listen", "nowhere", "listen = \"nowhere\": must be an address with a port such as 127.0.0.1:8080"),
            ("admin.listen", "9090x", "admin.listen = \"9090x\": must be an address with a port such as"),
            ("admin.hosts", "https://faces.example", "admin.hosts: must be host names without scheme"),
            ("limits.body_bytes", "many", "limits.body_bytes = \"many\": must be a whole number"),
            ("limits.body_bytes", "7", "limits.body_bytes = 7: must be at least 1024 bytes"),
            ("limits.app_burst", "-1", "limits.app_burst = -1: "),
            ("limits.app_burst", "0", "limits.app_burst = 0: must be at least 1"),
            ("matching.threshold", "1.5", "matching.threshold = 1.5: must be from 0 to 1"),
            ("matching.similarity", "magic", "matching.similarity = \"magic\": must be \"calibrated\" or \"cosine\""),
            ("response.shape", "round", "response.shape = \"round\": must be one of \"seed\", \"modern\", \"both\""),
            ("photo.formats", "heic", "photo.formats = [\"heic\"]: "),
            ("policy.attributes", "maybe", "policy.attributes = \"maybe\": must be true or false"),
            ("database.poll_ms", "0", "database.poll_ms = 0: must be at least 1"),
            ("tls.cert", "cert.pem", "tls.key = \"\": must name the file with the key of tls.cert"),
        ] {
            let error = load(&[], &[(key, value)]).unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
        // A secret, or what may be one, is not shown.
        for (name, value) in
            [("SEMBLANCE_LIMITS_STORE", "postgres://u:hunter2@h/d"), ("SEMBLANCE_LISTEN", "https://u:hunter2@h")]
        {
            let error = load(&[(name, value)], &[]).unwrap_err().to_string();
            assert!(!error.contains("hunter2") && error.contains("must be"), "{error}");
        }
    }

    #[test]
    fn addresses_on_this_machine_may_be_short() {
        for (text, address) in [("localhost:8081", "127.0.0.1:8081"), ("8082", "127.0.0.1:8082")] {
            let settings = load(&[("SEMBLANCE_ADMIN_LISTEN", text)], &[("listen", text)]).unwrap();
            assert_eq!(
                (settings.listen.to_string(), settings.admin.listen),
                (address.to_owned(), AdminListen::At(settings.listen))
            );
        }
        for (text, listen) in [("", AdminListen::Default), ("api", AdminListen::Api), ("off", AdminListen::Off)] {
            assert_eq!(load(&[("SEMBLANCE_ADMIN_LISTEN", text)], &[]).unwrap().admin.listen, listen, "{text}");
        }
    }

    #[test]
    fn a_file_overrides_the_defaults_and_its_unknown_keys_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, "data = \"/d\"\n[matching]\nthreshold = 0.9\n").unwrap();
        let overrides = Overrides { config: Some(path.clone()), values: vec![] };
        let settings = Settings::load_from(&overrides, []).unwrap();
        assert_eq!((settings.data.to_str().unwrap(), settings.matching.threshold), ("/d", 0.9));
        std::fs::write(&path, "[matching]\ntreshold = 0.9\n").unwrap();
        assert!(Settings::load_from(&overrides, []).unwrap_err().to_string().contains("matching.treshold"));
    }

    #[test]
    fn an_old_name_still_works_and_warns() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, "[matching]\nfloor = 0.9\n[limits]\ninside = 7\n[fine]\nblur = \"0.4\"\n").unwrap();
        let overrides = Overrides { config: Some(path), values: vec![] };
        let settings = Settings::load_from(&overrides, []).unwrap();
        assert_eq!((settings.matching.threshold, settings.limits.max_in_flight), (0.9, 7));
        assert_eq!(settings.quality["blur"], "0.4");
        assert_eq!(
            settings.warnings,
            [
                "the setting fine.blur has a new name: use quality.blur",
                "the setting limits.inside has a new name: use limits.max_in_flight",
                "the setting matching.floor has a new name: use matching.threshold",
            ]
        );

        let old = [
            ("SEMBLANCE_MATCHING_FLOOR", "0.8"),
            ("SEMBLANCE_LIMITS_INSIDE", "9"),
            ("SEMBLANCE_FINE_RIGHT_EYE_CLOSED", "0.3"),
        ];
        let settings = load(&old, &[]).unwrap();
        assert_eq!((settings.matching.threshold, settings.limits.max_in_flight), (0.8, 9));
        assert_eq!(settings.quality["right_eye_closed"], "0.3");
        assert_eq!(
            settings.warnings,
            [
                "the setting SEMBLANCE_MATCHING_FLOOR has a new name: use SEMBLANCE_MATCHING_THRESHOLD",
                "the setting SEMBLANCE_LIMITS_INSIDE has a new name: use SEMBLANCE_LIMITS_MAX_IN_FLIGHT",
                "the setting SEMBLANCE_FINE_RIGHT_EYE_CLOSED has a new name: use SEMBLANCE_QUALITY_RIGHT_EYE_CLOSED",
            ]
        );
        assert!(load(&[], &[]).unwrap().warnings.is_empty());
    }

    #[test]
    fn a_variable_overrides_an_old_name_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, "[matching]\nfloor = 0.9\n").unwrap();
        let overrides = Overrides { config: Some(path), values: vec![] };
        let new = [(OsString::from("SEMBLANCE_MATCHING_THRESHOLD"), OsString::from("0.8"))];
        let settings = Settings::load_from(&overrides, new).unwrap();
        assert_eq!((settings.matching.threshold, settings.warnings.len()), (0.8, 1));
    }

    #[test]
    fn both_names_at_once_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        for (text, message) in [
            ("[matching]\nfloor = 0.9\nthreshold = 0.9\n", "matching.floor is the old name of matching.threshold"),
            ("[limits]\nmax_in_flight = 7\ninside = 7\n", "limits.inside is the old name of limits.max_in_flight"),
            ("[fine]\nblur = \"0.4\"\n[quality]\nblur = \"\"\n", "fine.blur is the old name of quality.blur"),
        ] {
            std::fs::write(&path, text).unwrap();
            let overrides = Overrides { config: Some(path.clone()), values: vec![] };
            let error = Settings::load_from(&overrides, []).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        let both = [("SEMBLANCE_LIMITS_INSIDE", "9"), ("SEMBLANCE_LIMITS_MAX_IN_FLIGHT", "9")];
        assert_eq!(
            load(&both, &[]).unwrap_err().to_string(),
            "SEMBLANCE_LIMITS_INSIDE is the old name of SEMBLANCE_LIMITS_MAX_IN_FLIGHT; remove SEMBLANCE_LIMITS_INSIDE"
        );
    }

    #[test]
    fn every_setting_can_be_set_by_its_variable() {
        let mut table = defaults().unwrap();
        let names: Vec<String> = table
            .iter()
            .flat_map(|(key, value)| match value {
                Value::Table(section) => section.keys().map(|k| format!("{key}_{k}")).collect::<Vec<_>>(),
                _ => vec![key.clone()],
            })
            .collect();
        for name in names {
            let variable = format!("{PREFIX}{}", name.to_ascii_uppercase());
            assert!(slot_of_variable(&mut table, &variable).is_some(), "{variable}");
        }
    }

    #[test]
    fn errors_do_not_repeat_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        for (text, message) in [
            ("data = \"/d\"\nkey = \"0123hunter2\nlisten = 3", "line 2"),
            ("data = \"/d\"\n[database]\nurl = postgres://u:hunter2@h/d", "line 3"),
            ("[database]\nurl = [\"postgres://u:hunter2@h/d\"]", "database.url: must be a text"),
            ("database = \"postgres://u:hunter2@h/d\"", "database: must be a section"),
            ("key = \"hunter2\"\nkey = \"hunter2\"", "line 2"),
            ("key = { hunter2 = \"hunter2\" }", "key: must be a text"),
            ("listen = [\"x\"]", "listen = [\"x\"]: must be a text"),
            ("[limits]\nbody_bytes = \"many\"", "limits.body_bytes = \"many\": must be a whole number"),
        ] {
            std::fs::write(&path, text).unwrap();
            let overrides = Overrides { config: Some(path.clone()), values: vec![] };
            let error = Settings::load_from(&overrides, []).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(message) && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let settings =
            load(&[("SEMBLANCE_KEY", "0123sealed"), ("SEMBLANCE_DATABASE_URL", "postgres://u:hunter2@h/d")], &[])
                .unwrap();
        let text = format!("{settings:?}");
        assert!(!text.contains("0123sealed") && !text.contains("hunter2"), "{text}");
    }
}
