//! Every ten seconds: what each stream and destination does, and what it costs.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use storage::history::Sample;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::processes::{Processes, Usage};
use crate::history::History;
use crate::registry::Registry;
use crate::stream::StreamStatus;

mod processes;

const EVERY: Duration = Duration::from_secs(10);

/// Samples until it is dropped.
pub(super) async fn run(registry: Registry, history: History) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = None;
    loop {
        ticks.tick().await;
        let statuses = registry.statuses();
        if statuses.iter().all(|status| status.pid.is_none()) {
            before = None;
            continue;
        }
        let now = tokio::task::spawn_blocking(Processes::look)
            .await
            .expect("reading /proc does not panic");
        let at = Instant::now();
        let usage: BTreeMap<u32, Usage> = statuses
            .iter()
            .filter_map(|status| status.pid)
            .map(|pid| {
                let before = before
                    .as_ref()
                    .map(|(table, then): &(_, Instant)| (table, at - *then));
                (pid, now.usage(pid, before))
            })
            .collect();
        before = Some((now, at));
        let samples = statuses.iter().flat_map(|status| {
            let usage = status.pid.and_then(|pid| usage.get(&pid).copied());
            usage.map_or_else(Vec::new, |usage| samples(status, usage))
        });
        history.samples(samples.collect());
    }
}

/// The stream's own, then one for each destination. The times are filled in by the history.
fn samples(status: &StreamStatus, usage: Usage) -> Vec<Sample> {
    let empty = Sample {
        stream: status.stream_id.clone(),
        destination: None,
        ms: 0,
        at: Timestamp::UNIX_EPOCH,
        state: None,
        bitrate_kbps: None,
        dropped_frames: None,
        cpu_percent: None,
        memory_bytes: None,
        rtt_ms: None,
        unacked_bytes: None,
    };
    let destinations = status.destinations.iter().map(|to| Sample {
        destination: Some(to.name.clone()),
        state: Some(to.state),
        bitrate_kbps: Some(to.bitrate_kbps),
        dropped_frames: Some(to.dropped_frames),
        rtt_ms: to.rtt_ms,
        unacked_bytes: to.unacked_bytes,
        ..empty.clone()
    });
    let own = Sample {
        cpu_percent: usage.cpu_percent,
        memory_bytes: Some(usage.memory_bytes),
        ..empty.clone()
    };
    std::iter::once(own).chain(destinations).collect()
}
