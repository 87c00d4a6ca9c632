//! Answers out of the file.

use jiff::Timestamp;
use storage::history::{self, LiveSession, Row, Sample, SampleFilter, Table};
use storage::model::StreamId;

use super::Unavailable;
use super::axis::Instant;
use super::known::{Known, Stretch};
use super::report::{
    AskedIncidents, AskedMetrics, AskedTransitions, Incident, Incidents, Metric, Metrics, Point,
    Series, Transitions, Unrecorded, Uptime, Window,
};
use super::store::Store;
use super::transitions;
use super::uptime;

/// Points of one answer, of all its series together.
const MAX_POINTS: usize = 10_000;
/// Points of one series.
const SERIES_POINTS: i64 = 1_000;
const SAMPLE_EVERY_MS: i64 = 10_000;

/// A question with what is needed to answer it.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) now: Instant,
    pub(super) store: &'a mut Store,
}

// === impl Asked ===

impl Asked<'_> {
    pub(super) fn uptime(
        mut self,
        window: Window,
        stream: Option<StreamId>,
    ) -> Result<Uptime, Unavailable> {
        let stretch = self.stretch(window);
        let known = self.known(stretch)?;
        let rows = self.store.with(|database| {
            let mut rows = Vec::new();
            for table in Table::ALL {
                let Stretch { from_ms, to_ms } = stretch;
                rows.extend(database.intervals(table, from_ms, to_ms, stream.as_ref())?);
            }
            Ok(rows)
        })?;
        Ok(Uptime {
            window,
            from: self.wall(stretch.from_ms),
            to: self.now.at,
            unrecorded: self.unrecorded(&known),
            streams: uptime::sum_up(rows, &known),
        })
    }

    pub(super) fn incidents(mut self, asked: AskedIncidents) -> Result<Incidents, Unavailable> {
        let stretch = self.stretch(asked.window);
        let known = self.known(stretch)?;
        let Stretch { from_ms, to_ms } = stretch;
        let filter = history::Incidents {
            from_ms,
            to_ms,
            stream: asked.stream,
            destination: asked.destination,
            cause: asked.cause,
            limit: asked.limit + 1,
        };
        let rows = self.store.with(|database| database.incidents(&filter))?;
        let more = rows.len() > asked.limit;
        let rows = rows.iter().take(asked.limit);
        Ok(Incidents {
            window: asked.window,
            from: self.wall(from_ms),
            to: self.now.at,
            unrecorded: self.unrecorded(&known),
            more,
            incidents: rows.filter_map(|row| incident(row, to_ms)).collect(),
        })
    }

    pub(super) fn transitions(self, asked: AskedTransitions) -> Result<Transitions, Unavailable> {
        let Stretch { from_ms, to_ms } = self.stretch(asked.window);
        let stream = asked.stream.as_ref();
        // What began in this very millisecond is in it too.
        let rows = self
            .store
            .with(|database| database.intervals(Table::LiveSession, from_ms, to_ms + 1, stream))?;
        let mut sessions: Vec<LiveSession> = rows
            .into_iter()
            .filter_map(|row| match row {
                Row::LiveSession(session) => Some(session),
                Row::Wanted(_) | Row::Delivery(_) | Row::Gap(_) | Row::OnAir(_) => None,
            })
            .collect();
        sessions.sort_by_key(|session| std::cmp::Reverse(session.span.start_ms));
        let newest = sessions.iter().take(asked.limit);
        Ok(Transitions {
            window: asked.window,
            from: self.wall(from_ms),
            to: self.now.at,
            steps: transitions::steps(&sessions),
            more: sessions.len() > asked.limit,
            sessions: newest
                .map(|session| transitions::of_session(session, to_ms))
                .collect(),
        })
    }

    pub(super) fn metrics(
        self,
        stream: StreamId,
        asked: AskedMetrics,
    ) -> Result<Metrics, Unavailable> {
        let to_ms = asked.to.map_or(self.now.ms + 1, |at| self.axis(at));
        let day_before = to_ms - Window::Day.length_ms();
        let from_ms = asked.from.map_or(day_before, |at| self.axis(at)).min(to_ms);
        let least = (to_ms - from_ms) / SERIES_POINTS;
        let step_ms = asked.step_s.map_or(0, |step| i64::from(step) * 1000);
        let step_ms = step_ms.max(least).max(SAMPLE_EVERY_MS);
        // Whole samples, so that each point has as many.
        let step_ms = (step_ms + SAMPLE_EVERY_MS - 1) / SAMPLE_EVERY_MS * SAMPLE_EVERY_MS;
        let filter = SampleFilter {
            from_ms,
            to_ms,
            stream: stream.clone(),
            destination: asked.destination,
            step_ms,
            limit: MAX_POINTS,
        };
        let samples = self.store.with(|database| database.samples(&filter))?;
        Ok(Metrics {
            stream_id: stream,
            from: self.wall(from_ms),
            to: self.wall(to_ms),
            step_s: u32::try_from(step_ms / 1000).unwrap_or(u32::MAX),
            series: series(samples, asked.metric),
        })
    }

    fn stretch(&self, window: Window) -> Stretch {
        let to_ms = self.now.ms;
        Stretch {
            from_ms: to_ms - window.length_ms(),
            to_ms,
        }
    }

    fn known(&mut self, window: Stretch) -> Result<Known, Unavailable> {
        self.store.with(|database| {
            let begins_ms = database.begins_ms()?;
            Ok(Known::of(window, database.unrecorded()?, begins_ms))
        })
    }

    fn unrecorded(&self, known: &Known) -> Vec<Unrecorded> {
        let lost = known.lost.iter();
        lost.map(|it| Unrecorded {
            from: self.wall(it.from_ms),
            to: self.wall(it.to_ms),
            cause: it.cause,
        })
        .collect()
    }

    /// What the present wall clock calls an instant of the axis.
    fn wall(&self, ms: i64) -> Timestamp {
        let at = self.now.at.as_millisecond() + (ms - self.now.ms);
        Timestamp::from_millisecond(at).unwrap_or(self.now.at)
    }

    /// The instant of the axis that the present wall clock calls `at`.
    fn axis(&self, at: Timestamp) -> i64 {
        self.now.ms + (at.as_millisecond() - self.now.at.as_millisecond())
    }
}

fn incident(row: &Row, now_ms: i64) -> Option<Incident> {
    match row {
        Row::Gap(gap) => Some(uptime::of_gap(gap, now_ms)),
        Row::OnAir(slate) => Some(uptime::of_slate(slate, now_ms)),
        Row::Wanted(_) | Row::Delivery(_) | Row::LiveSession(_) => None,
    }
}

fn series(samples: Vec<Sample>, metric: Option<Metric>) -> Vec<Series> {
    let mut series: Vec<Series> = Vec::new();
    for sample in samples {
        let Some(point) = point(&sample, metric) else {
            continue;
        };
        match series.last_mut() {
            Some(last) if last.destination == sample.destination => last.points.push(point),
            _ => series.push(Series {
                destination: sample.destination,
                points: vec![point],
            }),
        }
    }
    series
}

/// `None` when there is nothing of what was asked for.
fn point(sample: &Sample, metric: Option<Metric>) -> Option<Point> {
    fn kept<T>(metric: Option<Metric>, this: Metric, value: Option<T>) -> Option<T> {
        value.filter(|_| metric.is_none_or(|asked| asked == this))
    }
    let point = Point {
        at: sample.at,
        state: kept(metric, Metric::State, sample.state),
        bitrate_kbps: kept(metric, Metric::BitrateKbps, sample.bitrate_kbps),
        dropped_frames: kept(metric, Metric::DroppedFrames, sample.dropped_frames),
        cpu_percent: kept(metric, Metric::CpuPercent, sample.cpu_percent).map(rounded),
        memory_bytes: kept(metric, Metric::MemoryBytes, sample.memory_bytes),
        rtt_ms: kept(metric, Metric::RttMs, sample.rtt_ms).map(rounded),
        unacked_bytes: kept(metric, Metric::UnackedBytes, sample.unacked_bytes),
    };
    let empty = Point {
        at: sample.at,
        state: None,
        bitrate_kbps: None,
        dropped_frames: None,
        cpu_percent: None,
        memory_bytes: None,
        rtt_ms: None,
        unacked_bytes: None,
    };
    (point != empty).then_some(point)
}

/// To hundredths: no measurement is finer.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
