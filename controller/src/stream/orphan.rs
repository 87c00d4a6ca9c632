//! Workers of streams that no longer exist.

use std::collections::BTreeSet;
use std::path::Path;

use storage::layout::Layout;
use storage::model::StreamId;

use super::adopt::{self, Found};

/// Endings of the files a worker has in `RUNTIME_DIR`.
const ENDINGS: &[&str] = &[".lease", ".sock", ".job.json", ".exit.json"];

/// Ends every worker in the runtime directory whose stream is not among `known`, and removes what it
/// left there.
pub(crate) async fn end_orphans(layout: &Layout, known: &BTreeSet<StreamId>) {
    let orphans = found(&layout.runtime_dir)
        .into_iter()
        .filter(|id| !known.contains(id))
        .map(|id| end_orphan(layout, id));
    futures_util::future::join_all(orphans).await;
}

async fn end_orphan(layout: &Layout, id: StreamId) {
    let processes = match adopt::look(layout, &id, None).await {
        Found::Nothing => Vec::new(),
        Found::Worker(worker) => vec![worker.watched],
        Found::Foreign { processes, .. } => processes,
    };
    if !processes.is_empty() {
        let pids: Vec<_> = processes.iter().map(|process| process.pid()).collect();
        tracing::warn!(stream_id = %id, ?pids, "ending the worker of a stream that no longer exists");
        adopt::end(processes).await;
    }
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

fn found(runtime_dir: &Path) -> BTreeSet<StreamId> {
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
