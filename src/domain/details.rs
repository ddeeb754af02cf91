//! Details of a person: what an application notes about a template beside the face.
//!
//! All of it is optional and personal. It is sealed at rest, erased with its template, and in no log, metric or error
//! text: `Debug` shows which details there are, never their content, and an error names the field, never its value.

use std::fmt;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::{parse_rfc3339, rfc3339};

/// The most characters of a name.
pub const MAX_NAME_CHARS: usize = 200;
/// The most characters of an external id.
pub const MAX_EXTERNAL_ID_CHARS: usize = 128;
/// The most groups of a person.
pub const MAX_GROUPS: usize = 32;
/// The most characters of a group.
pub const MAX_GROUP_CHARS: usize = 64;
/// The most bytes of metadata, written as JSON without white space.
pub const MAX_METADATA_BYTES: usize = 4096;
/// How deep objects and lists of metadata may be nested. The metadata itself has depth 1.
pub const MAX_METADATA_DEPTH: usize = 4;
/// The most characters of a reference to a consent.
pub const MAX_CONSENT_CHARS: usize = 200;

/// A detail, by its name on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `name`
    Name,
    /// `externalId`
    ExternalId,
    /// `groups`
    Groups,
    /// `metadata`
    Metadata,
    /// `consentReference`
    ConsentReference,
    /// `expiresAt`
    ExpiresAt,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Name, Self::ExternalId, Self::Groups, Self::Metadata, Self::ConsentReference, Self::ExpiresAt];

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::ExternalId => "externalId",
            Self::Groups => "groups",
            Self::Metadata => "metadata",
            Self::ConsentReference => "consentReference",
            Self::ExpiresAt => "expiresAt",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a detail is refused. The text begins with the name of the field and does not contain the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} {fault}")]
pub struct DetailError {
    /// Which detail.
    pub field: Field,
    /// What is wrong with it.
    pub fault: DetailFault,
}

/// What is wrong with a detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DetailFault {
    /// It is not text.
    #[error("must be text")]
    NotText,
    /// Nothing but white space.
    #[error("must not be empty")]
    Empty,
    /// More than the allowed number of characters.
    #[error("must have at most {0} characters")]
    TooLong(usize),
    /// A control character (U+0000 to U+001F, U+007F to U+009F).
    #[error("must not contain control characters")]
    Control,
    /// Not a list of texts.
    #[error("must be a list of texts")]
    NotTexts,
    /// Too many groups.
    #[error("must have at most {MAX_GROUPS} entries")]
    TooMany,
    /// Not a JSON object.
    #[error("must be a JSON object")]
    NotObject,
    /// Too many bytes.
    #[error("must have at most {MAX_METADATA_BYTES} bytes as JSON")]
    TooLarge,
    /// Nested too deep.
    #[error("must be nested at most {MAX_METADATA_DEPTH} deep")]
    TooDeep,
    /// A time in the past.
    #[error("must be in the future")]
    Past,
    /// Not a point in time.
    #[error("must be a time in UTC such as 2027-01-31T00:00:00Z")]
    NotTime,
}

/// The details of a template. The default has none.
#[derive(Clone, PartialEq, Default)]
pub struct Details {
    /// The name of the person (1 to 200 characters).
    pub name: Option<String>,
    /// The id of the person in another system (1 to 128 characters), unique in the application.
    pub external_id: Option<String>,
    /// The groups that the person belongs to, sorted, each once.
    pub groups: Vec<String>,
    /// A JSON object of the application.
    pub metadata: Option<Map<String, Value>>,
    /// Where the consent of the person is documented (1 to 200 characters).
    pub consent_reference: Option<String>,
    /// From when the template is to be erased (whole milliseconds).
    pub expires_at: Option<SystemTime>,
}

impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let present = Field::ALL.into_iter().filter(|field| self.has(*field)).map(Field::as_str);
        write!(f, "Details({})", present.collect::<Vec<_>>().join(", "))
    }
}

/// A text of 1 to so many characters.
fn text(field: Field, text: &str, max_chars: usize) -> Result<String, DetailError> {
    let error = |fault| DetailError { field, fault };
    let text = text.trim();
    if text.is_empty() {
        return Err(error(DetailFault::Empty));
    }
    if text.chars().count() > max_chars {
        return Err(error(DetailFault::TooLong(max_chars)));
    }
    if text.chars().any(char::is_control) {
        return Err(error(DetailFault::Control));
    }
    Ok(text.to_owned())
}

fn depth_within(value: &Value, left: usize) -> bool {
    match value {
        Value::Object(map) => left > 0 && map.values().all(|value| depth_within(value, left - 1)),
        Value::Array(list) => left > 0 && list.iter().all(|value| depth_within(value, left - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn metadata(map: Map<String, Value>) -> Result<Map<String, Value>, DetailError> {
    let error = |fault| DetailError { field: Field::Metadata, fault };
    let value = Value::Object(map);
    if !depth_within(&value, MAX_METADATA_DEPTH) {
        return Err(error(DetailFault::TooDeep));
    }
    if value.to_string().len() > MAX_METADATA_BYTES {
        return Err(error(DetailFault::TooLarge));
    }
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(error(DetailFault::NotObject)),
    }
}

fn groups(list: impl Iterator<Item = Result<String, DetailError>>) -> Result<Vec<String>, DetailError> {
    let mut groups = Vec::new();
    for group in list {
        groups.push(text(Field::Groups, &group?, MAX_GROUP_CHARS)?);
    }
    groups.sort();
    groups.dedup();
    if groups.len() > MAX_GROUPS {
        return Err(DetailError { field: Field::Groups, fault: DetailFault::TooMany });
    }
    Ok(groups)
}

impl Details {
    /// No details.
    pub const NONE: &'static Self = &Self {
        name: None,
        external_id: None,
        groups: Vec::new(),
        metadata: None,
        consent_reference: None,
        expires_at: None,
    };

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        !Field::ALL.into_iter().any(|field| self.has(field))
    }

    /// Whether a detail is there.
    pub fn has(&self, field: Field) -> bool {
        match field {
            Field::Name => self.name.is_some(),
            Field::ExternalId => self.external_id.is_some(),
            Field::Groups => !self.groups.is_empty(),
            Field::Metadata => self.metadata.is_some(),
            Field::ConsentReference => self.consent_reference.is_some(),
            Field::ExpiresAt => self.expires_at.is_some(),
        }
    }

    /// Sets a detail from a text, as in a form. Empty text is the same as no detail. `groups` is a JSON list of texts,
    /// or one group, which is added; `metadata` is a JSON object.
    ///
    /// # Errors
    /// [`DetailError`].
    pub fn set_text(&mut self, field: Field, value: &str) -> Result<(), DetailError> {
        let value = value.trim();
        if value.is_empty() {
            return Ok(());
        }
        let json = match field {
            Field::Metadata => {
                serde_json::from_str(value).map_err(|_| DetailError { field, fault: DetailFault::NotObject })?
            }
            Field::Groups if value.starts_with('[') => {
                serde_json::from_str(value).map_err(|_| DetailError { field, fault: DetailFault::NotTexts })?
            }
            Field::Groups => {
                let all = self.groups.iter().cloned().chain([value.to_owned()]);
                self.groups = groups(all.map(Ok))?;
                return Ok(());
            }
            _ => Value::String(value.to_owned()),
        };
        self.set(field, &json)
    }

    /// Changes a detail as a JSON merge patch does (RFC 7396): null removes it; an object is merged into the metadata;
    /// anything else replaces it.
    ///
    /// # Errors
    /// [`DetailError`]. The details are unchanged then.
    pub fn set(&mut self, field: Field, value: &Value) -> Result<(), DetailError> {
        let error = |fault| DetailError { field, fault };
        if value.is_null() {
            match field {
                Field::Name => self.name = None,
                Field::ExternalId => self.external_id = None,
                Field::Groups => self.groups = Vec::new(),
                Field::Metadata => self.metadata = None,
                Field::ConsentReference => self.consent_reference = None,
                Field::ExpiresAt => self.expires_at = None,
            }
            return Ok(());
        }
        let as_text = || value.as_str().ok_or(error(DetailFault::NotText));
        match field {
            Field::Name => self.name = Some(text(field, as_text()?, MAX_NAME_CHARS)?),
            Field::ExternalId => self.external_id = Some(text(field, as_text()?, MAX_EXTERNAL_ID_CHARS)?),
            Field::ConsentReference => self.consent_reference = Some(text(field, as_text()?, MAX_CONSENT_CHARS)?),
            Field::Groups => {
                let list = value.as_array().ok_or(error(DetailFault::NotTexts))?;
                let text = |one: &Value| one.as_str().map(str::to_owned).ok_or(error(DetailFault::NotTexts));
                self.groups = groups(list.iter().map(text))?;
            }
            Field::Metadata => {
                let patch = value.as_object().ok_or(error(DetailFault::NotObject))?;
                // Before the merge, so that its depth is bounded.
                if !depth_within(value, MAX_METADATA_DEPTH) {
                    return Err(error(DetailFault::TooDeep));
                }
                let mut merged = self.metadata.clone().unwrap_or_default();
                merge(&mut merged, patch);
                self.metadata = Some(metadata(merged)?).filter(|map| !map.is_empty());
            }
            Field::ExpiresAt => {
                let time = parse_rfc3339(as_text()?.trim()).ok_or(error(DetailFault::NotTime))?;
                self.expires_at = Some(time);
            }
        }
        Ok(())
    }

    /// The sealed part as JSON: everything but the expiry, which the database compares with its clock.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        let mut put = |field: Field, value: Option<Value>| {
            if let Some(value) = value {
                map.insert(field.as_str().to_owned(), value);
            }
        };
        put(Field::Name, self.name.clone().map(Value::String));
        put(Field::ExternalId, self.external_id.clone().map(Value::String));
        let groups = self.groups.iter().cloned().map(Value::String).collect::<Vec<_>>();
        put(Field::Groups, Some(groups).filter(|groups| !groups.is_empty()).map(Value::Array));
        put(Field::Metadata, self.metadata.clone().map(Value::Object));
        put(Field::ConsentReference, self.consent_reference.clone().map(Value::String));
        Value::Object(map)
    }

    /// All details as JSON.
    pub fn to_full_json(&self) -> Value {
        let mut json = self.to_json();
        if let (Value::Object(map), Some(at)) = (&mut json, self.expires_at) {
            map.insert(Field::ExpiresAt.as_str().to_owned(), Value::String(rfc3339(at)));
        }
        json
    }

    /// Reads details from a JSON object. Other members are ignored.
    ///
    /// # Errors
    /// [`DetailError`].
    pub fn from_json(map: &Map<String, Value>) -> Result<Self, DetailError> {
        let mut details = Self::default();
        for field in Field::ALL {
            if let Some(value) = map.get(field.as_str()) {
                details.set(field, value)?;
            }
        }
        Ok(details)
    }
}

/// Merges as RFC 7396 does.
fn merge(into: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => drop(into.remove(key)),
            Value::Object(patch) => {
                let place = into.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                if let Value::Object(inner) = place {
                    merge(inner, patch);
                }
            }
            other => drop(into.insert(key.clone(), other.clone())),
        }
    }
}

/// A change of details: a JSON merge patch whose members are known fields.
#[derive(Clone, PartialEq, Default)]
pub struct DetailsPatch(Vec<(Field, Value)>);

impl fmt::Debug for DetailsPatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DetailsPatch({})", self.fields().map(Field::as_str).collect::<Vec<_>>().join(", "))
    }
}

impl DetailsPatch {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the change of a field.
    ///
    /// # Errors
    /// [`DetailError`] when no details could have this value.
    pub fn set(&mut self, field: Field, value: Value) -> Result<(), DetailError> {
        Details::default().set(field, &value)?;
        self.0.push((field, value));
        Ok(())
    }

    /// The fields that it changes.
    pub fn fields(&self) -> impl Iterator<Item = Field> + '_ {
        self.0.iter().map(|(field, _)| *field)
    }

    /// The details after the change.
    ///
    /// # Errors
    /// [`DetailError`]: merged metadata may be too large.
    pub fn apply(&self, details: &Details) -> Result<Details, DetailError> {
        let mut changed = details.clone();
        for (field, value) in &self.0 {
            changed.set(*field, value)?;
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(field: Field, value: Value) -> Result<Details, String> {
        let mut details = Details::default();
        details.set(field, &value).map(|()| details).map_err(|error| error.to_string())
    }

    #[test]
    fn each_detail_has_its_bounds() {
        let long = |count: usize| Value::String("é".repeat(count));
        for (field, max) in [(Field::Name, 200), (Field::ExternalId, 128), (Field::ConsentReference, 200)] {
            assert!(set(field, long(max)).is_ok());
            assert_eq!(set(field, long(max + 1)), Err(format!("{field} must have at most {max} characters")));
            assert_eq!(set(field, json!(" \t")), Err(format!("{field} must not be empty")));
            assert_eq!(set(field, json!("a\u{0}")), Err(format!("{field} must not contain control characters")));
            assert_eq!(set(field, json!(7)), Err(format!("{field} must be text")));
        }
        let many = |count: usize| json!((0..count).map(|n| format!("g{n:02}")).collect::<Vec<_>>());
        assert_eq!(set(Field::Groups, many(32)).unwrap().groups.len(), 32);
        assert_eq!(set(Field::Groups, many(33)), Err("groups must have at most 32 entries".to_owned()));
        assert_eq!(set(Field::Groups, json!([1])), Err("groups must be a list of texts".to_owned()));
        assert_eq!(set(Field::Groups, json!(["b", " a ", "b"])).unwrap().groups, ["a", "b"]);
        assert_eq!(set(Field::ExpiresAt, json!("soon")).unwrap_err(), format!("expiresAt {}", DetailFault::NotTime));
    }

    #[test]
    fn metadata_is_an_object_of_bounded_size_and_depth() {
        assert!(set(Field::Metadata, json!({"a": {"b": {"c": {"d": 1}}}})).is_ok());
        let deep = set(Field::Metadata, json!({"a": {"b": {"c": [[1]]}}}));
        assert_eq!(deep, Err("metadata must be nested at most 4 deep".to_owned()));
        assert_eq!(set(Field::Metadata, json!([])), Err("metadata must be a JSON object".to_owned()));
        // {"a":"..."} has eight bytes beside the text.
        assert!(set(Field::Metadata, json!({"a": "x".repeat(MAX_METADATA_BYTES - 8)})).is_ok());
        let large = set(Field::Metadata, json!({"a": "x".repeat(MAX_METADATA_BYTES - 7)}));
        assert_eq!(large, Err("metadata must have at most 4096 bytes as JSON".to_owned()));
    }

    #[test]
    fn a_patch_merges_metadata_and_replaces_the_rest() {
        let mut details = Details::default();
        details.set_text(Field::Name, " Ada ").unwrap();
        details.set_text(Field::Groups, "staff").unwrap();
        details.set_text(Field::Groups, "night").unwrap();
        details.set_text(Field::Metadata, r#"{"badge":{"no":7,"color":"red"},"floor":2}"#).unwrap();
        details.set_text(Field::ExternalId, "").unwrap();
        let mut patch = DetailsPatch::default();
        patch.set(Field::Name, Value::Null).unwrap();
        patch.set(Field::Groups, json!(["day"])).unwrap();
        patch.set(Field::Metadata, json!({"badge": {"color": null, "no": 8}, "floor": null})).unwrap();
        let changed = patch.apply(&details).unwrap();
        assert_eq!(changed.to_full_json(), json!({"groups": ["day"], "metadata": {"badge": {"no": 8}}}));
        patch.set(Field::Metadata, json!({"badge": null})).unwrap();
        assert_eq!(patch.apply(&details).unwrap().to_json(), json!({"groups": ["day"]}));
        assert!(patch.set(Field::Name, json!(1)).is_err());
    }

    #[test]
    fn details_come_back_from_their_json_and_debug_shows_no_content() {
        let json = json!({
            "name": "Ada Example", "externalId": "HR-1", "groups": ["a", "b"], "metadata": {"k": [1, null]},
            "consentReference": "file 7", "expiresAt": "2027-01-31T00:00:00.000Z", "other": 1,
        });
        let details = Details::from_json(json.as_object().unwrap()).unwrap();
        let mut known = json.clone();
        known.as_object_mut().unwrap().remove("other");
        assert_eq!(details.to_full_json(), known);
        assert_eq!(format!("{details:?}"), "Details(name, externalId, groups, metadata, consentReference, expiresAt)");
        assert!(Details::default().is_empty() && !details.is_empty());
    }
}
