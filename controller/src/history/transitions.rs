//! Times of going live and back, out of rows. Pure.

use storage::history::{AskedBy, LiveSession};

use super::report::{Session, StepTimes, Steps};
use super::uptime::{percentile, seconds};

/// Sums up the steps of `sessions`.
pub(super) fn steps(sessions: &[LiveSession]) -> Steps {
    let asked = || {
        let asked = sessions.iter();
        asked.filter(|session| session.asked_by != AskedBy::Auto)
    };
    Steps {
        asked_to_media: times(asked().filter_map(asked_to_media_ms)),
        media_to_on_air: times(sessions.iter().filter_map(media_to_on_air_ms)),
        asked_to_on_air: times(asked().filter_map(|session| {
            let on_air = session.on_air?;
            Some(on_air.ms - session.span.start_ms)
        })),
        loss_to_programme: times(sessions.iter().filter_map(|it| it.loss_to_programme_ms)),
    }
}

/// A session as an operator reads it.
pub(super) fn of_session(session: &LiveSession, now_ms: i64) -> Session {
    let on_air_ms = session.on_air.map(|on_air| {
        let end_ms = session.span.end_ms.unwrap_or(now_ms);
        (end_ms - on_air.ms).max(0)
    });
    Session {
        stream_id: session.stream.clone(),
        input: Some(session.input.clone()).filter(|name| !name.is_empty()),
        asked_by: session.asked_by,
        asked_at: session.span.start_at,
        media_at: session.media.map(|mark| mark.at),
        on_air_at: session.on_air.map(|mark| mark.at),
        off_at: session.span.end_at,
        ended: session.ended,
        asked_to_media_s: asked_to_media_ms(session).map(seconds),
        media_to_on_air_s: media_to_on_air_ms(session).map(seconds),
        on_air_s: on_air_ms.map(seconds),
        interruptions: session.interruptions,
        interrupted_s: seconds(session.interrupted_ms),
        loss_to_programme_s: session.loss_to_programme_ms.map(seconds),
    }
}

fn asked_to_media_ms(session: &LiveSession) -> Option<i64> {
    Some(session.media?.ms - session.span.start_ms)
}

fn media_to_on_air_ms(session: &LiveSession) -> Option<i64> {
    Some(session.on_air?.ms - session.media?.ms)
}

fn times(lengths: impl Iterator<Item = i64>) -> StepTimes {
    let mut lengths: Vec<i64> = lengths.collect();
    lengths.sort_unstable();
    StepTimes {
        count: lengths.len(),
        p50_s: percentile(&lengths, 50),
        p95_s: percentile(&lengths, 95),
        max_s: percentile(&lengths, 100),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use storage::history::{Mark, SessionEnd, Span};

    use super::*;

    fn mark(ms: i64) -> Mark {
        let at = Timestamp::from_millisecond(ms).unwrap();
        Mark { ms, at }
    }

    /// Asked at a whole second; media and on air so many milliseconds later.
    fn session(by: AskedBy, asked_ms: i64, media: Option<i64>, on_air: Option<i64>) -> LiveSession {
        LiveSession {
            stream: "main".parse().unwrap(),
            input: "studio".into(),
            span: Span {
                start_ms: asked_ms,
                end_ms: Some(asked_ms + 60_000),
                start_at: mark(asked_ms).at,
                end_at: Some(mark(asked_ms + 60_000).at),
            },
            asked_by: by,
            media: media.map(|after| mark(asked_ms + after)),
            on_air: on_air.map(|after| mark(asked_ms + after)),
            ended: Some(SessionEnd::GivenBack),
            interruptions: 0,
            interrupted_ms: 0,
            loss_to_programme_ms: None,
        }
    }

    #[test]
    fn each_step_is_of_those_that_came_so_far_and_nobodys_wish_is_not_waited_for() {
        let sessions = [
            session(AskedBy::Obs, 1_000, Some(6_000), Some(6_700)),
            session(AskedBy::Api, 2_000, Some(0), Some(400)),
            session(AskedBy::Auto, 3_000, Some(0), Some(900)),
            session(AskedBy::Obs, 4_000, Some(8_000), None),
            session(AskedBy::Obs, 5_000, None, None),
        ];
        let steps = steps(&sessions);
        let times = |step: StepTimes| (step.count, step.p50_s, step.p95_s, step.max_s);
        assert_eq!(
            times(steps.asked_to_media),
            (3, Some(6.0), Some(8.0), Some(8.0))
        );
        assert_eq!(
            times(steps.media_to_on_air),
            (3, Some(0.7), Some(0.9), Some(0.9))
        );
        assert_eq!(
            times(steps.asked_to_on_air),
            (2, Some(0.4), Some(6.7), Some(6.7))
        );
        assert_eq!(times(steps.loss_to_programme), (0, None, None, None));
        assert_eq!(of_session(&sessions[4], 0).on_air_s, None);
        assert_eq!(of_session(&sessions[1], 0).on_air_s, Some(59.6));
    }
}
