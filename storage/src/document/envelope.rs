//! The text of a document: version, generation and checksum around its contents.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{Contents, Flaw, WrittenBy};
use crate::json::Json;
use crate::model::problems::Problem;

const GENERATION: &str = "generation";
const CHECKSUM: &str = "checksum";
/// Stands where the checksum will be while it is computed.
const UNKNOWN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Contents and generation of a document's text; generation 0 where it is not written down.
pub(super) fn decode<T: Contents>(text: &[u8]) -> Result<(T, u64), Flaw> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(Flaw::Empty);
    }
    let json = Json::parse(text)?;
    check_duplicates(&json)?;
    check_version::<T>(&json)?;
    let generation = match T::WRITTEN_BY {
        WrittenBy::Hand => 0,
        WrittenBy::Programs => {
            check_checksum(text, &json)?;
            match json.get(GENERATION) {
                Some(Json::Number(n)) => n.as_u64().unwrap_or(0),
                _ => 0,
            }
        }
    };
    Ok((T::decode(text)?, generation))
}

/// The text to write.
pub(super) fn encode<T: Contents>(
    value: &T,
    generation: u64,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = match T::WRITTEN_BY {
        WrittenBy::Hand => serde_json::to_vec_pretty(value)?,
        WrittenBy::Programs => {
            let mut members = Map::new();
            members.insert(GENERATION.to_owned(), generation.into());
            members.insert(CHECKSUM.to_owned(), UNKNOWN.into());
            if let Value::Object(contents) = serde_json::to_value(value)? {
                members.extend(contents);
            }
            serde_json::to_vec_pretty(&members)?
        }
    };
    text.push(b'\n');
    if T::WRITTEN_BY == WrittenBy::Programs {
        let sum = hex(&Sha256::digest(&text));
        // The members before the contents are ours, so the first match is the checksum's own.
        let at = find(&text, UNKNOWN.as_bytes()).expect("the placeholder was just written");
        text[at..at + sum.len()].copy_from_slice(sum.as_bytes());
    }
    Ok(text)
}

fn check_duplicates(json: &Json) -> Result<(), Flaw> {
    let problems: Vec<_> = json
        .duplicates()
        .into_iter()
        .map(|path| Problem::new(path, "is there twice; remove one"))
        .collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Flaw::Problems(problems))
    }
}

/// Before anything else of the contents is looked at: a newer version may have changed all of it.
fn check_version<T: Contents>(json: &Json) -> Result<(), Flaw> {
    match json.get("version") {
        Some(Json::Number(n)) => match n.as_u64() {
            Some(found) if found > u64::from(T::VERSION) => Err(Flaw::FutureVersion {
                found,
                known: T::VERSION,
            }),
            Some(1..) => Ok(()),
            _ => Err(version_problem::<T>()),
        },
        _ => Err(version_problem::<T>()),
    }
}

fn version_problem<T: Contents>() -> Flaw {
    let message = format!("must be a whole number from 1 to {}", T::VERSION);
    Flaw::Problems(vec![Problem::new("version", message)])
}

fn check_checksum(text: &[u8], json: &Json) -> Result<(), Flaw> {
    let written = match json.get(CHECKSUM) {
        None => return Ok(()),
        Some(Json::String(written)) if written.len() == UNKNOWN.len() => written,
        Some(_) => return Err(Flaw::Checksum),
    };
    let at = find(text, written.as_bytes()).ok_or(Flaw::Checksum)?;
    let mut unsummed = text.to_vec();
    unsummed[at..at + UNKNOWN.len()].copy_from_slice(UNKNOWN.as_bytes());
    if hex(&Sha256::digest(&unsummed)) == *written {
        Ok(())
    } else {
        Err(Flaw::Checksum)
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|w| w == wanted)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
