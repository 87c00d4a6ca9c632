//! What will air is rehearsed by `programme` with what is known here: the listing, the lengths that
//! were looked into, the worker's report and the position it has written.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use programme::rehearse::{Airing, Finding, Rehearsal, Running, Window, rehearse};
use programme::{FormatChoice, Lineup, ListedObject, Standing, StreamFormat, fit};
use storage::document::{self, Opened};
use storage::layout::Layout;
use storage::media::{MediaError, MediaObject, MediaStore};
use storage::model::report::OnAirKind;
use storage::model::{OnAir, PositionFile, StreamConfig, StreamId};

use super::super::error::ApiError;
use super::super::media::Prober;
use super::{MAX_ROWS, WindowQuery};
use crate::media::probe::Outcome;
use crate::registry::Registry;

/// The answer is sent after this, with the lengths that are known by then.
const PATIENCE: Duration = Duration::from_millis(3000);
/// The longest window.
const LONGEST: SignedDuration = SignedDuration::from_hours(31 * 24);
/// What is further ahead than this is not rehearsed.
const FURTHEST: SignedDuration = SignedDuration::from_hours(92 * 24);
const DEFAULT_WINDOW: SignedDuration = SignedDuration::from_hours(24);
const DEFAULT_ROWS: usize = 1_000;

/// Everything an answer is made of.
pub(super) struct Rehearsed {
    pub(super) config: StreamConfig,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) pending: usize,
    pub(super) rehearsal: Rehearsal,
    /// When the first of the airings took the air, where that is on air now.
    pub(super) began: Option<Timestamp>,
}

/// What the store has of a programme.
struct Listed {
    objects: Vec<MediaObject>,
    findings: BTreeMap<String, Finding>,
    pending: usize,
}

/// Rehearses what `query` asks for.
pub(super) async fn rehearsed(
    registry: &Registry,
    store: &MediaStore,
    prober: &Prober,
    layout: &Layout,
    id: &StreamId,
    query: &WindowQuery,
) -> Result<Rehearsed, ApiError> {
    let now = Timestamp::now();
    let config = registry.get_config(id)?;
    let status = registry.status(id)?;
    let (from, to) = window(query, now)?;
    let format = status.format.or(match config.format {
        FormatChoice::Fixed(format) => Some(format),
        FormatChoice::Auto => None,
    });
    let listed = look(store, prober, &config, format.as_ref()).await?;
    let path = layout.position(id);
    let rows = query.limit.unwrap_or(DEFAULT_ROWS).clamp(10, MAX_ROWS);
    let programme = config.programme.clone();
    let zone = time_zone(&config);
    let pending = listed.pending;
    let on_air = status
        .on_air
        .filter(|on_air| on_air.kind == OnAirKind::Programme);
    let since = on_air.as_ref().map(|on_air| on_air.since);
    let running = on_air.and_then(|on_air| running(on_air, status.last_health_check, now));
    let key = running.as_ref().map(|running| running.key.clone());
    let work = move || {
        let objects: Vec<ListedObject> =
            listed.objects.iter().map(MediaObject::to_listed).collect();
        let lineup = Lineup::resolve(&programme, zone, &objects);
        let window = Window {
            at: now,
            standing: standing(&path),
            running,
            from,
            to,
            rows,
        };
        rehearse(&lineup, &window, &|object| {
            let found = listed.findings.get(&object.key);
            found.cloned().unwrap_or(Finding::NotLookedInto)
        })
    };
    let rehearsal = tokio::task::spawn_blocking(work)
        .await
        .expect("a rehearsal does not panic");
    let is_on_air = |first: &Airing| first.begins == now && first.key == key;
    let began = since.filter(|_| rehearsal.airings.first().is_some_and(is_on_air));
    Ok(Rehearsed {
        config,
        from,
        to,
        pending,
        rehearsal,
        began,
    })
}

fn window(query: &WindowQuery, now: Timestamp) -> Result<(Timestamp, Timestamp), ApiError> {
    let invalid =
        |message: &str| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_window", message);
    let from = query.from.unwrap_or(now).max(now);
    let to = match query.to {
        Some(to) => to,
        None => from
            .checked_add(DEFAULT_WINDOW)
            .map_err(|_| invalid("from is too far ahead"))?,
    };
    if to <= from {
        return Err(invalid(
            "to must be after from, and after now: what has aired is in the history",
        ));
    }
    if to.duration_since(from) > LONGEST {
        return Err(invalid("to must be at most 31 days after from"));
    }
    if to.duration_since(now) > FURTHEST {
        return Err(invalid("to must be at most 92 days ahead"));
    }
    Ok((from, to))
}

pub(super) fn time_zone(config: &StreamConfig) -> Option<TimeZone> {
    let schedule = config.programme.schedule.as_ref()?;
    // It was checked when the configuration was read.
    TimeZone::get(&schedule.timezone).ok()
}

/// How things stood when the worker wrote it down last; at the beginning, where it did not.
fn standing(path: &std::path::Path) -> Standing {
    let file = match document::read::<PositionFile>(path) {
        Ok(Opened::Loaded { value, .. }) => Some(value),
        Ok(Opened::Corrupt(corrupt)) => corrupt.last_good.map(|copy| copy.value),
        Ok(Opened::Absent) | Err(_) => None,
    };
    file.map(PositionFile::into_standing).unwrap_or_default()
}

/// Where the item on air has got to `now`, having been seen at an earlier moment.
fn running(on_air: OnAir, seen_at: Option<Timestamp>, now: Timestamp) -> Option<Running> {
    let unseen_s = seen_at.map_or(0.0, |at| now.duration_since(at).as_secs_f64());
    let position_s = on_air.position_s + unseen_s.max(0.0);
    Some(Running {
        key: on_air.item?,
        block: on_air.block,
        position_s: on_air
            .duration_s
            .map_or(position_s, |length_s| position_s.min(length_s)),
        duration_s: on_air.duration_s,
    })
}

async fn look(
    store: &MediaStore,
    prober: &Prober,
    config: &StreamConfig,
    format: Option<&StreamFormat>,
) -> Result<Listed, ApiError> {
    let until = tokio::time::Instant::now() + PATIENCE;
    let objects = list_prefixes(store, config).await?;
    let outcomes = prober.probe(&objects, until).await;
    let pending = outcomes.iter().filter(|outcome| outcome.is_none()).count();
    let findings = objects.iter().zip(outcomes);
    let findings = findings
        .filter_map(|(object, outcome)| Some((object.key.clone(), finding(outcome?, format))))
        .collect();
    Ok(Listed {
        objects,
        findings,
        pending,
    })
}

fn finding(outcome: Outcome, format: Option<&StreamFormat>) -> Finding {
    match outcome {
        Outcome::Media(info) => {
            let fit = fit::fit(&info, format.unwrap_or(&StreamFormat::default()));
            match fit {
                fit::Fit::Unplayable { reason } => Finding::Unplayable(reason),
                fit::Fit::Copy | fit::Fit::Transcode { .. } => Finding::Plays(info.duration_s),
            }
        }
        Outcome::NotMedia(reason) => Finding::Unplayable(reason),
        Outcome::Failed(_) => Finding::NotLookedInto,
    }
}

pub(super) async fn list_prefixes(
    store: &MediaStore,
    config: &StreamConfig,
) -> Result<Vec<MediaObject>, MediaError> {
    let mut objects = Vec::new();
    for prefix in config.programme.prefixes() {
        objects.extend(store.list(&prefix).await?);
    }
    Ok(objects)
}
