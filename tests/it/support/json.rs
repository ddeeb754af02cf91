//! JSON that keeps the order of its keys and refuses duplicate keys.

use std::fmt::{self, Write};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Parses one JSON text, all of it.
    pub fn parse(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
    }

    /// Follows keys, and indices of lists; `None` if one does not exist.
    pub fn find(&self, path: &str) -> Option<&Json> {
        path.split('.').try_fold(self, |json, key| match json {
            Json::Object(pairs) => pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            Json::List(items) => items.get(key.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// Follows keys that must exist.
    pub fn at(&self, path: &str) -> &Json {
        self.find(path).unwrap_or_else(|| panic!("no {path} in {self}"))
    }

    pub fn text(&self, path: &str) -> &str {
        match self.at(path) {
            Json::Text(text) => text,
            other => panic!("{path} is {other}"),
        }
    }

    pub fn number(&self, path: &str) -> f64 {
        match self.at(path) {
            Json::Number(number) => number.as_f64().unwrap(),
            other => panic!("{path} is {other}"),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
        let simple = |json: &Json| !matches!(json, Json::List(_) | Json::Object(_));
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Number(value) => write!(f, "{value}"),
            Json::Text(text) => write!(f, "{text:?}"),
            Json::List(items) => {
                f.write_char('[')?;
                for (index, item) in items.iter().enumerate() {
                    f.write_str(if index > 0 { ", " } else { "" })?;
                    item.write(f, indent)?;
                }
                f.write_char(']')
            }
            // Small objects on one line, so that an answer fits the screen.
            Json::Object(pairs) if pairs.iter().all(|(_, value)| simple(value)) && pairs.len() <= 4 => {
                f.write_str("{ ")?;
                for (index, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{}{key:?}: ", if index > 0 { ", " } else { "" })?;
                    value.write(f, indent)?;
                }
                f.write_str(" }")
            }
            Json::Object(pairs) => {
                f.write_str("{\n")?;
                for (index, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{:1$}{key:?}: ", "", indent + 2)?;
                    value.write(f, indent + 2)?;
                    f.write_str(if index + 1 < pairs.len() { ",\n" } else { "\n" })?;
                }
                write!(f, "{:1$}}}", "", indent)
            }
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Strict;

        impl<'de> Visitor<'de> for Strict {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Number(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Number(value.into()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
                serde_json::Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("not finite"))
            }

            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Text(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Json::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut pairs: Vec<(String, Json)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Json>()? {
                    if pairs.iter().any(|(name, _)| *name == key) {
                        return Err(A::Error::custom(format!("the key {key} comes twice")));
                    }
                    pairs.push((key, value));
                }
                Ok(Json::Object(pairs))
            }
        }

        deserializer.deserialize_any(Strict)
    }
}

#[test]
fn a_duplicate_key_is_refused() {
    assert!(serde_json::from_str::<Json>(r#"{"a":{"b":1,"b":2}}"#).is_err());
    assert_eq!(Json::parse(br#"{"b":1,"a":[null]}"#).to_string(), "{\n  \"b\": 1,\n  \"a\": [null]\n}");
}
