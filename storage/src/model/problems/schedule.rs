//! What a schedule holds.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use programme::schedule::ORDINARY;
use programme::{Block, Day, ItemAbout, OnEnd, Schedule, WallTime};

use super::check;
use super::fields::{Fields, Notes};
use super::live::choice;
use super::{item, order};

/// Longest name of a block, title and rating, in characters.
const MAX_TEXT: usize = 200;
/// More than a block for each quarter of an hour of a week.
const MAX_BLOCKS: usize = 1000;

const DAYS: [(&str, Day); 7] = [
    ("mon", Day::Mon),
    ("tue", Day::Tue),
    ("wed", Day::Wed),
    ("thu", Day::Thu),
    ("fri", Day::Fri),
    ("sat", Day::Sat),
    ("sun", Day::Sun),
];

pub(super) fn schedule(fields: &mut Fields<'_>) -> Schedule {
    let timezone = fields.required_checked("timezone", time_zone);
    let blocks = fields.array("blocks", block).unwrap_or_default();
    let metadata: BTreeMap<String, ItemAbout> = fields
        .members("metadata")
        .into_iter()
        .map(|(path, key, json)| {
            if let Err(message) = check::prefix(key) {
                fields.notes().add(path.clone(), message);
            }
            let mut about = Fields::of(fields.notes(), path, json);
            let read = item_about(&mut about, &blocks);
            about.end();
            (key.to_owned(), read)
        })
        .collect();
    let schedule = Schedule {
        timezone,
        blocks,
        metadata,
    };
    whole(fields.notes(), &fields.path_of("blocks"), &schedule);
    schedule
}

/// What can only be said of all blocks together.
fn whole(notes: &Notes, path: &str, schedule: &Schedule) {
    let blocks = &schedule.blocks;
    check::unique(notes, path, blocks.iter().map(|block| block.name.as_str()));
    if blocks.len() > MAX_BLOCKS {
        let message = format!("must not be more than {MAX_BLOCKS}, not {}", blocks.len());
        notes.add(path, message);
        return;
    }
    for (first, second) in schedule.overlaps() {
        let (a, b) = (&blocks[first], &blocks[second]);
        let message = format!(
            "{:?} ({}–{}) overlaps {:?} ({}–{}, {path}[{first}]); change the times or days of one",
            b.name, b.from, b.to, a.name, a.from, a.to
        );
        notes.add(format!("{path}[{second}]"), message);
    }
}

fn block(fields: &mut Fields<'_>) -> Block {
    let name = fields.required_checked("name", block_name);
    let days = days(fields);
    let date = fields.optional_checked("date", |text| date(text).map(drop));
    if fields.has("date") == fields.has("days") {
        fields.note(
            "must have either \"days\" (of every week) or \"date\" (one day), as [\"mon\", \"tue\"] \
             or \"2026-12-24\"",
        );
    }
    let from = fields.required_checked("from", |text| wall_time(text).map(drop));
    let to = fields.required_checked("to", |text| wall_time(text).map(drop));
    if from == "24:00" {
        let path = fields.path_of("from");
        fields.notes().add(
            path,
            "must be before 24:00; midnight is 00:00 of the next day",
        );
    }
    let items = fields.array("items", item);
    fields.required("items");
    Block {
        name,
        days,
        date: date.and_then(|text| self::date(&text).ok()),
        from: wall_time(&from).unwrap_or_default(),
        to: wall_time(&to).unwrap_or_default(),
        items: items.unwrap_or_default(),
        order: order(fields).unwrap_or_default(),
        repeat: fields.boolean("loop").unwrap_or_default(),
        filler: fields.array("filler", item).unwrap_or_default(),
        on_end: choice(
            fields,
            "on_end",
            &[
                ("finish", OnEnd::Finish),
                ("cut", OnEnd::Cut),
                ("fit", OnEnd::Fit),
            ],
        ),
    }
}

fn days(fields: &mut Fields<'_>) -> Vec<Day> {
    let Some(names) = fields.texts("days") else {
        return Vec::new();
    };
    if names.is_empty() {
        let path = fields.path_of("days");
        fields.notes().add(path, "must name at least one day");
    }
    let mut days = Vec::new();
    for (path, name) in names {
        match DAYS.iter().find(|(known, _)| *known == name) {
            Some((_, day)) if days.contains(day) => {
                fields
                    .notes()
                    .add(path, format!("names {name} a second time"));
            }
            Some((_, day)) => days.push(*day),
            None => {
                let known = DAYS.map(|(name, _)| name).join(", ");
                fields.notes().add(path, format!("must be one of {known}"));
            }
        }
    }
    days
}

fn item_about(fields: &mut Fields<'_>, blocks: &[Block]) -> ItemAbout {
    let allowed = fields.texts("allowed_blocks").map(|names| {
        let allowed = names.into_iter().map(|(path, name)| {
            if name != ORDINARY && blocks.iter().all(|block| block.name != name) {
                let message = format!(
                    "{name:?} is the name of no block (\"{ORDINARY}\" is the time outside of blocks)"
                );
                fields.notes().add(path, message);
            }
            name
        });
        allowed.collect()
    });
    ItemAbout {
        title: fields.optional_checked("title", label),
        rating: fields.optional_checked("rating", label),
        allowed_blocks: allowed,
    }
}

/// Whether this can be a title, a rating or the name of a block.
///
/// # Errors
/// What it has to be instead.
pub fn label(text: &str) -> Result<(), String> {
    let printable = !text.trim().is_empty() && !text.chars().any(char::is_control);
    if printable && text.chars().count() <= MAX_TEXT {
        Ok(())
    } else {
        Err(format!(
            "must be 1 to {MAX_TEXT} characters, none of them a control character"
        ))
    }
}

fn block_name(name: &str) -> Result<(), String> {
    if name == ORDINARY {
        return Err(format!(
            "must not be \"{ORDINARY}\": that is the time outside of blocks"
        ));
    }
    label(name)
}

fn time_zone(name: &str) -> Result<(), String> {
    TimeZone::get(name).map(drop).map_err(|_| {
        format!(
            "{name:?} is no time zone; must be an IANA name such as \"Europe/Berlin\" or \"UTC\""
        )
    })
}

fn wall_time(text: &str) -> Result<WallTime, String> {
    text.parse()
        .map_err(|error: programme::schedule::InvalidWallTime| error.to_string())
}

fn date(text: &str) -> Result<Date, String> {
    let shape = text.len() == "2026-12-24".len();
    let date = shape.then(|| text.parse().ok()).flatten();
    date.ok_or_else(|| "must be a day as \"2026-12-24\"".to_owned())
}
