//! The timeline as a viewer, and a receiver's clock, see it.

mod clip;
mod damaged;
mod days;
mod frozen;
mod joins;
mod order;
mod pace;
mod viewer;

use super::*;
use clip::Clip;
use viewer::Viewer;

/// Plays clips as playout does: in steps of the clock, silence where sound is missing.
struct Stage {
    timeline: Timeline,
    viewer: Viewer,
    air_ms: i64,
    out: Vec<Packet>,
    clips: u32,
}

impl Stage {
    fn new() -> Self {
        Self {
            timeline: Timeline::new(clip::silence()),
            viewer: Viewer::default(),
            air_ms: 0,
            out: Vec::new(),
            clips: 0,
        }
    }

    /// Plays a clip to its end, or to the first clean point from so many packets on.
    fn play(&mut self, clip: &Clip, cut_after: Option<usize>) {
        self.viewer.expect(clip);
        let packets = clip.packets(self.clips);
        self.clips += 1;
        self.play_packets(clip.shape(), packets, cut_after);
    }

    fn play_packets(&mut self, shape: SourceShape, packets: Vec<Packet>, cut_after: Option<usize>) {
        self.timeline.join(shape);
        let last_picture = packets
            .iter()
            .rposition(|packet| matches!(packet, Packet::Video(_)));
        for (at, packet) in packets.into_iter().enumerate() {
            if let Packet::Video(video) = &packet
                && cut_after.is_some_and(|after| at >= after)
                && self.timeline.is_clean_point(video)
            {
                self.timeline.close();
            }
            self.push(packet);
            if Some(at) == last_picture {
                self.timeline.close();
            }
        }
    }

    fn push(&mut self, packet: Packet) {
        if let Some(due_ms) = self.timeline.release_at(&packet) {
            self.air_ms = self.air_ms.max((due_ms + 39) / 40 * 40);
        }
        let due_ms = self.timeline.release_at(&packet);
        let expected = due_ms.map(|due_ms| (packet.is_video(), due_ms));
        self.timeline.push(packet, &mut self.out);
        assert_eq!(
            expected.is_some(),
            self.out.iter().any(|packet| packet.dts_ms().is_some())
        );
        if let Some(expected) = expected {
            let mut released = self
                .out
                .iter()
                .map(|packet| (packet.is_video(), packet.dts_ms()));
            assert!(
                released.any(|(video, dts_ms)| (video, dts_ms) == (expected.0, Some(expected.1)))
            );
        }
        self.timeline.fill_silence(self.air_ms, &mut self.out);
        self.viewer.watch(&mut self.out);
        let lag_ms = self.air_ms.min(self.timeline.video_end_ms()) - self.timeline.audio_end_ms();
        assert!(
            lag_ms <= SOUND_LAG_MS,
            "sound is {lag_ms} ms behind at {}",
            self.air_ms
        );
    }

    fn finish(mut self) -> (Timeline, Viewer) {
        self.viewer.finish();
        (self.timeline, self.viewer)
    }
}
