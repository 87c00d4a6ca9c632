//! `GET /v1/events`: the report whenever something in it changed that a person would call news.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use futures_util::stream::{Stream, StreamExt, unfold};
use storage::model::WorkerReport;
use storage::model::report::AirCounters;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Control;

/// Sent at least this often, so that the reader knows the worker is there, and sees the counters.
const EVERY: Duration = Duration::from_secs(2);

/// The first report comes at once.
pub(super) async fn events(
    State(control): State<Arc<Control>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let news = unfold(News::new(control.port.report.clone()), async |mut news| {
        Some((news.next().await?, news))
    });
    let events = news.map(|report| {
        let event = Event::default().event("report");
        Ok(event.json_data(&report).unwrap_or_else(|error| {
            tracing::error!(%error, "a report cannot be written as JSON");
            Event::default().comment("a report is missing here")
        }))
    });
    Sse::new(events.take_until(control.end.clone().cancelled_owned()))
}

/// Follows the report of one reader.
struct News {
    report: watch::Receiver<WorkerReport>,
    last: Option<(WorkerReport, Instant)>,
}

impl News {
    fn new(report: watch::Receiver<WorkerReport>) -> Self {
        Self { report, last: None }
    }

    /// The next report worth sending; `None` once there will be none.
    async fn next(&mut self) -> Option<WorkerReport> {
        loop {
            let report = self.report.borrow_and_update().clone();
            let news = outline(&report);
            let now = Instant::now();
            let due = match &self.last {
                None => now,
                Some((sent, at)) if *sent == news => *at + EVERY,
                Some(_) => now,
            };
            if due <= now {
                self.last = Some((news, now));
                return Some(report);
            }
            tokio::select! {
                changed = self.report.changed() => changed.ok()?,
                () = tokio::time::sleep_until(due) => {}
            }
        }
    }
}

/// The report without what changes all the time.
fn outline(report: &WorkerReport) -> WorkerReport {
    let mut outline = report.clone();
    outline.counters = AirCounters::default();
    if let Some(on_air) = &mut outline.on_air {
        on_air.position_s = 0.0;
    }
    for destination in &mut outline.destinations {
        destination.sent_media_s = 0.0;
        destination.bytes_acked = None;
        destination.bitrate_kbps = 0;
        destination.dropped_frames = 0;
    }
    outline
}
