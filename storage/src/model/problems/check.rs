//! What single values are allowed to be.
//!
//! A message may reach an answer or a log, so none repeats a URL: what is wrong with one may be that
//! there is a password in it.

use super::super::StreamId;
use super::fields::Notes;
use crate::media::key;

const DESTINATION_SCHEMES: [&str; 3] = ["rtmp", "rtmps", "srt"];
const INPUT_SCHEMES: [&str; 6] = ["rtmp", "rtmps", "rtsp", "srt", "http", "https"];
/// Longest URL; FFmpeg's own buffers end at 4096.
const MAX_URL: usize = 2000;

/// Names of destinations and live inputs.
pub(super) fn name(text: &str) -> Result<(), String> {
    text.parse::<StreamId>().map(drop).map_err(|_| {
        "must be 1–63 of a–z, 0–9, '-' and '_', and start with a letter or digit".to_owned()
    })
}

/// Beginnings of variables that hold this software's own secrets. A destination may be anyone's
/// server, and would be sent what its `key_env` names.
const OWN_VARIABLES: [&str; 3] = ["STORAGE_", "CONTROLLER_", "AWS_"];

/// The name of an environment variable.
pub(super) fn variable(text: &str) -> Result<(), String> {
    let upper = |b: &u8| b.is_ascii_uppercase();
    let ok = (1..=128).contains(&text.len())
        && text.as_bytes().first().is_some_and(upper)
        && text
            .bytes()
            .all(|b| upper(&b) || b.is_ascii_digit() || b == b'_');
    if OWN_VARIABLES.iter().any(|own| text.starts_with(own)) {
        let own = OWN_VARIABLES.join(", ");
        Err(format!(
            "must not begin with one of {own}: those are not stream keys"
        ))
    } else if ok {
        Ok(())
    } else {
        Err(
            "must be the name of an environment variable: A–Z, 0–9 and '_', first a letter (the \
             key itself belongs into that variable, not here)"
                .to_owned(),
        )
    }
}

/// A user name that stands in a URL.
pub(super) fn user(text: &str) -> Result<(), String> {
    if (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err("must be 1–128 printable ASCII characters".to_owned())
    }
}

/// The key of one object.
pub(super) fn key(text: &str) -> Result<(), String> {
    key::check(text).map_err(|e| e.to_string())
}

/// The beginning of keys; may be empty.
pub(super) fn prefix(text: &str) -> Result<(), String> {
    key::check_prefix(text).map_err(|e| e.to_string())
}

/// Where a stream is pushed to.
pub(super) fn destination_url(text: &str) -> Result<(), String> {
    url(text, &DESTINATION_SCHEMES)
}

/// Where a live feed is pulled from.
pub(super) fn input_url(text: &str) -> Result<(), String> {
    url(text, &INPUT_SCHEMES)
}

fn url(text: &str, schemes: &[&str]) -> Result<(), String> {
    if text.len() > MAX_URL {
        return Err(format!("must not be longer than {MAX_URL} bytes"));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("must not contain white space or control characters".to_owned());
    }
    let allowed = || {
        let list: Vec<_> = schemes.iter().map(|s| format!("{s}://")).collect();
        format!("must begin with one of {}", list.join(", "))
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(allowed)?;
    if !schemes.contains(&scheme) {
        return Err(allowed());
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(
            "must not contain a user name or password: it would be seen in `ps` and in status \
             (live inputs take \"user\" and \"password_env\")"
                .to_owned(),
        );
    }
    if holds_passphrase(rest) {
        return Err("must not contain a passphrase: it would be seen in `ps` and in status".into());
    }
    host_and_port(authority)
}

/// A query parameter of libsrt's, or one that calls itself a password.
fn holds_passphrase(rest: &str) -> bool {
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    query.split(['&', ';']).any(|pair| {
        let name = pair
            .split('=')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        matches!(name.as_str(), "passphrase" | "password" | "passwd" | "pass")
    })
}

fn host_and_port(authority: &str) -> Result<(), String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (host, after) = v6.split_once(']').ok_or("the host lacks its ']'")?;
            (
                host,
                after.strip_prefix(':').or(after.is_empty().then_some("")),
            )
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port).filter(|p| !p.is_empty())),
            None => (authority, Some("")),
        },
    };
    if host.is_empty() {
        return Err("must name a host".to_owned());
    }
    match port {
        Some("") => Ok(()),
        Some(port) if port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(()),
        _ => Err("the port must be a number from 1 to 65535".to_owned()),
    }
}

/// Notes names that an earlier element of the array at `path` has.
pub(super) fn unique<'n>(notes: &Notes, path: &str, names: impl Iterator<Item = &'n str>) {
    let mut seen: Vec<&str> = Vec::new();
    for (i, name) in names.enumerate() {
        if let Some(first) = seen.iter().position(|n| *n == name && !n.is_empty()) {
            let message = format!("{name:?} is the name of {path}[{first}] already");
            notes.add(format!("{path}[{i}].name"), message);
        }
        seen.push(name);
    }
}
