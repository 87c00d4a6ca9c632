//! The media store: does it answer, and is there anything in it to play.

use std::time::Duration;

use indicatif::BinaryBytes;
use programme::playlist::{ListedObject, Playlist};
use storage::media::server::MediaServer;
use storage::media::{MediaErrorKind, MediaObject, MediaStore};
use storage::model::StreamConfig;
use tokio::time::{Instant, timeout, timeout_at};

use super::Finding;
use super::slate::{self, told};
use crate::config::Config;
use crate::media::probe::{self, Outcome};

/// The probe of an item has to fit into what is left.
const LIST_LIMIT: Duration = Duration::from_secs(5);
/// So many items are looked into for one that plays.
const LOOKED_INTO: usize = 3;
/// Requests signed by a clock that is further off are refused by S3 at a quarter of an hour.
const TOLERATED_SKEW_S: u64 = 60;

/// What the store holds, or why that is not known.
#[derive(Debug)]
pub(super) struct Listing {
    store: Option<MediaStore>,
    objects: Result<Vec<MediaObject>, String>,
    /// How far the store's clock is ahead of this machine's, where it told its time.
    ahead_s: Option<i64>,
}

// === impl Listing ===

impl Listing {
    pub(super) async fn take(config: &Config) -> Self {
        let opened = MediaStore::open(&config.storage, config.storage_keys.clone()).await;
        let store = match opened {
            Ok(store) => store,
            Err(error) => {
                return Self {
                    store: None,
                    ahead_s: None,
                    objects: Err(told(&error)),
                };
            }
        };
        let (objects, ahead_s) = match timeout(LIST_LIMIT, store.list("")).await {
            Ok(Ok(objects)) => (Ok(objects), store.server_ahead_s().await),
            Ok(Err(error)) => {
                let ahead_s = match error.kind {
                    MediaErrorKind::ClockSkew { server_ahead_s } => server_ahead_s,
                    _ => None,
                };
                (Err(told(&error)), ahead_s)
            }
            Err(_) => {
                let limit = LIST_LIMIT.as_secs();
                let message = format!(
                    "the store was not listed within {limit} s: it does not answer (check \
                     STORAGE_ENDPOINT and the firewall, or the disk of STORAGE_LOCAL_DIR), or it is slow \
                     or very large (STORAGE_PREFIX)"
                );
                (Err(message), None)
            }
        };
        Self {
            store: Some(store),
            objects,
            ahead_s,
        }
    }
}

/// Looks at the store with the eyes of one stream.
pub(super) async fn look(
    config: &Config,
    listing: &Listing,
    stream: &StreamConfig,
    until: Instant,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &listing.objects {
        Ok(objects) if objects.is_empty() => findings.push(Finding::doubtful(
            "media",
            "the store answers and holds nothing that can be played: the slate would be on air. \
             Upload with `stream-controller media upload FILE`",
        )),
        Ok(objects) => {
            let total = objects.iter().map(|object| object.size_bytes).sum();
            let count = objects.len();
            findings.push(Finding::fine(
                "media",
                format_args!("{count} playable objects, {}", BinaryBytes(total)),
            ));
        }
        Err(error) => findings.push(Finding::missing("media", error)),
    }
    findings.extend(listing.ahead_s.map(skew));
    if let (Some(store), Ok(objects)) = (&listing.store, &listing.objects) {
        match MediaServer::start(store.clone()).await {
            Ok(server) => {
                let (item, slate) = tokio::join!(
                    item(config, &server, objects, stream, until),
                    slate::look(config, store, &server, stream.slate.as_ref(), until)
                );
                findings.extend(item);
                findings.push(slate);
            }
            Err(error) => findings.push(Finding::doubtful(
                "item",
                format_args!("no port of 127.0.0.1 to read through: {error}"),
            )),
        }
    }
    findings
}

fn skew(ahead_s: i64) -> Finding {
    if ahead_s.unsigned_abs() <= TOLERATED_SKEW_S {
        return Finding::fine(
            "media-clock",
            "this machine's clock agrees with the store's",
        );
    }
    let (by, how) = (
        ahead_s.unsigned_abs(),
        if ahead_s > 0 { "behind" } else { "ahead of" },
    );
    Finding::missing(
        "media-clock",
        format_args!(
            "this machine's clock is {by} s {how} the store's; above 15 min it refuses what is \
             signed here: timedatectl set-ntp true"
        ),
    )
}

/// At least one item of the programme that can be read as media.
async fn item(
    config: &Config,
    server: &MediaServer,
    objects: &[MediaObject],
    stream: &StreamConfig,
    until: Instant,
) -> Option<Finding> {
    if objects.is_empty() {
        return None;
    }
    let listed: Vec<ListedObject> = objects.iter().map(MediaObject::to_listed).collect();
    let (playlist, missing) = Playlist::resolve(&stream.programme, &listed);
    let keys: Vec<&str> = playlist.objects().iter().map(|o| o.key.as_str()).collect();
    if keys.is_empty() {
        let named = missing.first().map_or_else(
            || "no object of the store is in the programme's prefixes".to_owned(),
            |key| format!("{key} and everything else the programme names is not in the store"),
        );
        return Some(Finding::missing(
            "item",
            format_args!("{named}: the slate would be on air. Upload, or correct programme.items"),
        ));
    }
    let looks = async {
        let mut last = None;
        for key in keys.iter().take(LOOKED_INTO) {
            let outcome = probe::look(&config.ffprobe_bin, server, key).await;
            if matches!(outcome, Outcome::Media(_)) {
                return Finding::fine("item", format_args!("{key} can be played"));
            }
            last = Some((*key, outcome));
        }
        not_playable(keys.len(), last)
    };
    Some(timeout_at(until, looks).await.unwrap_or_else(|_| {
        Finding::doubtful(
            "item",
            "none was read in time: a slow store, or a busy machine. The stream tries for longer",
        )
    }))
}

fn not_playable(items: usize, last: Option<(&str, Outcome)>) -> Finding {
    let (key, why, hint) = match last {
        Some((key, Outcome::NotMedia(why))) => (key, why, "Upload again, whole"),
        // The way there failed, or ffprobe: nothing is known of the file.
        Some((key, Outcome::Failed(why))) => (key, why, "See what else is told here"),
        Some((key, Outcome::Media(_))) => (key, String::new(), ""),
        None => ("", String::new(), ""),
    };
    let looked_into = items.min(LOOKED_INTO);
    Finding::missing(
        "item",
        format_args!(
            "none of the first {looked_into} of {items} items can be read; {key}: {why}. {hint}, or \
             look at GET /media"
        ),
    )
}
