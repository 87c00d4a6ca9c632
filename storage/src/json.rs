//! A JSON document as it was written: order and duplicate keys kept.
//!
//! `serde_json::Value` lets the last of two equal keys win silently. In a document edited by hand
//! two streams of one name are a mistake the operator must hear of.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// Any JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Text that is not JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct SyntaxError {
    /// From 1; 0 when the text as a whole is meant.
    pub line: usize,
    /// From 1; 0 when the line as a whole is meant.
    pub column: usize,
    /// What was expected or found.
    pub message: String,
}

impl Json {
    /// Reads one value and nothing after it.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, SyntaxError> {
        if let Some(offset) = text.iter().position(|b| *b == 0) {
            let before = &text[..offset];
            let line = 1 + before.iter().filter(|b| **b == b'\n').count();
            let column = 1 + before.iter().rev().take_while(|b| **b != b'\n').count();
            return Err(SyntaxError {
                line,
                column,
                message: "a NUL byte; a power cut may have left it".to_owned(),
            });
        }
        serde_json::from_slice(text).map_err(|e| SyntaxError::from_serde(&e))
    }

    /// The value of the first member of that name, if this is an object that has it.
    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Self::Object(members) => members.iter().find(|(n, _)| n == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// What kind of value this is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }

    /// Paths of the members whose name the same object already had.
    pub(crate) fn duplicates(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect_duplicates("", &mut found);
        found
    }

    fn collect_duplicates(&self, path: &str, found: &mut Vec<String>) {
        match self {
            Self::Object(members) => {
                for (i, (name, value)) in members.iter().enumerate() {
                    let path = member(path, name);
                    value.collect_duplicates(&path, found);
                    if members[..i].iter().any(|(earlier, _)| earlier == name) {
                        found.push(path);
                    }
                }
            }
            Self::Array(elements) => {
                for (i, element) in elements.iter().enumerate() {
                    element.collect_duplicates(&format!("{path}[{i}]"), found);
                }
            }
            _ => {}
        }
    }
}

/// The path of a member of the object at `path`; the document itself is `""`.
pub(crate) fn member(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

impl SyntaxError {
    pub(crate) fn from_serde(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        // serde_json ends its messages with the place, which is told apart here.
        let message = text
            .rsplit_once(" at line ")
            .map_or(text.as_str(), |(message, _)| message);
        Self {
            line: error.line(),
            column: error.column(),
            message: message.to_owned(),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Number::from_f64(value)
            .map(Json::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = from.next_element()? {
            elements.push(element);
        }
        Ok(Json::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(entry) = from.next_entry()? {
            members.push(entry);
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_keys_are_found_at_every_depth() {
        let text = br#"{"a": 1, "b": {"c": 1, "c": 2}, "a": 2, "d": [{"e": 1, "e": 1}]}"#;
        let json = Json::parse(text).unwrap();
        assert_eq!(json.duplicates(), ["b.c", "a", "d[0].e"]);
    }

    #[test]
    fn the_place_of_a_mistake_is_named_once() {
        let error = Json::parse(b"{\n  \"a\": 1,\n}").unwrap_err();
        assert_eq!(error.to_string(), "line 3, column 1: trailing comma");
        let error = Json::parse(b"{\n \0}").unwrap_err();
        assert_eq!((error.line, error.column), (2, 2));
    }
}
