//! Reading the members of one JSON object, noting what is wrong with each.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use super::Problem;
use crate::json::{Json, member};

/// Where problems are noted.
#[derive(Debug, Default)]
pub(super) struct Notes(RefCell<Vec<Problem>>);

/// The members of one object. Each reader takes a name, and [`Fields::end`] notes what no reader
/// asked for.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    notes: &'a Notes,
    path: String,
    members: &'a [(String, Json)],
    known: Vec<&'static str>,
    /// The value was not an object at all; that was noted and everything else follows from it.
    spoilt: bool,
}

// === impl Notes ===

impl Notes {
    pub(super) fn add(&self, path: impl Into<String>, message: impl Into<String>) {
        self.0.borrow_mut().push(Problem::new(path, message));
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.0.into_inner()
    }

    fn wrong_kind(&self, path: String, wanted: &str, found: &Json) {
        self.add(path, format!("must be {wanted}, not {}", found.kind()));
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    pub(super) fn of(notes: &'a Notes, path: String, json: &'a Json) -> Self {
        let (members, spoilt) = match json {
            Json::Object(members) => (members.as_slice(), false),
            other => {
                notes.wrong_kind(path.clone(), "an object", other);
                (&[][..], true)
            }
        };
        Self {
            notes,
            path,
            members,
            known: Vec::new(),
            spoilt,
        }
    }

    /// Notes every member nobody asked for.
    pub(super) fn end(self) {
        for (name, _) in self.members {
            if !self.known.contains(&name.as_str()) {
                let allowed = self.known.join(", ");
                let path = member(&self.path, name);
                self.notes
                    .add(path, format!("is not known here; known are: {allowed}"));
            }
        }
    }

    pub(super) fn notes(&self) -> &'a Notes {
        self.notes
    }

    /// Notes a problem of the object as a whole.
    pub(super) fn note(&self, message: &str) {
        if !self.spoilt {
            self.notes.add(self.path.clone(), message);
        }
    }

    pub(super) fn path_of(&self, name: &str) -> String {
        member(&self.path, name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(n, _)| n == name)
    }

    /// Notes that a member is missing, if it is.
    pub(super) fn required(&self, name: &str) {
        if !self.has(name) && !self.spoilt {
            self.notes.add(self.path_of(name), "is missing");
        }
    }

    fn take(&mut self, name: &'static str) -> Option<(String, &'a Json)> {
        self.known.push(name);
        let (_, value) = self.members.iter().find(|(n, _)| n == name)?;
        Some((self.path_of(name), value))
    }

    /// A member that may also be `null`, which is the same as leaving it out.
    fn take_optional(&mut self, name: &'static str) -> Option<(String, &'a Json)> {
        self.take(name).filter(|(_, json)| **json != Json::Null)
    }

    pub(super) fn boolean(&mut self, name: &'static str) -> Option<bool> {
        match self.take(name)? {
            (_, Json::Bool(value)) => Some(*value),
            (path, other) => {
                self.notes.wrong_kind(path, "true or false", other);
                None
            }
        }
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<(String, String)> {
        let (path, json) = self.take(name)?;
        self.string(path, json)
    }

    fn string(&self, path: String, json: &Json) -> Option<(String, String)> {
        match json {
            Json::String(text) => Some((path, text.clone())),
            other => {
                self.notes.wrong_kind(path, "a string", other);
                None
            }
        }
    }

    /// A text that `check` accepts or says what is wrong with.
    pub(super) fn checked(&mut self, name: &'static str, check: Check) -> Option<String> {
        let (path, json) = self.take(name)?;
        self.check(path, json, check)
    }

    pub(super) fn optional_checked(&mut self, name: &'static str, check: Check) -> Option<String> {
        let (path, json) = self.take_optional(name)?;
        self.check(path, json, check)
    }

    pub(super) fn required_checked(&mut self, name: &'static str, check: Check) -> String {
        let value = self.checked(name, check);
        self.required(name);
        value.unwrap_or_default()
    }

    fn check(&self, path: String, json: &Json, check: Check) -> Option<String> {
        let (path, text) = self.string(path, json)?;
        if let Err(message) = check(&text) {
            self.notes.add(path, message);
        }
        Some(text)
    }

    pub(super) fn integer(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        let (path, json) = self.take(name)?;
        self.whole_number(path, json, range)
    }

    pub(super) fn optional_integer(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        let (path, json) = self.take_optional(name)?;
        self.whole_number(path, json, range)
    }

    pub(super) fn even(&mut self, name: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let value = self.integer(name, range)?;
        if value % 2 != 0 {
            let path = self.path_of(name);
            self.notes.add(path, format!("must be even, not {value}"));
        }
        Some(value)
    }

    fn whole_number(&self, path: String, json: &Json, range: RangeInclusive<u32>) -> Option<u32> {
        let value = match json {
            Json::Number(n) => n.as_u64().and_then(|n| u32::try_from(n).ok()),
            other => {
                self.notes.wrong_kind(path, "a whole number", other);
                return None;
            }
        };
        let in_range = value.filter(|n| range.contains(n));
        if in_range.is_none() {
            let (low, high) = range.into_inner();
            self.notes
                .add(path, format!("must be a whole number from {low} to {high}"));
        }
        in_range
    }

    pub(super) fn number(&mut self, name: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let (path, json) = self.take(name)?;
        let value = match json {
            Json::Number(n) => n.as_f64(),
            other => {
                self.notes.wrong_kind(path, "a number", other);
                return None;
            }
        };
        let in_range = value.filter(|n| range.contains(n));
        if in_range.is_none() {
            let (low, high) = range.into_inner();
            self.notes
                .add(path, format!("must be a number from {low} to {high}"));
        }
        in_range
    }

    /// A member whose kind its reader decides by.
    pub(super) fn value<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&'a Notes, String, &'a Json) -> T,
    ) -> Option<T> {
        let (path, json) = self.take(name)?;
        Some(read(self.notes, path, json))
    }

    pub(super) fn object<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&mut Fields<'a>) -> T,
    ) -> Option<T> {
        let (path, json) = self.take(name)?;
        Some(self.within(path, json, &read))
    }

    pub(super) fn optional_object<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&mut Fields<'a>) -> T,
    ) -> Option<T> {
        let (path, json) = self.take_optional(name)?;
        Some(self.within(path, json, &read))
    }

    pub(super) fn array<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&mut Fields<'a>) -> T,
    ) -> Option<Vec<T>> {
        let (path, json) = self.take(name)?;
        let Json::Array(elements) = json else {
            self.notes.wrong_kind(path, "an array", json);
            return None;
        };
        let read = elements
            .iter()
            .enumerate()
            .map(|(i, json)| self.within(format!("{path}[{i}]"), json, &read))
            .collect();
        Some(read)
    }

    /// An array of texts, each with its path.
    pub(super) fn texts(&mut self, name: &'static str) -> Option<Vec<(String, String)>> {
        let (path, json) = self.take(name)?;
        let Json::Array(elements) = json else {
            self.notes.wrong_kind(path, "an array", json);
            return None;
        };
        let texts = elements.iter().enumerate();
        let texts = texts.filter_map(|(i, json)| self.string(format!("{path}[{i}]"), json));
        Some(texts.collect())
    }

    /// The members of an object whose names are the operator's own: path, name and value of each.
    pub(super) fn members(&mut self, name: &'static str) -> Vec<(String, &'a str, &'a Json)> {
        let Some((path, json)) = self.take(name) else {
            return Vec::new();
        };
        let Json::Object(members) = json else {
            self.notes.wrong_kind(path, "an object", json);
            return Vec::new();
        };
        members
            .iter()
            .map(|(name, json)| (member(&path, name), name.as_str(), json))
            .collect()
    }

    fn within<T>(&self, path: String, json: &'a Json, read: &impl Fn(&mut Fields<'a>) -> T) -> T {
        let mut fields = Fields::of(self.notes, path, json);
        let value = read(&mut fields);
        fields.end();
        value
    }
}

/// Says what is wrong with a text and what is allowed.
pub(super) type Check = fn(&str) -> Result<(), String>;
