//! Live sessions of one stream: from when somebody asks for a live input to when it is off the air
//! again. Pure; facts come in order of time.
//!
//! ```text
//!            asked                    on air                      given back, stopped
//!  (nothing) ─────► Pending ────────────────► OnAir ──────────────────────────────────► ended
//!      │               │ given back, other      ▲ │ something else on air, unasked:
//!      │ on air, auto  ▼                        │ ▼ lost, worker gone
//!      └────► OnAir  ended                   Interrupted ──── its grace is over ──────► ended
//! ```
//! An interrupted session is told as ended when it left the air, and goes on when its input is back on
//! air in time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use storage::history::{AskedBy, LiveSession, Mark, Row, SessionEnd, Span};
use storage::model::StreamId;
use storage::model::live::LiveInputState;

use super::axis::Instant;

/// Input of a session for which whichever is ready was asked for.
const ANY: &str = "";

/// What holds of the live inputs, with the sessions under way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sessions {
    inputs: BTreeMap<String, Input>,
    /// By input, or [`ANY`].
    open: BTreeMap<String, Session>,
    /// When a live input last left the air to whatever came next: another one that is ready could take
    /// it from then on.
    left: Option<Instant>,
}

/// A live input, as its worker tells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Input {
    ready: Option<Instant>,
    grace_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Session {
    asked: Instant,
    by: AskedBy,
    media: Option<Instant>,
    on_air: Option<Instant>,
    interruptions: u64,
    interrupted_ms: i64,
    loss_to_programme_ms: Option<i64>,
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
enum Phase {
    Pending,
    OnAir {
        /// Somebody gave the air back; it ends when something else is on.
        said: Option<SessionEnd>,
        /// Its feed was lost; what it released is still on.
        lost: Option<Instant>,
    },
    Interrupted {
        /// From when on nothing of it was to be shown.
        since: Instant,
        /// When something else was on air.
        off: Instant,
        /// It goes on when it is on air again by then.
        until_ms: i64,
        why: SessionEnd,
        /// It was asked for anew meanwhile.
        again: Option<(Instant, AskedBy)>,
    },
}

// === impl Sessions ===

impl Sessions {
    /// Somebody asked for `input`, or for whichever is ready.
    pub(super) fn asked(
        &mut self,
        stream: &StreamId,
        now: Instant,
        input: Option<&str>,
        by: AskedBy,
        rows: &mut Vec<Row>,
    ) {
        self.expire(stream, now, rows);
        let input = input.unwrap_or(ANY);
        let same = |name: &str| name == input || input == ANY;
        let mut is_known = false;
        for (_, session) in self.open.iter_mut().filter(|(name, _)| same(name)) {
            is_known = true;
            match &mut session.phase {
                Phase::Pending => {}
                Phase::OnAir { said, .. } => *said = None,
                Phase::Interrupted { again, .. } => *again = again.or(Some((now, by))),
            }
        }
        // Of those that wait only the one that was asked for last can come.
        self.end_those(
            stream,
            now,
            SessionEnd::OtherInput,
            rows,
            |name, session| !same(name) && session.phase == Phase::Pending,
        );
        if !is_known {
            let media = self
                .inputs
                .get(input)
                .and_then(|it| it.ready)
                .and(Some(now));
            let session = Session::new(now, by, media);
            self.open.insert(input.to_owned(), session);
        }
    }

    /// Somebody took something else than a live input.
    pub(super) fn gave_back(
        &mut self,
        stream: &StreamId,
        now: Instant,
        why: SessionEnd,
        rows: &mut Vec<Row>,
    ) {
        self.end_those(stream, now, why, rows, |_, session| {
            !matches!(session.phase, Phase::OnAir { .. })
        });
        for session in self.open.values_mut() {
            if let Phase::OnAir { said, .. } = &mut session.phase {
                *said = said.or(Some(why));
            }
        }
    }

    /// The stream was stopped.
    pub(super) fn stopped(&mut self, stream: &StreamId, now: Instant, rows: &mut Vec<Row>) {
        self.end_those(stream, now, SessionEnd::Stopped, rows, |_, _| true);
        self.left = None;
    }

    /// The worker ended, and every feed with it.
    pub(super) fn worker_gone(&mut self, now: Instant) {
        for (name, session) in &mut self.open {
            let grace_ms = self.inputs.get(name).map_or(0, |input| input.grace_ms);
            session.leave(now, grace_ms, SessionEnd::WorkerGone);
            if session.phase == Phase::Pending {
                session.media = None;
            }
        }
        self.left = None;
        for input in self.inputs.values_mut() {
            input.ready = None;
        }
    }

    /// A live input is in another state.
    pub(super) fn input(&mut self, now: Instant, name: &str, state: LiveInputState, grace_s: u32) {
        let input = self.inputs.entry(name.to_owned()).or_default();
        input.grace_ms = i64::from(grace_s) * 1000;
        let is_ready = state == LiveInputState::Ready;
        let was_ready = input.ready.is_some();
        input.ready = is_ready.then(|| input.ready.unwrap_or(now));
        let Some(session) = self.open.get_mut(name) else {
            return;
        };
        match &mut session.phase {
            Phase::Pending if is_ready => session.media = session.media.or(Some(now)),
            Phase::Pending => session.media = None,
            Phase::OnAir { lost, .. } if is_ready => *lost = None,
            Phase::OnAir { lost, .. } => *lost = lost.or(Some(now)),
            // Ready in time; the air takes it at its next clean point.
            Phase::Interrupted { until_ms, .. }
                if is_ready && !was_ready && now.ms <= *until_ms =>
            {
                *until_ms = now.ms + input.grace_ms;
            }
            Phase::Interrupted { .. } => {}
        }
    }

    /// Something is on air: the live input `live`, or something else.
    pub(super) fn on_air(
        &mut self,
        stream: &StreamId,
        now: Instant,
        live: Option<&str>,
        rows: &mut Vec<Row>,
    ) {
        self.expire(stream, now, rows);
        self.others_leave(stream, now, live, rows);
        let Some(live) = live else {
            return;
        };
        let ready = self.inputs.get(live).and_then(|input| input.ready);
        let is_open = self.open.contains_key(live);
        let asked_for_any = (!is_open).then(|| self.open.remove(ANY)).flatten();
        let session = self.open.entry(live.to_owned()).or_insert_with(|| {
            asked_for_any.unwrap_or_else(|| {
                // Nobody asked: it could be on air from when it was there, and nothing before it was.
                let free = ready.map(|ready| self.left.map_or(ready, |left| ready.max(left)));
                let since = free.unwrap_or(now);
                Session::new(since, AskedBy::Auto, Some(since))
            })
        });
        let ready = ready.map(|ready| ready.max(session.asked));
        session.enter(now, ready);
    }

    /// Sessions under way, and those that may go on.
    pub(super) fn rows(&self, stream: &StreamId) -> Vec<Row> {
        let open = self.open.iter();
        open.map(|(input, session)| session.row(stream, input, None))
            .collect()
    }

    /// Every session on air but that of `live` leaves it.
    fn others_leave(
        &mut self,
        stream: &StreamId,
        now: Instant,
        live: Option<&str>,
        rows: &mut Vec<Row>,
    ) {
        let mut over = Vec::new();
        for (name, session) in &mut self.open {
            if live == Some(name.as_str()) {
                continue;
            }
            let Phase::OnAir { said, lost } = session.phase else {
                continue;
            };
            if lost.is_some() || live.is_none() {
                self.left = Some(lost.unwrap_or(now));
            }
            let why = match (lost, said, live) {
                (Some(lost), ..) => {
                    let took_ms = now.ms - lost.ms;
                    session.loss_to_programme_ms = session.loss_to_programme_ms.max(Some(took_ms));
                    said.unwrap_or(SessionEnd::Lost)
                }
                (None, Some(said), _) => said,
                (None, None, Some(_)) => SessionEnd::OtherInput,
                (None, None, None) => SessionEnd::Lost,
            };
            if why == SessionEnd::Lost {
                let grace_ms = self.inputs.get(name).map_or(0, |input| input.grace_ms);
                session.leave(now, grace_ms, why);
            } else {
                over.push((name.clone(), why));
            }
        }
        for (name, why) in over {
            self.end_those(stream, now, why, rows, |other, _| other == name);
        }
    }

    /// Ends what waited for its input longer than its grace.
    fn expire(&mut self, stream: &StreamId, now: Instant, rows: &mut Vec<Row>) {
        let mut again = Vec::new();
        self.open.retain(|name, session| match &session.phase {
            Phase::Interrupted {
                until_ms,
                again: asked,
                ..
            } if *until_ms < now.ms => {
                rows.push(session.row(stream, name, None));
                again.extend(asked.map(|asked| (name.clone(), asked)));
                false
            }
            _ => true,
        });
        for (name, (asked, by)) in again {
            let ready = self.inputs.get(&name).and_then(|input| input.ready);
            let media = ready.map(|ready| ready.max(asked));
            self.open.insert(name, Session::new(asked, by, media));
        }
    }

    /// Ends, now and with this cause, those that `which` picks.
    fn end_those(
        &mut self,
        stream: &StreamId,
        now: Instant,
        why: SessionEnd,
        rows: &mut Vec<Row>,
        which: impl Fn(&str, &Session) -> bool,
    ) {
        self.open.retain(|name, session| {
            let ends = which(name, session);
            if ends {
                rows.push(session.row(stream, name, Some((now, why))));
            }
            !ends
        });
    }
}

// === impl Session ===

impl Session {
    fn new(asked: Instant, by: AskedBy, media: Option<Instant>) -> Self {
        Self {
            asked,
            by,
            media,
            on_air: None,
            interruptions: 0,
            interrupted_ms: 0,
            loss_to_programme_ms: None,
            phase: Phase::Pending,
        }
    }

    /// It is on air; its media was there from `ready` on.
    fn enter(&mut self, now: Instant, ready: Option<Instant>) {
        match &self.phase {
            Phase::OnAir { .. } => return,
            Phase::Pending => {
                self.media = self.media.or(ready);
                self.on_air = Some(now);
            }
            Phase::Interrupted { since, .. } => {
                self.interruptions += 1;
                self.interrupted_ms += now.ms - since.ms;
            }
        }
        self.phase = Phase::OnAir {
            said: None,
            lost: None,
        };
    }

    /// It is not on air any more, without anyone's wish.
    fn leave(&mut self, now: Instant, grace_ms: i64, why: SessionEnd) {
        if let Phase::OnAir { lost, .. } = self.phase {
            let since = lost.unwrap_or(now);
            self.phase = Phase::Interrupted {
                since,
                off: now,
                until_ms: since.ms + grace_ms,
                why,
                again: None,
            };
        }
    }

    /// It as a row; `end` is that of one that ends for another reason than its interruption.
    fn row(&self, stream: &StreamId, input: &str, end: Option<(Instant, SessionEnd)>) -> Row {
        let end = match &self.phase {
            Phase::Interrupted { off, why, .. } => Some((*off, *why)),
            Phase::Pending | Phase::OnAir { .. } => end,
        };
        Row::LiveSession(LiveSession {
            stream: stream.clone(),
            input: input.to_owned(),
            span: Span {
                start_ms: self.asked.ms,
                start_at: self.asked.at,
                end_ms: end.map(|(end, _)| end.ms),
                end_at: end.map(|(end, _)| end.at),
            },
            asked_by: self.by,
            media: self.media.map(Mark::from),
            on_air: self.on_air.map(Mark::from),
            ended: end.map(|(_, why)| why),
            interruptions: self.interruptions,
            interrupted_ms: self.interrupted_ms,
            loss_to_programme_ms: self.loss_to_programme_ms,
        })
    }
}

impl From<Instant> for Mark {
    fn from(instant: Instant) -> Self {
        Self {
            ms: instant.ms,
            at: instant.at,
        }
    }
}

#[cfg(test)]
mod tests;
