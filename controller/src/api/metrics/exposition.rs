//! The text exposition format, version 0.0.4.

use std::fmt::{self, Display, Write};

const PREFIX: &str = "stream_controller_";

/// The text as it grows. Writing into a `String` cannot fail.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

/// Whether a number may fall.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Gauge,
    Counter,
}

/// A label's value, with what would end it escaped.
struct Escaped<'a>(&'a str);

// === impl Exposition ===

impl Exposition {
    /// Begins a family: its samples follow, and those of no other.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        self.line(format_args!("# HELP {PREFIX}{name} {help}"));
        self.line(format_args!("# TYPE {PREFIX}{name} {kind}"));
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", Escaped(value)))
            .collect::<Vec<_>>()
            .join(",");
        if labels.is_empty() {
            self.line(format_args!("{PREFIX}{name} {value}"));
        } else {
            self.line(format_args!("{PREFIX}{name}{{{labels}}} {value}"));
        }
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("writing into memory does not fail");
    }
}

// === impl Escaped ===

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            other => f.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_label_is_escaped() {
        let mut to = Exposition::default();
        to.family("odd", Kind::Counter, "Of odd names.");
        to.sample("odd", &[("name", "a\\b\"c\nd"), ("of", "x")], 1);
        to.sample("odd", &[], 0.25);
        assert_eq!(
            to.into_text(),
            "# HELP stream_controller_odd Of odd names.\n\
             # TYPE stream_controller_odd counter\n\
             stream_controller_odd{name=\"a\\\\b\\\"c\\nd\",of=\"x\"} 1\n\
             stream_controller_odd 0.25\n"
        );
    }
}
