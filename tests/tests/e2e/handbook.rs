//! The operator's pages say the truth about settings, log messages, error types and codes of the API.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use e2e::controller::{binary, repository};
use e2e::process;

const CRATES: [&str; 5] = ["controller", "worker", "supervise", "storage", "ingest"];
/// For destinations of a first try, and for the scripts: no settings of the controller.
const ONLY_NAMED: [&str; 3] = ["YOUTUBE_STREAM_KEY", "TWITCH_STREAM_KEY", "CONTROLLER_URL"];

#[test]
fn every_setting_is_in_the_template_and_on_the_page_and_the_other_way_round() {
    let limit = Duration::from_secs(20);
    let help = process::run(binary("stream-controller"), &["--help"], limit).unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let flags = page("controller/src/config/flags.rs");
    let (_, secrets) = flags.split_once("pub const SECRETS").unwrap();
    let (secrets, _) = secrets.split_once("];").unwrap();
    let mut known: BTreeSet<String> = after(&help, "[env: ", ']').collect();
    known.extend(strings(secrets));
    assert!(known.len() > 40, "{known:?}");

    let template: BTreeSet<String> = page(".env.example")
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once('='))
        .map(|(name, _)| name.to_owned())
        .filter(|name| is_variable(name))
        .collect();
    let configuration = page("docs/configuration.md");
    let (settings, _) = configuration.split_once("\n## Streams").unwrap();
    let rows = settings.lines().filter_map(|line| line.strip_prefix("| `"));
    let table: BTreeSet<String> = rows
        .flat_map(|row| quoted(&format!("`{}", row.split('|').next().unwrap_or_default())))
        .filter(|name| is_variable(name))
        .collect();
    for (what, named) in [(".env.example", template), ("docs/configuration.md", table)] {
        let missing: Vec<_> = known.difference(&named).collect();
        assert!(missing.is_empty(), "not in {what}: {missing:?}");
        let unknown = named.difference(&known);
        let unknown: Vec<_> = unknown
            .filter(|n| !ONLY_NAMED.contains(&n.as_str()))
            .collect();
        assert!(
            unknown.is_empty(),
            "in {what}, and nothing reads it: {unknown:?}"
        );
    }
}

#[test]
fn every_warning_error_type_and_code_is_on_the_page_on_troubleshooting() {
    let troubleshooting = page("docs/troubleshooting.md");
    let mut entries = quoted(&troubleshooting);
    entries.extend(
        troubleshooting
            .split('*')
            .skip(1)
            .step_by(2)
            .map(str::to_owned),
    );
    let names =
        ["troubleshooting", "api", "obs", "mediamtx"].map(|name| page(&format!("docs/{name}.md")));
    let names: BTreeSet<String> = names.iter().flat_map(|page| quoted(page)).collect();
    let entries: Vec<Vec<String>> = entries.iter().map(|entry| pieces(entry)).collect();
    let (mut messages, mut types, mut untold) = (0, 0, Vec::new());
    for (path, text) in sources() {
        let calls = ["warn!(", "error!("].map(|name| arguments(&text, name));
        for call in calls.iter().flatten() {
            let message = strings(call).pop().unwrap_or_default();
            // What has a type is explained by that; FFmpeg's lines are FFmpeg's.
            if call.contains("error_type") || message.starts_with("[FFMPEG]") {
                continue;
            }
            messages += 1;
            let said = without_values(&message);
            let is_told = said.iter().map(|piece| piece.trim().len()).sum::<usize>() < 4
                || entries.iter().any(|entry| tells(entry, &said.join("…")));
            if !is_told {
                untold.push(format!("{path}: {message}"));
            }
        }
        for name in names_of_errors(&path, &text) {
            types += 1;
            if !names.contains(&name) {
                untold.push(format!("{path}: {name}"));
            }
        }
    }
    assert!(
        messages > 60 && types > 90,
        "{messages} and {types} were found"
    );
    assert!(
        untold.is_empty(),
        "not in docs/troubleshooting.md: {untold:#?}"
    );
}

/// Types of errors in a source, and codes of the API's refusals.
fn names_of_errors(path: &str, text: &str) -> BTreeSet<String> {
    let mut parts: Vec<&str> = Vec::new();
    for mark in ["error_type: \"", "error_type = \"", "_type: (\""] {
        parts.extend(
            text.split(mark)
                .skip(1)
                .filter_map(|rest| rest.split('"').next()),
        );
    }
    if path.starts_with("controller/src/api") {
        for rest in text.split("StatusCode::").skip(1) {
            let rest = rest.trim_start_matches(|c: char| c == '_' || c.is_ascii_uppercase());
            let rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
            parts.extend(
                rest.strip_prefix('"')
                    .and_then(|rest| rest.split('"').next()),
            );
        }
    }
    let mut names: BTreeSet<String> = parts.into_iter().map(str::to_owned).collect();
    for body in text.split("fn error_type(").skip(1) {
        names.extend(strings(body.split("\n    }\n").next().unwrap_or_default()));
    }
    names.retain(|name| name.contains('_') && name.chars().all(|c| c == '_' || c.is_lowercase()));
    names
}

fn page(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What the programs are made of, without their tests.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for name in CRATES {
        collect(&repository().join(name).join("src"), &mut found);
    }
    assert!(found.len() > 150, "{}", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder)
        .expect("a folder of the repository")
        .flatten()
    {
        let path = entry.path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        // The drill's own words are about its own channel.
        if is_test || path.ends_with("controller/src/drill") || path.ends_with("src/drill.rs") {
            continue;
        }
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source in UTF-8");
            let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
            let name = path.strip_prefix(repository()).unwrap_or(&path);
            found.push((name.display().to_string(), text[..end].to_owned()));
        }
    }
}

/// What stands between the parentheses of each call of a macro.
fn arguments<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let calls = text
        .match_indices(name)
        .map(|(at, _)| &text[at + name.len()..]);
    calls.map(|rest| &rest[..end_of_call(rest)]).collect()
}

fn end_of_call(text: &str) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' if !quoted && depth == 0 => return at,
            ')' | ']' | '}' if !quoted => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// The literals in a piece of source, line continuations joined.
fn strings(text: &str) -> Vec<String> {
    let (mut all, mut rest) = (Vec::new(), text);
    while let Some((_, opened)) = rest.split_once('"') {
        let (mut literal, mut chars) = (String::new(), opened.char_indices());
        let mut end = opened.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => literal.extend(chars.next().map(|(_, c)| c).filter(|c| *c != '\n')),
                c => literal.push(c),
            }
        }
        all.push(literal.split_whitespace().collect::<Vec<_>>().join(" "));
        rest = &opened[end..];
    }
    all
}

/// A message around its `{…}`.
fn without_values(message: &str) -> Vec<&str> {
    let parts = message.split('{');
    parts
        .map(|part| part.split_once('}').map_or(part, |(_, rest)| rest))
        .collect()
}

/// An entry around its `…`, and the `N` that stands for a number.
fn pieces(entry: &str) -> Vec<String> {
    let entry = entry.replace(" N ", " … ");
    let pieces = entry
        .split('…')
        .map(str::trim)
        .filter(|piece| !piece.is_empty());
    pieces.map(str::to_owned).collect()
}

fn tells(entry: &[String], message: &str) -> bool {
    let mut rest = message;
    entry.iter().map(String::len).sum::<usize>() >= 10
        && entry
            .iter()
            .all(|piece| match rest.split_once(piece.as_str()) {
                Some((_, after)) => {
                    rest = after;
                    true
                }
                None => false,
            })
}

fn quoted(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2));
    lines.map(str::to_owned).collect()
}

fn after<'a>(text: &'a str, mark: &'a str, end: char) -> impl Iterator<Item = String> + 'a {
    let rests = text.split(mark).skip(1);
    rests.filter_map(move |rest| rest.split(end).next().map(str::to_owned))
}

fn is_variable(name: &str) -> bool {
    name.len() > 2 && name.chars().all(|c| c == '_' || c.is_ascii_uppercase())
}
