//! `scripts/bench.sh`: what the on-air chain costs and how it looks to a viewer, as one table.
//!
//! Everything is measured in one run on one machine, and where a bare `ffmpeg -re -c copy` to the
//! same receiver does the same work, the ratio to it is what counts. Exits 1 when a bar is missed.

mod calls;
mod cost;
mod picture;
mod table;

use std::process::ExitCode;

use self::table::Table;

fn main() -> ExitCode {
    let mut table = Table::default();
    cost::measure(&mut table);
    picture::measure(&mut table);
    calls::measure(&mut table);
    table.print()
}
