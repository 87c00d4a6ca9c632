//! `scripts/bench.sh`: what the on-air chain costs and how it looks to a viewer, as one table.
//!
//! Everything is measured in one run on one machine, and where a bare `ffmpeg -re -c copy` to the
//! same receiver does the same work, the ratio to it is what counts. Exits 1 when a bar is missed.
//! `bench cost`, `picture`, `calls`, `hooks`, `live` and `obs` measure a part.

mod calls;
mod cost;
mod hooks;
mod live;
mod obs;
mod picture;
mod table;

use std::env;
use std::process::ExitCode;

use self::table::Table;

fn main() -> ExitCode {
    let mut table = Table::new();
    let asked: Vec<String> = env::args().skip(1).collect();
    type Part = (&'static str, fn(&mut Table));
    let parts: [Part; 6] = [
        ("cost", cost::measure),
        ("picture", picture::measure),
        ("calls", calls::measure),
        ("hooks", hooks::measure),
        ("live", live::measure),
        ("obs", obs::measure),
    ];
    for (name, measure) in parts {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            measure(&mut table);
        }
    }
    table.print()
}
