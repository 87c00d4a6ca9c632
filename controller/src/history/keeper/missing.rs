//! A file that has not what was before it, while the record goes on.

use storage::history::{Loaded, Mark, Unrecorded, UnrecordedCause};

use super::super::axis::Instant;
use super::super::moment::Moment;
use super::super::recorder::Recorder;
use super::Keeper;

impl Keeper {
    /// Goes on with the file that was opened just now.
    pub(super) fn go_on_in(&mut self, found: Loaded) {
        let missing = self.store.take_missing();
        let is_replaced = missing == Some(UnrecordedCause::Replaced);
        let newest = is_replaced.then(|| newest_of(&found)).flatten();
        // Notes were kept since the beginning, however late the file came.
        let until = if self.loaded {
            self.put_everything();
            Moment::now()
        } else {
            self.load(found);
            self.began
        };
        match missing {
            None => {}
            Some(cause @ UnrecordedCause::Replaced) => {
                // What is open in it is not known to have lasted any longer.
                self.store.pending.others_end = newest.map(Mark::from);
                let from_ms = newest.map_or(Unrecorded::EVER, |newest| newest.ms);
                self.note_missing(from_ms, until, cause);
            }
            Some(cause) => self.note_missing(Unrecorded::EVER, until, cause),
        }
    }

    fn note_missing(&mut self, from_ms: i64, until: Moment, cause: UnrecordedCause) {
        let to_ms = self.place(until).ms;
        self.store.pending.unrecorded.push(Unrecorded {
            from_ms,
            to_ms: to_ms.max(from_ms),
            cause,
        });
    }
}

/// The newest instant in a file.
fn newest_of(found: &Loaded) -> Option<Instant> {
    let recorders = found.recorders.values();
    let known = recorders.filter_map(|text| Recorder::from_text(text).ok());
    known
        .map(|recorder| recorder.newest())
        .max_by_key(|instant| instant.ms)
}
