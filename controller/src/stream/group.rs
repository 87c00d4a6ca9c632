//! Workers' control groups: `w-<stream>-<generation>` below the unit's own, where that is delegated.
//!
//! On top of the lease, a group names its worker for every later controller, holds all that
//! descends from it, and tells when the last of it has ended. The next worker of a stream is started
//! only when no group of an earlier one has a process. Without delegation all of this is empty, and
//! lease, nonce and pidfd stand alone.

use std::time::Duration;

use storage::model::StreamId;
use supervise::cgroup::{Cgroup, Delegated};
use tokio::time::timeout;

/// A worker's FFmpegs die with it; what is still there after this is killed.
const PATIENCE: Duration = Duration::from_secs(1);
const PREFIX: &str = "w-";

/// Makes the group of a worker that is about to be started. A worker without one is as good, only
/// harder to find: so a refusal is told and no more.
pub(super) fn create(
    delegated: Option<&Delegated>,
    id: &StreamId,
    generation: u64,
) -> Option<Cgroup> {
    let name = format!("{PREFIX}{id}-{generation}");
    delegated?
        .create(&name)
        .inspect_err(|error| {
            tracing::warn!(stream_id = %id, %error, group = name, "the worker gets no control group of its own");
        })
        .ok()
}

/// Every worker's group there is, with its stream.
pub(super) fn all(delegated: Option<&Delegated>) -> Vec<(StreamId, Cgroup)> {
    let groups = delegated.map_or_else(Vec::new, Delegated::groups);
    groups
        .into_iter()
        .filter_map(|group| Some((stream_of(group.name())?, group)))
        .collect()
}

/// The groups of one stream's workers, of any generation.
pub(super) fn of(delegated: Option<&Delegated>, id: &StreamId) -> Vec<Cgroup> {
    let all = all(delegated).into_iter();
    all.filter(|(of, _)| of == id)
        .map(|(_, group)| group)
        .collect()
}

/// Waits until `group`, whose worker has ended, has no process, and removes it.
pub(super) async fn clear(group: Cgroup) {
    if timeout(PATIENCE, group.emptied()).await.is_err() {
        tracing::warn!(group = group.name(), "killing what a worker has left");
        if let Err(error) = group.kill() {
            tracing::warn!(%error, group = group.name(), "cannot kill a control group");
        }
        // Unbounded on purpose: what is left may still be publishing.
        if let Err(error) = group.emptied().await {
            tracing::warn!(%error, group = group.name(), "cannot watch a control group");
        }
    }
    remove(&group);
}

/// Removes an empty group; systemd removes what is left with the unit.
pub(super) fn remove(group: &Cgroup) {
    if let Err(error) = group.remove() {
        tracing::debug!(%error, group = group.name(), "an empty control group stays");
    }
}

fn stream_of(name: &str) -> Option<StreamId> {
    let (id, generation) = name.strip_prefix(PREFIX)?.rsplit_once('-')?;
    generation.parse::<u64>().ok()?;
    id.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_named_after_stream_and_generation() {
        let of = |name| stream_of(name).map(|id| id.to_string());
        assert_eq!(of("w-main-3").as_deref(), Some("main"));
        assert_eq!(of("w-a-b-2-17").as_deref(), Some("a-b-2"));
        for other in ["w-main", "w-main-x", "w--3", "main-3", "init.scope", ""] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
