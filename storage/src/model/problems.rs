//! Reading a configuration so that an operator hears of every mistake at once.
//!
//! serde stops at the first. Here the text becomes a tree, each object of it is read field by field
//! (`fields`), every value is checked against what it is allowed to be (`check`), and whatever is
//! wrong is noted with its path. The types of [`super::config`] come out only if nothing was.

mod check;
mod fields;
mod live;
mod schedule;

use std::collections::BTreeMap;
use std::fmt;

use programme::{FormatChoice, ItemSpec, Order, Programme, StreamFormat};
use serde::{Deserialize, Serialize};

use self::fields::{Fields, Notes};
pub use self::schedule::label;
use super::config::CONFIG_VERSION;
use super::{
    DestinationConfig, RetryConfig, SlateConfig, StreamConfig, StreamConfigFile, StreamId,
};
use crate::json::{Json, SyntaxError};

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where: `streams.main.destinations[1].url`; empty for the document as a whole.
    pub path: String,
    /// What is wrong there and what is allowed.
    pub message: String,
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// JSON with these mistakes, at least one.
    #[error("{} problem(s), the first: {}", .0.len(), .0[0])]
    Problems(Vec<Problem>),
}

/// Reads one stream's configuration (the body of `PUT /streams/{id}`).
///
/// # Errors
/// Every mistake in it.
pub fn parse_stream(text: &[u8]) -> Result<StreamConfig, ConfigError> {
    parse(text, |notes, json| stream(notes, String::new(), json))
}

/// Reads a whole `stream_config.json`.
///
/// # Errors
/// Every mistake in it.
pub fn parse_config_file(text: &[u8]) -> Result<StreamConfigFile, ConfigError> {
    parse(text, file)
}

fn parse<T>(text: &[u8], read: impl Fn(&Notes, &Json) -> T) -> Result<T, ConfigError> {
    let json = Json::parse(text)?;
    let notes = Notes::default();
    for path in json.duplicates() {
        notes.add(path, "is there twice; remove one");
    }
    let value = read(&notes, &json);
    let problems = notes.into_problems();
    if problems.is_empty() {
        Ok(value)
    } else {
        Err(ConfigError::Problems(problems))
    }
}

// === what each object holds ===
//
// On a mistake a reader notes it and goes on with a default, which never leaves `parse`.

fn file(notes: &Notes, json: &Json) -> StreamConfigFile {
    let mut fields = Fields::of(notes, String::new(), json);
    let version = fields
        .integer("version", 1..=CONFIG_VERSION)
        .unwrap_or_else(|| {
            fields.required("version");
            CONFIG_VERSION
        });
    let mut streams = BTreeMap::new();
    for (path, name, json) in fields.members("streams") {
        match name.parse::<StreamId>() {
            Ok(id) => {
                streams.insert(id, stream(notes, path, json));
            }
            Err(e) => {
                notes.add(path.clone(), e.to_string());
                stream(notes, path, json);
            }
        }
    }
    fields.end();
    StreamConfigFile { version, streams }
}

fn stream(notes: &Notes, path: String, json: &Json) -> StreamConfig {
    let mut fields = Fields::of(notes, path, json);
    let config = StreamConfig {
        autostart: fields.boolean("autostart").unwrap_or_default(),
        programme: fields.object("programme", programme).unwrap_or_default(),
        format: fields.value("format", format).unwrap_or_default(),
        slate: fields.optional_object("slate", slate),
        destinations: fields
            .array("destinations", destination)
            .unwrap_or_default(),
        live_inputs: fields.array("live_inputs", live::input).unwrap_or_default(),
        live: fields.object("live", live::live).unwrap_or_default(),
        retry: fields.object("retry", retry).unwrap_or_default(),
    };
    let destinations = config.destinations.iter().map(|d| d.name.as_str());
    check::unique(notes, &fields.path_of("destinations"), destinations);
    let inputs = config.live_inputs.iter().map(|i| i.name.as_str());
    check::unique(notes, &fields.path_of("live_inputs"), inputs);
    fields.end();
    config
}

fn programme(fields: &mut Fields<'_>) -> Programme {
    let default = Programme::default();
    Programme {
        items: fields.array("items", item).unwrap_or(default.items),
        order: order(fields).unwrap_or(default.order),
        repeat: fields.boolean("loop").unwrap_or(default.repeat),
        schedule: fields.optional_object("schedule", schedule::schedule),
    }
}

fn order(fields: &mut Fields<'_>) -> Option<Order> {
    let (path, order) = fields.text("order")?;
    match order.as_str() {
        "listed" => Some(Order::Listed),
        "shuffle" => Some(Order::Shuffle),
        _ => {
            let message = "must be \"listed\" or \"shuffle\"";
            fields.notes().add(path, message);
            None
        }
    }
}

fn item(fields: &mut Fields<'_>) -> ItemSpec {
    let prefix = fields.checked("prefix", check::prefix);
    let key = fields.checked("key", check::key);
    let exactly_one = fields.has("prefix") != fields.has("key");
    if !exactly_one {
        fields.note("must have either \"prefix\" or \"key\"");
    }
    match key {
        Some(key) => ItemSpec::Key(key),
        None => ItemSpec::Prefix(prefix.unwrap_or_default()),
    }
}

fn format(notes: &Notes, path: String, json: &Json) -> FormatChoice {
    match json {
        Json::String(text) if text == "auto" => FormatChoice::Auto,
        Json::Object(_) => {
            let mut fields = Fields::of(notes, path, json);
            let format = fixed_format(&mut fields);
            fields.end();
            FormatChoice::Fixed(format)
        }
        _ => {
            let allowed = "\"auto\" or an object with width, height, fps, video_kbps, audio_kbps";
            notes.add(path, format!("must be {allowed}"));
            FormatChoice::Auto
        }
    }
}

fn fixed_format(fields: &mut Fields<'_>) -> StreamFormat {
    let default = StreamFormat::default();
    StreamFormat {
        width: fields.even("width", 160..=3840).unwrap_or(default.width),
        height: fields.even("height", 90..=2160).unwrap_or(default.height),
        fps: fields.integer("fps", 1..=60).unwrap_or(default.fps),
        video_kbps: fields
            .integer("video_kbps", 100..=50_000)
            .unwrap_or(default.video_kbps),
        audio_kbps: fields
            .integer("audio_kbps", 32..=320)
            .unwrap_or(default.audio_kbps),
    }
}

fn slate(fields: &mut Fields<'_>) -> SlateConfig {
    SlateConfig {
        key: fields.required_checked("key", check::key),
    }
}

fn destination(fields: &mut Fields<'_>) -> DestinationConfig {
    DestinationConfig {
        name: fields.required_checked("name", check::name),
        url: fields.required_checked("url", check::destination_url),
        key_env: fields.optional_checked("key_env", check::variable),
        // 24 days is what FLV's clock lasts.
        renew_after_s: fields.optional_integer("renew_after_s", 10..=2_000_000),
    }
}

fn retry(fields: &mut Fields<'_>) -> RetryConfig {
    let default = RetryConfig::default();
    let initial_s = fields.number("initial_s", 0.1..=3600.0);
    let initial_s = initial_s.unwrap_or(default.initial_s);
    let max_s = fields.number("max_s", 0.1..=86_400.0);
    let max_s = max_s.unwrap_or(default.max_s.max(initial_s));
    if max_s < initial_s {
        let path = fields.path_of("max_s");
        fields
            .notes()
            .add(path, format!("must be at least initial_s ({initial_s})"));
    }
    RetryConfig {
        initial_s,
        factor: fields
            .number("factor", 1.0..=10.0)
            .unwrap_or(default.factor),
        max_s,
        max_attempts: fields.optional_integer("max_attempts", 1..=1_000_000),
    }
}

// === impl Problem ===

impl Problem {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}
