//! Lists of items as other programs write them, every bad line by its number. Pure.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use programme::{Block, ItemAbout, ItemSpec, OnEnd, Order, Schedule, WallTime};
use serde::Deserialize;
use serde_json::Value;
use storage::media::key;
use storage::model::problems::{Problem, label};
use utoipa::ToSchema;

use super::ApiError;

/// Blocks that were brought in for a day so long past are let go of: they would add up.
const KEPT_DAYS: i64 = 7;

/// How a list is written.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// The playlist of a day.
    Json,
    /// A key a line, with `#EXTINF:seconds,title` before it.
    M3u,
    /// A key a line.
    Text,
}

/// What was read.
#[derive(Debug, PartialEq)]
pub(super) enum List {
    /// Items for a block.
    Items(Vec<Item>),
    /// A day of blocks.
    Day(Day),
}

/// The playlist of a day.
#[derive(Debug, PartialEq)]
pub(super) struct Day {
    date: Date,
    /// When each part begins, and what plays in it.
    parts: Vec<(WallTime, Vec<Item>)>,
    until: WallTime,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    key: String,
    title: Option<String>,
}

/// Reads a list, or says everything that is wrong with it.
pub(super) fn read(format: Format, text: &[u8]) -> Result<List, Vec<Problem>> {
    let text = std::str::from_utf8(text).map_err(|error| {
        let lines_before = text[..error.valid_up_to()].iter().filter(|b| **b == b'\n');
        let at = format!("line {}", lines_before.count() + 1);
        vec![problem(at, "is not UTF-8; save the list as UTF-8")]
    })?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    match format {
        Format::Json => day(text).map(List::Day),
        Format::M3u => lines(text, true).map(List::Items),
        Format::Text => lines(text, false).map(List::Items),
    }
}

impl List {
    /// Writes it into `schedule`, `now`; the names of the blocks, and all keys.
    pub(super) fn write_to(
        self,
        schedule: &mut Schedule,
        block: Option<&str>,
        now: Timestamp,
    ) -> Result<(Vec<String>, Vec<String>), ApiError> {
        match (self, block) {
            (Self::Items(items), Some(name)) => {
                let Some(at) = schedule.blocks.iter().position(|block| block.name == name) else {
                    let names: Vec<&str> =
                        schedule.blocks.iter().map(|b| b.name.as_str()).collect();
                    let message = format!(
                        "there is no block {name:?}; there are: {}",
                        names.join(", ")
                    );
                    return Err(ApiError::new(
                        StatusCode::NOT_FOUND,
                        "unknown_block",
                        message,
                    ));
                };
                note_titles(schedule, &items);
                schedule.blocks[at].items = specs(&items);
                Ok((vec![name.to_owned()], keys(&items)))
            }
            (Self::Day(day), None) => day.write_to(schedule, now),
            (Self::Items(_), None) => Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "block_not_named",
                "say whose items these are with ?block=",
            )),
            (Self::Day(_), Some(_)) => Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "block_not_taken",
                "the playlist of a day makes blocks of its own: leave ?block= out",
            )),
        }
    }
}

impl Day {
    fn write_to(
        self,
        schedule: &mut Schedule,
        now: Timestamp,
    ) -> Result<(Vec<String>, Vec<String>), ApiError> {
        let zone = TimeZone::get(&schedule.timezone).unwrap_or(TimeZone::UTC);
        let today = zone.to_datetime(now).date();
        // What began yesterday may end today.
        if self.date < today.saturating_sub(1.day()) {
            let message = format!("is past, and would never air: today is {today}");
            return Err(refused(vec![problem("date", message)]));
        }
        let kept_from = today.saturating_sub(KEPT_DAYS.days());
        let named = names_allowed(schedule);
        // What a person has given a name of their own stays.
        schedule.blocks.retain(|block| {
            let Some(date) = block.date.filter(|date| is_of_import(&block.name, *date)) else {
                return true;
            };
            date != self.date && (date >= kept_from || named.contains(&block.name))
        });
        let ends: Vec<WallTime> = self.parts.iter().skip(1).map(|(at, _)| *at).collect();
        let ends = ends.into_iter().chain([self.until]);
        let (mut names, mut all) = (Vec::new(), Vec::new());
        for ((from, items), to) in self.parts.iter().zip(ends) {
            note_titles(schedule, items);
            let name = name_of(self.date, *from);
            schedule.blocks.push(Block {
                name: name.clone(),
                days: Vec::new(),
                date: Some(self.date),
                from: *from,
                to,
                items: specs(items),
                order: Order::Listed,
                repeat: false,
                filler: Vec::new(),
                // What has a time begins at that time.
                on_end: OnEnd::Cut,
            });
            names.push(name);
            all.extend(keys(items));
        }
        Ok((names, all))
    }
}

/// The answer to a list with these problems.
pub(super) fn refused(problems: Vec<Problem>) -> ApiError {
    let message = format!(
        "the list has {} problem(s); nothing was changed",
        problems.len()
    );
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_list", message).with_problems(problems)
}

/// Of a block that is made of a part of a day.
fn name_of(date: Date, from: WallTime) -> String {
    format!("{date} {from}")
}

/// Whether a block of that date has such a name; its times may have been changed since.
fn is_of_import(name: &str, date: Date) -> bool {
    let rest = name.strip_prefix(&format!("{date} "));
    rest.is_some_and(|rest| rest.parse::<WallTime>().is_ok())
}

/// Blocks that the metadata speaks of: without them it would be wrong.
fn names_allowed(schedule: &Schedule) -> BTreeSet<String> {
    let all = schedule.metadata.values();
    all.filter_map(|about| about.allowed_blocks.clone())
        .flatten()
        .collect()
}

fn specs(items: &[Item]) -> Vec<ItemSpec> {
    let keys = items.iter().map(|item| item.key.clone());
    keys.map(ItemSpec::Key).collect()
}

fn keys(items: &[Item]) -> Vec<String> {
    items.iter().map(|item| item.key.clone()).collect()
}

fn note_titles(schedule: &mut Schedule, items: &[Item]) {
    for item in items.iter().filter(|item| item.title.is_some()) {
        // What is known of the prefix it is below holds for it still.
        let about = schedule.about(&item.key).cloned().unwrap_or_default();
        let about = ItemAbout {
            title: item.title.clone(),
            ..about
        };
        schedule.metadata.insert(item.key.clone(), about);
    }
}

fn lines(text: &str, extended: bool) -> Result<Vec<Item>, Vec<Problem>> {
    let (mut items, mut problems) = (Vec::new(), Vec::new());
    let mut title = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            let named = comment.strip_prefix("EXTINF:").filter(|_| extended);
            title = named
                .and_then(title_of)
                .map(|title| title.trim().to_owned())
                .filter(|title| !title.is_empty())
                .map(|title| (number, title))
                .or(title);
            continue;
        }
        if line.is_empty() {
            continue;
        }
        let title: Option<(usize, String)> = title.take();
        if let Some((number, title)) = &title
            && let Err(message) = label(title)
        {
            problems.push(problem(line_at(*number), format!("the title {message}")));
        }
        let title = title.map(|(_, title)| title);
        match checked_key(line) {
            Ok(key) => items.push(Item { key, title }),
            Err(message) => problems.push(problem(line_at(number), message)),
        }
    }
    if items.is_empty() && problems.is_empty() {
        problems.push(problem("", "has no items"));
    }
    if problems.is_empty() {
        Ok(items)
    } else {
        Err(problems)
    }
}

fn line_at(number: usize) -> String {
    format!("line {}", number + 1)
}

/// What follows the first comma; of those in quotes, as in `-1 group="News, sport",Title`, none counts.
fn title_of(info: &str) -> Option<&str> {
    let mut is_quoted = false;
    let comma = info.find(|c| {
        is_quoted ^= c == '"';
        c == ',' && !is_quoted
    })?;
    Some(&info[comma + 1..])
}

fn checked_key(text: &str) -> Result<String, String> {
    let text = text.strip_prefix("./").unwrap_or(text);
    if text.contains("://") {
        return Err(format!(
            "{text:?} is an address; must be the key of an object below STORAGE_PREFIX"
        ));
    }
    if text.contains('\\') {
        return Err(format!("{text:?} has a backslash; keys are parted by /"));
    }
    match key::check(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(format!("{text:?} cannot be a key: it {error}")),
    }
}

/// Every entry is looked at, so that all that is wrong is told; entries are named as in a path.
fn day(text: &str) -> Result<Day, Vec<Problem>> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| vec![problem(format!("line {}", error.line()), error.to_string())])?;
    let mut problems = Vec::new();
    let date = value.get("date").and_then(Value::as_str);
    let date = date.filter(|text| text.len() == "2026-12-24".len());
    let date = date.and_then(|text| text.parse::<Date>().ok());
    if date.is_none() {
        problems.push(problem("date", "must be a day as \"2026-12-24\""));
    }
    for name in value
        .as_object()
        .into_iter()
        .flat_map(|object| object.keys())
    {
        if !["date", "items", "until"].contains(&name.as_str()) {
            problems.push(problem(
                name,
                "is not known here; known are: date, items, until",
            ));
        }
    }
    let until = until(&value, &mut problems);
    let entries = value.get("items").and_then(Value::as_array);
    if entries.is_none_or(Vec::is_empty) {
        problems.push(problem("items", "must be an array with at least one item"));
    }
    let parts = parts(entries.into_iter().flatten(), &mut problems);
    if let (Some((first, _)), Some((last, _))) = (parts.first(), parts.last())
        && (*first < until && until <= *last)
    {
        problems.push(problem(
            "until",
            "must be later than the last \"at\", or not later than the first: then it is on the next day",
        ));
    }
    match (date, problems.is_empty()) {
        (Some(date), true) => Ok(Day { date, parts, until }),
        _ => Err(problems),
    }
}

/// When the last part ends.
fn until(value: &Value, problems: &mut Vec<Problem>) -> WallTime {
    let until = match value.get("until") {
        None => "24:00".parse(),
        Some(text) => text.as_str().unwrap_or_default().parse(),
    };
    until.unwrap_or_else(|error: programme::schedule::InvalidWallTime| {
        problems.push(problem("until", error.to_string()));
        WallTime::default()
    })
}

/// Each entry with a time begins a part; one without belongs to the part before it.
fn parts<'a>(
    entries: impl Iterator<Item = &'a Value>,
    problems: &mut Vec<Problem>,
) -> Vec<(WallTime, Vec<Item>)> {
    let mut parts: Vec<(WallTime, Vec<Item>)> = Vec::new();
    for (index, entry) in entries.enumerate() {
        let before = problems.len();
        let (at, item) = day_entry(entry, &format!("items[{index}]"), problems);
        let broken = problems.len() > before;
        match at {
            Some(at) if parts.last().is_some_and(|(before, _)| at <= *before) => {
                let path = format!("items[{index}].at");
                problems.push(problem(path, "must be later than the \"at\" before it"));
            }
            Some(at) => parts.push((at, vec![item])),
            None if broken => {}
            None => match parts.last_mut() {
                Some((_, items)) => items.push(item),
                None => problems.push(problem(
                    format!("items[{index}].at"),
                    "is missing: the first item says when the playlist begins",
                )),
            },
        }
    }
    parts
}

fn day_entry(entry: &Value, path: &str, problems: &mut Vec<Problem>) -> (Option<WallTime>, Item) {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let known = ["at", "key", "title"];
    match entry.as_object() {
        None => problems.push(problem(path, "must be an object with \"key\"")),
        Some(members) => {
            for (name, value) in members {
                let at = format!("{path}.{name}");
                if !known.contains(&name.as_str()) {
                    problems.push(problem(at, "is not known here; known are: at, key, title"));
                } else if !value.is_string() {
                    problems.push(problem(at, "must be a string"));
                }
            }
        }
    }
    let at = text("at").and_then(|text| {
        let at = text.parse::<WallTime>().map_err(|error| error.to_string());
        let at = at.and_then(|at| match at.seconds() {
            WallTime::DAY_S => {
                Err("must be before 24:00: that is 00:00 of the next day".to_owned())
            }
            _ => Ok(at),
        });
        let note = |message| problems.push(problem(format!("{path}.at"), message));
        at.map_err(note).ok()
    });
    let key = checked_key(text("key").unwrap_or_default()).unwrap_or_else(|message| {
        problems.push(problem(format!("{path}.key"), message));
        String::new()
    });
    let title = text("title").map(str::to_owned);
    if let Some(Err(message)) = title.as_deref().map(label) {
        problems.push(problem(format!("{path}.title"), message));
    }
    (at, Item { key, title })
}

fn problem(path: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem {
        path: path.into(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests;
