//! MediaMTX in front of us: which feeds it has, and who may publish and read there.
//!
//! Its hooks are hints: undo hooks are not ordered, and nobody tries one again that failed. The truth is
//! its control API, asked every second and at once after a hook. When a path a live input pulls
//! becomes usable, the stream's worker is told to look now.
//!
//! - [`paths`]: what the API answers, of today's versions and of 1.9; pure.
//! - [`permit`]: `authMethod: http`; pure, answered from memory.
//! - `client`: one GET.

mod client;
pub mod paths;
pub mod permit;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use storage::model::{ErrorReport, StreamId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use utoipa::ToSchema;

use self::client::{Client, ClientError};
use self::paths::{MediaPath, PathName};
use crate::config::MediaMtxConfig;
use crate::registry::Registry;

/// How often the paths are listed.
const LIST_EVERY: Duration = Duration::from_secs(1);
/// Hooks that may wait; a hook beyond them is as good as the next listing.
const HINTS: usize = 64;

/// Where hooks go and the status is read; clones are the same.
#[derive(Debug, Clone)]
pub struct MediaMtx {
    hints: mpsc::Sender<Hint>,
    status: watch::Receiver<Option<MediaMtxStatus>>,
}

/// What a hook says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// Of which path.
    pub path: PathName,
    /// A feed came, rather than went.
    pub ready: bool,
}

/// MediaMTX as an operator sees it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MediaMtxStatus {
    /// Whether its API answers.
    pub reachable: bool,
    /// Since when.
    pub since: Timestamp,
    /// Paths of the form `live/<stream>/in` and `live/<stream>/out`.
    pub paths: Vec<MediaPath>,
    /// Why it does not answer.
    pub error: Option<ErrorReport>,
}

struct Watcher {
    client: Client,
    registry: Registry,
    hints: mpsc::Receiver<Hint>,
    status: watch::Sender<Option<MediaMtxStatus>>,
    /// Usable at the last listing.
    usable: BTreeMap<StreamId, bool>,
}

/// Starts to watch, if there is anything to be watched. Hooks are taken either way.
pub fn start(
    config: Option<MediaMtxConfig>,
    registry: Registry,
    tasks: &mut JoinSet<()>,
) -> MediaMtx {
    let (hints_to, hints) = mpsc::channel(HINTS);
    let (status, status_seen) = watch::channel(None);
    match config {
        Some(config) => {
            let watcher = Watcher {
                client: Client::new(config),
                registry,
                hints,
                status,
                usable: BTreeMap::new(),
            };
            tasks.spawn(watcher.run());
        }
        None => {
            tasks.spawn(follow_hooks(registry, hints));
        }
    }
    MediaMtx {
        hints: hints_to,
        status: status_seen,
    }
}

/// Without an API to ask, a hook is all there is.
async fn follow_hooks(registry: Registry, mut hints: mpsc::Receiver<Hint>) {
    while let Some(hint) = hints.recv().await {
        if hint.ready && hint.path.is_feed() {
            look(&registry, &hint.path).await;
        }
    }
}

/// Has the stream's worker try the inputs that pull this path. A stream that does not run has none.
async fn look(registry: &Registry, path: &PathName) {
    let Ok(config) = registry.get_config(&path.stream) else {
        return;
    };
    for input in &config.live_inputs {
        if input
            .url
            .as_deref()
            .is_some_and(|url| path.is_pulled_by(url))
        {
            drop(registry.look(&path.stream, &input.name).await);
        }
    }
}

// === impl MediaMtx ===

impl MediaMtx {
    /// Takes what a hook says. Never waits: whoever called is MediaMTX.
    pub fn hint(&self, hint: Hint) {
        // A full channel has hints enough for a listing to follow.
        drop(self.hints.try_send(hint));
    }

    /// As of the last listing; `None` when no API is set, or before the first.
    pub fn status(&self) -> Option<MediaMtxStatus> {
        self.status.borrow().clone()
    }
}

// === impl Watcher ===

impl Watcher {
    async fn run(mut self) {
        let mut due = tokio::time::interval(LIST_EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = due.tick() => {}
                hint = self.hints.recv() => match hint {
                    // The feed is there before the API has it in its list: look first.
                    Some(hint) if hint.ready && hint.path.is_feed() => {
                        look(&self.registry, &hint.path).await;
                    }
                    Some(_) => {}
                    None => return,
                },
            }
            match self.client.paths().await {
                Ok(paths) => self.listed(paths).await,
                Err(error) => self.failed(&error),
            }
        }
    }

    async fn listed(&mut self, paths: Vec<MediaPath>) {
        let mut usable = BTreeMap::new();
        for path in paths.iter().filter(|path| path.name.is_feed()) {
            let before = self.usable.get(&path.name.stream).copied();
            if path.usable && before != Some(true) {
                tracing::info!(path = %path.name, "a feed is there");
                look(&self.registry, &path.name).await;
            }
            usable.insert(path.name.stream.clone(), path.usable);
        }
        for (stream, _) in self
            .usable
            .iter()
            .filter(|(id, was)| **was && usable.get(*id) != Some(&true))
        {
            tracing::info!(%stream, "its feed at MediaMTX has gone");
        }
        self.usable = usable;
        self.status.send_modify(|status| {
            let since = match status {
                Some(status) if status.reachable => status.since,
                _ => {
                    tracing::info!("MediaMTX answers");
                    Timestamp::now()
                }
            };
            *status = Some(MediaMtxStatus {
                reachable: true,
                since,
                paths,
                error: None,
            });
        });
    }

    fn failed(&self, error: &ClientError) {
        let report = error.report();
        self.status.send_modify(|status| {
            let known = status.as_ref().and_then(|status| status.error.as_ref());
            if known != Some(&report) {
                // Once for each trouble. Feeds go on: the worker reads them, not the API.
                let (error_type, hint) = (&report.error_type, &report.hint);
                tracing::warn!(error_type, hint, "{}", report.message);
            }
            let since = match status {
                Some(status) if !status.reachable => status.since,
                _ => Timestamp::now(),
            };
            *status = Some(MediaMtxStatus {
                reachable: false,
                since,
                paths: Vec::new(),
                error: Some(report),
            });
        });
    }
}
