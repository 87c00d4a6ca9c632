//! Reads what `GET /metrics` says as Prometheus would, and refuses what `promtool check metrics` does.

use std::collections::{BTreeMap, BTreeSet};

/// What one answer says: each family's samples, by their labels as written.
#[derive(Debug, Default)]
pub struct Scrape {
    samples: BTreeMap<String, BTreeMap<String, f64>>,
}

impl Scrape {
    /// Reads `text`.
    ///
    /// # Panics
    /// When a family has no help or no type, comes twice or is interrupted by another, when a name or a
    /// label is not of the format, when a counter is not called `_total` or something else is, when a
    /// sample comes twice or is no number.
    pub fn read(text: &str) -> Self {
        let mut scrape = Self::default();
        let mut helped = BTreeSet::new();
        let mut family = "";
        assert!(text.ends_with('\n'), "the last line is not ended");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help");
                assert!(!help.trim().is_empty() && helped.insert(name), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert!(helped.contains(name), "no help before {line}");
                assert!(["gauge", "counter"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(is_name(name), "{line}");
                let again = scrape.samples.insert(name.to_owned(), BTreeMap::new());
                assert!(again.is_none(), "a second time: {line}");
                family = name;
            } else {
                let (name, labels, value) = sample(line);
                assert_eq!(name, family, "outside of its family: {line}");
                let samples = scrape.samples.get_mut(family).expect("just inserted");
                assert!(samples.insert(labels, value).is_none(), "twice: {line}");
            }
        }
        scrape
    }

    /// The value of one sample; `labels` as they are written, in the order of the text.
    ///
    /// # Panics
    /// When there is no such sample.
    pub fn value(&self, family: &str, labels: &str) -> f64 {
        let name = format!("stream_controller_{family}");
        let value = self.samples.get(&name).and_then(|all| all.get(labels));
        *value.unwrap_or_else(|| panic!("no {name}{{{labels}}} in {:#?}", self.samples.get(&name)))
    }

    /// No counter of `before` is greater than here, or gone.
    ///
    /// # Panics
    /// When one is.
    pub fn assert_grown_since(&self, before: &Self) {
        let counters = |name: &&String| name.ends_with("_total");
        for name in before.samples.keys().filter(counters) {
            for (labels, was) in &before.samples[name] {
                let now = self.samples.get(name).and_then(|all| all.get(labels));
                assert!(
                    now.is_some_and(|now| now >= was),
                    "{name}{{{labels}}} was {was} and is {now:?}"
                );
            }
        }
    }
}

/// Name, labels and value of a line.
fn sample(line: &str) -> (&str, String, f64) {
    let (head, value) = line.rsplit_once(' ').expect("a value");
    let value: f64 = value
        .parse()
        .unwrap_or_else(|_| panic!("no number: {line}"));
    let Some((name, labels)) = head.split_once('{') else {
        return (head, String::new(), value);
    };
    let labels = labels.strip_suffix('}').expect("labels are closed");
    let mut names = BTreeSet::new();
    for (label, text) in pairs(labels) {
        assert!(is_name(label) && !label.contains(':'), "{line}");
        assert!(!label.starts_with("__") && !text.is_empty(), "{line}");
        assert!(names.insert(label), "a label twice: {line}");
    }
    (name, labels.to_owned(), value)
}

/// Names and values of labels; a quote in a value is escaped.
fn pairs(mut labels: &str) -> Vec<(&str, &str)> {
    let mut pairs = Vec::new();
    while !labels.is_empty() {
        let (name, rest) = labels.split_once("=\"").expect("name and quote");
        let mut escaped = false;
        let end = rest.find(|character| {
            let ends = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        });
        let end = end.expect("a closing quote");
        pairs.push((name, &rest[..end]));
        labels = rest[end + 1..].trim_start_matches(',');
    }
    pairs
}

fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}
