//! A member of a merge patch.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

use crate::api::schema::nullable;

/// A member of a merge patch (RFC 7396). Written as `#[serde(default)]`, so that a member that is not there stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::api) enum Field<T> {
    /// It is not there: the value stays.
    #[default]
    Keep,
    /// `null`: the value is cleared, or returns to the default.
    Clear,
    /// A new value.
    Set(T),
}

impl<T> Field<T> {
    /// The new value, where a null is another one.
    pub(in crate::api) fn or_null(self) -> Option<Option<T>> {
        match self {
            Self::Keep => None,
            Self::Clear => Some(None),
            Self::Set(value) => Some(Some(value)),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Nullable{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        nullable::<T>(generator)
    }
}
