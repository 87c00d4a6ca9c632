//! What of a window is in the record, and what is not. Pure.

use storage::history::{Span, Unrecorded, UnrecordedCause};

/// A part of the record's axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
}

/// A window without what was lost of it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) window: Stretch,
    /// Within the window, oldest first; none overlaps another.
    pub(super) lost: Vec<Unrecorded>,
}

// === impl Known ===

impl Known {
    /// Of `window`, where the record has lost `lost` and what is kept of it begins at `begins_ms`.
    pub(super) fn of(window: Stretch, mut lost: Vec<Unrecorded>, begins_ms: Option<i64>) -> Self {
        // Where nothing was lost the beginning is that of the record.
        if lost.iter().all(|it| it.from_ms != Unrecorded::EVER) {
            lost.push(Unrecorded {
                from_ms: Unrecorded::EVER,
                to_ms: begins_ms.unwrap_or(window.to_ms),
                cause: UnrecordedCause::NoRecord,
            });
        }
        lost.sort_by_key(|it| it.from_ms);
        let mut told_to = window.from_ms;
        lost.retain_mut(|it| {
            it.from_ms = it.from_ms.max(told_to);
            it.to_ms = it.to_ms.min(window.to_ms);
            let is_any = it.from_ms < it.to_ms;
            told_to = told_to.max(it.to_ms);
            is_any
        });
        Self { window, lost }
    }

    /// The same from `from_ms` on, if that is later.
    pub(super) fn since(&self, from_ms: i64) -> Self {
        let mut since = self.clone();
        since.window.from_ms = from_ms.max(since.window.from_ms);
        since
    }

    /// Milliseconds of `span` that lie in it.
    pub(super) fn within(&self, span: &Span) -> i64 {
        let Stretch { from_ms, to_ms } = self.window;
        let lost = self.lost.iter();
        let lost = lost.map(|it| span.within(it.from_ms.max(from_ms), it.to_ms.min(to_ms)));
        span.within(from_ms, to_ms) - lost.sum::<i64>()
    }

    /// Whether the whole of `span` lies where something else of the record was lost.
    pub(super) fn is_lost(&self, span: &Span) -> bool {
        let in_one = |it: &Unrecorded| {
            it.from_ms <= span.start_ms && span.end_ms.is_some_and(|end_ms| end_ms <= it.to_ms)
        };
        self.lost.iter().any(in_one)
    }
}
