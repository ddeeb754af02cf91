//! Settings that have a new name. The old name still works and leaves a warning.

use std::collections::HashMap;

use super::{PREFIX, SettingsError};

/// Old and new names of settings, or of sections.
const RENAMED: [(&str, &str); 3] =
    [("matching.floor", "matching.threshold"), ("limits.inside", "limits.max_in_flight"), ("fine", "quality")];

/// The new name of a key such as `fine.blur`.
pub(super) fn new_key(key: &str) -> Option<String> {
    RENAMED.iter().find_map(|(old, new)| {
        let rest = key.strip_prefix(old)?;
        (rest.is_empty() || rest.starts_with('.')).then(|| format!("{new}{rest}"))
    })
}

/// The new name of a variable such as `SEMBLANCE_FINE_BLUR`.
pub(super) fn new_variable(name: &str) -> Option<String> {
    let name = name.to_ascii_uppercase();
    let variable = |key: &str| format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase());
    RENAMED.iter().find_map(|(old, new)| {
        let rest = name.strip_prefix(&variable(old))?;
        (rest.is_empty() || rest.starts_with('_')).then(|| format!("{}{rest}", variable(new)))
    })
}

/// The variables of old names of settings. Those of a renamed section are not among them.
pub(super) fn old_variables() -> impl Iterator<Item = String> {
    let settings = RENAMED.iter().filter(|(old, _)| old.contains('.'));
    settings.map(|(old, _)| format!("{PREFIX}{}", old.replace('.', "_").to_ascii_uppercase()))
}

/// The names under which one source, a file or the environment, gives settings.
pub(super) struct GivenNames<'a> {
    new_name: fn(&str) -> Option<String>,
    given: HashMap<String, String>,
    warnings: &'a mut Vec<String>,
}

impl<'a> GivenNames<'a> {
    /// Of a file.
    pub(super) fn of_file(warnings: &'a mut Vec<String>) -> Self {
        Self { new_name: new_key, given: HashMap::new(), warnings }
    }

    /// Of the environment.
    pub(super) fn of_environment(warnings: &'a mut Vec<String>) -> Self {
        Self { new_name: new_variable, given: HashMap::new(), warnings }
    }

    /// The current name of a setting, with a warning if it is given under an old one.
    ///
    /// # Errors
    /// When the source gives it under both names.
    pub(super) fn current(&mut self, name: &str) -> Result<String, SettingsError> {
        let new = (self.new_name)(name);
        let current = new.clone().unwrap_or_else(|| name.to_owned());
        if let Some(other) = self.given.insert(current.clone(), name.to_owned()) {
            let old = if new.is_some() { name.to_owned() } else { other };
            return Err(SettingsError::BothNames { old, new: current });
        }
        if new.is_some() {
            self.warnings.push(format!("the setting {name} has a new name: use {current}"));
        }
        Ok(current)
    }
}
