//! One of playout's two slots: an item, its source, and how far it has got on air.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use programme::{ListedObject, Part, Position, StreamFormat};
use serde::{Deserialize, Serialize};
use storage::model::ErrorReport;
use tokio::time::Instant;

use crate::director::{End, Phase, Slot};
use crate::flv::Packet;
use crate::source::file::{self, FrozenSource};
use crate::source::queue::READY_MS;
use crate::source::{FileSource, Head, SourceContext, SourceEnd};

/// Media a continuation must get past the place where its item broke off, ms.
const PROGRESS_MS: i64 = 500;

/// Whether a source continues an item that broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Opened {
    /// At its beginning, or where the last worker left it.
    Afresh,
    /// Where it broke off.
    AsContinuation,
    /// Where it was when its bytes stopped coming.
    AfterOutage,
}

/// What the director is told of a slot besides what its queue says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outside {
    /// How overdue it is; zero when not on air.
    pub(super) late: Duration,
    /// For how long its reader has got nothing.
    pub(super) quiet: Duration,
    /// It is on air, and has been for long enough to have more in hand than it has.
    pub(super) short: bool,
    /// Its object lies whole on this machine.
    pub(super) kept: bool,
}

/// Packets remembered since the last keyframe: some twenty seconds of them.
pub(super) const MOST_IN_GROUP: usize = 2_000;

/// An open item.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) object: ListedObject,
    pub(super) position: Position,
    /// Whose list it is from.
    pub(super) part: Part,
    pub(super) source: FileSource,
    pub(super) opened: Opened,
    pub(super) opened_at: Instant,
    /// A continuation of it has been opened.
    pub(super) continued: bool,
    /// It was interrupted too often at one place to blame the store.
    pub(super) hopeless: bool,
    video_header: Option<Bytes>,
    audio_header: Option<Bytes>,
    /// Source time of the first picture released, ms.
    first_ms: Option<i64>,
    /// Source time of the last picture released, ms.
    last_ms: Option<i64>,
    /// What was released since the last keyframe, that one included.
    group: Vec<Packet>,
    /// It goes on unseen, and takes the air at the last keyframe it passed.
    unseen: bool,
}

/// An item on its way to the next image of this process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FrozenItem {
    object: ListedObject,
    position: Position,
    part: Part,
    pub(super) source: FrozenSource,
    opened: Opened,
    #[serde(with = "crate::handover::instant")]
    opened_at: Instant,
    continued: bool,
    hopeless: bool,
    #[serde(with = "crate::handover::blob::option")]
    video_header: Option<Bytes>,
    #[serde(with = "crate::handover::blob::option")]
    audio_header: Option<Bytes>,
    first_ms: Option<i64>,
    last_ms: Option<i64>,
}

// === impl Item ===

impl Item {
    pub(super) fn new(
        object: ListedObject,
        position: Position,
        source: FileSource,
        opened: Opened,
        now: Instant,
    ) -> Self {
        Self {
            object,
            position,
            part: Part::Ordinary,
            source,
            opened,
            opened_at: now,
            continued: false,
            hopeless: false,
            video_header: None,
            audio_header: None,
            first_ms: None,
            last_ms: None,
            group: Vec::new(),
            unseen: false,
        }
    }

    /// Goes on with an item of an earlier image of this process.
    pub(super) fn resume(
        frozen: FrozenItem,
        sources: &Arc<SourceContext>,
        format: StreamFormat,
    ) -> Self {
        Self {
            object: frozen.object,
            position: frozen.position,
            part: frozen.part,
            source: file::resume(sources, frozen.source, format),
            opened: frozen.opened,
            opened_at: frozen.opened_at,
            continued: frozen.continued,
            hopeless: frozen.hopeless,
            video_header: frozen.video_header,
            audio_header: frozen.audio_header,
            first_ms: frozen.first_ms,
            last_ms: frozen.last_ms,
            group: Vec::new(),
            unseen: false,
        }
    }

    /// What it is and has in hand, without its FFmpeg: for a rehearsal.
    pub(super) fn snapshot(&self) -> FrozenItem {
        FrozenItem {
            object: self.object.clone(),
            position: self.position.clone(),
            part: self.part.clone(),
            source: self.source.snapshot(),
            opened: self.opened,
            opened_at: self.opened_at,
            continued: self.continued,
            hopeless: self.hopeless,
            video_header: self.video_header.clone(),
            audio_header: self.audio_header.clone(),
            first_ms: self.first_ms,
            last_ms: self.last_ms,
        }
    }

    /// Lets go of it, as it is, for the next image of this process.
    pub(super) async fn freeze(self) -> FrozenItem {
        let snapshot = self.snapshot();
        FrozenItem {
            source: self.source.freeze().await,
            ..snapshot
        }
    }

    /// Seconds into the item of what was released last.
    pub(super) fn position_s(&self) -> f64 {
        let into = match (self.first_ms, self.last_ms) {
            (Some(first), Some(last)) => (last - first).max(0) as f64 / 1000.0,
            _ => 0.0,
        };
        self.source.start_s() + into
    }

    /// Seconds into the item where it is opened again, of what was aired or, when nothing was, where
    /// it was opened.
    pub(super) fn resume_s(&self) -> f64 {
        match self.first_ms {
            Some(_) => self.broke_off_s(),
            None => self.source.start_s(),
        }
    }

    /// Seconds into the item where a continuation has to begin.
    pub(super) fn broke_off_s(&self) -> f64 {
        match self.source.queue().end() {
            Some(SourceEnd::Short { media_s, .. }) => media_s,
            // All that was read will have been aired by then.
            Some(SourceEnd::Interrupted(_)) | None => {
                let newest_ms = self.source.queue().newest_ms();
                newest_ms.map_or(self.position_s(), |ms| self.source.position_s(ms))
            }
            Some(SourceEnd::Complete | SourceEnd::Failed(_)) => self.position_s(),
        }
    }

    /// It was aired as far as it goes, which is not as far as it said, and nobody was told.
    pub(super) fn ended_early(&self) -> bool {
        let queue = self.source.queue();
        let is_short = matches!(queue.end(), Some(SourceEnd::Short { .. }));
        is_short && !self.continued && !queue.has_video_left()
    }

    /// Notes what the timeline is about to be given.
    pub(super) fn note(&mut self, packet: &Packet) {
        match packet {
            Packet::VideoHeader(header) => self.video_header = Some(header.clone()),
            Packet::AudioHeader(header) => self.audio_header = Some(header.clone()),
            Packet::Video(video) => {
                self.first_ms.get_or_insert(video.pts_ms);
                self.last_ms = self.last_ms.max(Some(video.pts_ms));
            }
            Packet::Audio(_) => {}
        }
        if matches!(packet, Packet::Video(video) if video.keyframe) {
            self.group.clear();
        }
        if packet.dts_ms().is_some() && self.group.len() < MOST_IN_GROUP {
            self.group.push(packet.clone());
        }
    }

    /// What was released since the last keyframe, that one included; nothing when that was too much.
    pub(super) fn group(&self) -> &[Packet] {
        match self.group.len() {
            0..MOST_IN_GROUP => &self.group,
            _ => &[],
        }
    }

    /// Notes the headers among packets that do not go out themselves.
    pub(super) fn note_headers(&mut self, packets: &[Packet]) {
        let headers = packets.iter().filter(|packet| packet.dts_ms().is_none());
        headers.for_each(|header| self.note(header));
    }

    /// Notes what goes out in the place of its own packets.
    pub(super) fn note_clip(&mut self, packet: &Packet) {
        self.group.clear();
        if let Packet::Video(video) = packet {
            self.first_ms.get_or_insert(video.pts_ms);
            self.last_ms = self.last_ms.max(Some(video.pts_ms));
        }
    }

    /// The same item from another source.
    pub(super) fn opened_again(&self, source: FileSource, now: Instant) -> Self {
        let (object, position) = (self.object.clone(), self.position.clone());
        Self {
            part: self.part.clone(),
            ..Self::new(object, position, source, Opened::Afresh, now)
        }
    }

    /// Something else takes the air for a while: the item goes on from the last keyframe it showed,
    /// if that is still in hand.
    pub(super) fn rewind_to_keyframe(&mut self) -> bool {
        self.unseen = false;
        let whole = self.can_rewind();
        let group = std::mem::take(&mut self.group);
        if whole {
            self.source.queue().put_back(group);
        }
        whole
    }

    fn can_rewind(&self) -> bool {
        let first = self.group.first();
        let begins = matches!(first, Some(Packet::Video(video)) if video.keyframe);
        begins && self.group.len() < MOST_IN_GROUP
    }

    /// It goes on unseen up to this second, or as far as it was read.
    pub(super) fn go_on_until(&mut self, second: f64) {
        self.unseen = true;
        loop {
            let queue = self.source.queue();
            let is_past = |packet: &Packet| {
                let at_s = packet.dts_ms().map(|ms| self.source.position_s(ms));
                at_s.is_none_or(|at_s| at_s <= second)
            };
            let past = queue.with_front(is_past).filter(|past| *past);
            let Some(packet) = past.and_then(|_| queue.pop()) else {
                return;
            };
            self.note(&packet);
        }
    }

    /// It takes the air again, at a keyframe.
    pub(super) fn begin_at_keyframe(&mut self) {
        if !(self.unseen && self.rewind_to_keyframe()) {
            self.source.queue().skip_to_keyframe();
        }
    }

    /// The headers it has had so far: what the timeline needs when it takes the air again.
    pub(super) fn headers(&self) -> impl Iterator<Item = Packet> {
        let video = self.video_header.clone().map(Packet::VideoHeader);
        let audio = self.audio_header.clone().map(Packet::AudioHeader);
        video.into_iter().chain(audio)
    }

    /// The error its reader ended with, if it did.
    pub(super) fn failure(&self) -> Option<ErrorReport> {
        match self.source.queue().end()? {
            SourceEnd::Failed(report) | SourceEnd::Interrupted(report) => Some(report),
            SourceEnd::Complete | SourceEnd::Short { .. } => None,
        }
    }

    /// What the director is told while the item is on air.
    pub(super) fn view_on_air(&self, head: Option<Head>, outside: Outside) -> Slot {
        let queue = self.source.queue();
        let phase = match queue.end() {
            None if head.is_some() => Phase::Ready,
            None => Phase::Dry,
            Some(end) if queue.has_video_left() => Phase::Ending(self.kind(&end)),
            Some(end) => Phase::Drained(self.kind(&end)),
        };
        self.slot(phase, outside)
    }

    /// What the director is told while it is not on air.
    pub(super) fn view_off_air(&self, outside: Outside) -> Slot {
        let queue = self.source.queue();
        // The keyframe an unseen item begins with is behind it.
        let rewinds = self.unseen && self.can_rewind() && queue.has_video_left();
        let keyframe = rewinds || queue.first_keyframe_pts_ms().is_some();
        let is_ready = queue.is_ready() || (rewinds && queue.buffered_ms() >= READY_MS);
        let phase = match queue.end() {
            Some(end) if keyframe && !matches!(end, SourceEnd::Failed(_)) => {
                Phase::Ending(self.kind(&end))
            }
            Some(end) => Phase::Drained(self.kind(&end)),
            None if is_ready && self.past_the_break() => Phase::Ready,
            None if self.first_ms.is_some() => Phase::Dry,
            None => Phase::Opening,
        };
        self.slot(phase, outside)
    }

    fn slot(&self, phase: Phase, outside: Outside) -> Slot {
        Slot {
            phase,
            opened: self.opened_at,
            remaining: self.remaining(),
            late: outside.late,
            quiet: outside.quiet,
            continuation: self.opened != Opened::Afresh,
            continued: self.continued || self.hopeless,
            progressed: self.past_the_break(),
            filling: self.source.queue().is_filling(),
            short: outside.short,
            kept: outside.kept,
            from_cache: self.source.is_from_cache(),
        }
    }

    pub(super) fn remaining(&self) -> Option<Duration> {
        let left_s = self.source.duration_s()? - self.position_s();
        Some(Duration::from_secs_f64(left_s.max(0.0)))
    }

    fn kind(&self, end: &SourceEnd) -> End {
        match end {
            SourceEnd::Complete => End::Complete,
            SourceEnd::Short { .. } => End::Short,
            SourceEnd::Failed(_) => End::Failed,
            SourceEnd::Interrupted(_) if self.hopeless => End::Short,
            SourceEnd::Interrupted(_) => End::Interrupted,
        }
    }

    /// Whether what was released and what is in hand reaches beyond where it was opened.
    // A copied picture begins at the keyframe before that place, with the time 0; how far that is
    // back is not known here, so an item may have to get one GOP further than necessary.
    fn past_the_break(&self) -> bool {
        match self.opened {
            Opened::Afresh | Opened::AfterOutage => true,
            Opened::AsContinuation => self.source.queue().newest_ms().unwrap_or(0) >= PROGRESS_MS,
        }
    }
}
