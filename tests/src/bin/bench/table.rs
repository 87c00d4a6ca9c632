//! Rows, bars, and the machine they were measured on.

use std::fs;
use std::process::{Command, ExitCode};

/// The measurements so far.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Row>,
    /// Of the machine, before anything was measured.
    load: String,
}

#[derive(Debug)]
struct Row {
    what: &'static str,
    bare: String,
    ours: String,
    bar: String,
    met: bool,
}

impl Table {
    pub(crate) fn new() -> Self {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or_default().to_owned();
        let rows = Vec::new();
        Self { rows, load }
    }

    /// A measurement that must not exceed `bar`.
    pub(crate) fn at_most(&mut self, what: &'static str, ours: f64, bar: f64, unit: &str) {
        self.rows.push(Row {
            what,
            bare: "–".into(),
            ours: amount(ours, unit),
            bar: format!("≤ {}", amount(bar, unit)),
            met: ours <= bar,
        });
    }

    /// A measurement compared with bare FFmpeg's, which may be at most `bar` times as much.
    pub(crate) fn ratio(&mut self, what: &'static str, bare: f64, ours: f64, bar: f64, unit: &str) {
        let ratio = ours / bare;
        self.rows.push(Row {
            what,
            bare: amount(bare, unit),
            ours: format!("{} ({ratio:.2}×)", amount(ours, unit)),
            bar: format!("≤ {bar}×"),
            met: ratio <= bar,
        });
    }

    /// A measurement without a bar.
    pub(crate) fn note(&mut self, what: &'static str, ours: f64, unit: &str) {
        self.rows.push(Row {
            what,
            bare: "–".into(),
            ours: amount(ours, unit),
            bar: "–".into(),
            met: true,
        });
    }

    /// What this machine lacks something for.
    pub(crate) fn skipped(&mut self, what: &'static str, why: &str) {
        self.rows.push(Row {
            what,
            bare: "–".into(),
            ours: format!("SKIPPED: {why}"),
            bar: "–".into(),
            met: true,
        });
    }

    /// Adds bare FFmpeg's amount to the row before, for comparison.
    pub(crate) fn against(&mut self, bare: f64, unit: &str) {
        if let Some(row) = self.rows.last_mut() {
            row.bare = amount(bare, unit);
        }
    }

    /// Prints all of it.
    #[expect(clippy::print_stdout, reason = "the table is what the program is for")]
    pub(crate) fn print(&self) -> ExitCode {
        println!("{} Load before: {}.\n", machine(), self.load);
        println!("| | bare FFmpeg | stream-controller | bar | |");
        println!("| --- | --- | --- | --- | --- |");
        for row in &self.rows {
            let verdict = if row.met { "✓" } else { "**missed**" };
            let Row {
                what,
                bare,
                ours,
                bar,
                ..
            } = row;
            println!("| {what} | {bare} | {ours} | {bar} | {verdict} |");
        }
        match self.rows.iter().all(|row| row.met) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }
}

fn amount(value: f64, unit: &str) -> String {
    let digits = if value.fract() == 0.0 || value >= 100.0 {
        0
    } else {
        2
    };
    let text = format!("{value:.digits$} {unit}");
    text.trim_end().to_owned()
}

/// Processor, memory, kernel and FFmpeg.
fn machine() -> String {
    let field = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default();
        line.split_once(':')
            .map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field("/proc/meminfo", "MemTotal");
    let kib: f64 = memory
        .split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0.0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version = Command::new("ffmpeg").arg("-version").output();
    let version = version.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    let version = version.unwrap_or_default();
    let version: Vec<&str> = version.split(' ').take(3).collect();
    format!(
        "Measured on {cores} cores of {}, {:.0} GiB, Linux {}, {}.",
        field("/proc/cpuinfo", "model name"),
        kib / 1_048_576.0,
        kernel.trim(),
        version.join(" "),
    )
}
