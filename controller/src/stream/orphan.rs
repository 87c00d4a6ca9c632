//! Workers of streams that no longer exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use storage::model::StreamId;
use supervise::watch::Watched;

use super::adopt::{self, Found, Holders};
use super::group;
use crate::config::Config;

/// Endings of the files a worker has in `RUNTIME_DIR`.
const ENDINGS: &[&str] = &[".lease", ".sock", ".job.json", ".exit.json"];

/// Ends every worker, in the runtime directory, in a control group, or among those that were `started`, whose
/// stream is not among `known`, and removes what it left there.
pub(crate) async fn end_orphans(
    settings: &Config,
    known: &BTreeSet<StreamId>,
    mut started: BTreeMap<StreamId, Vec<Watched>>,
) {
    let groups = group::all(settings.cgroup.as_ref()).into_iter();
    let mut ids = traces(&settings.layout.runtime_dir);
    ids.extend(groups.map(|(id, _)| id));
    ids.extend(started.keys().cloned());
    let orphans = ids.into_iter().filter(|id| !known.contains(id)).map(|id| {
        let started = started.remove(&id).unwrap_or_default();
        end_orphan(settings, id, started)
    });
    futures_util::future::join_all(orphans).await;
}

async fn end_orphan(settings: &Config, id: StreamId, started: Vec<Watched>) {
    // Proven or not, none of it is wanted; looking waits for one that is being born.
    let holders = match adopt::look(settings, &id, None, started).await {
        Found::Foreign { holders, .. } => holders,
        Found::Nothing => Holders::find(settings, &id),
        Found::Worker(worker) => {
            let mut holders = Holders::find(settings, &id);
            holders.add([worker.watched]);
            holders.add(worker.others.into_processes());
            holders
        }
    };
    let pids = holders.pids();
    if !pids.is_empty() {
        tracing::warn!(stream_id = %id, ?pids, "ending the worker of a stream that no longer exists");
    }
    holders.end().await;
    let layout = &settings.layout;
    for path in [
        layout.socket(&id),
        layout.job(&id),
        layout.exit(&id),
        layout.lease(&id),
    ] {
        // Whatever cannot be removed is looked at again at the next start.
        let _ = tokio::fs::remove_file(path).await;
    }
}

/// Streams that have files of a worker.
pub(super) fn traces(runtime_dir: &Path) -> BTreeSet<StreamId> {
    let Ok(entries) = std::fs::read_dir(runtime_dir) else {
        return BTreeSet::new();
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name();
            let name = name.to_str()?;
            let id = ENDINGS
                .iter()
                .find_map(|ending| name.strip_suffix(ending))?;
            id.parse().ok()
        })
        .collect()
}
