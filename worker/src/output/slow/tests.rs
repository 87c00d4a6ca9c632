//! A line, its kernels and an FFmpeg are played here in steps of 10 ms.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::output::behind::Given;
use crate::output::delivery::Delivery;

/// Of 1.5 Mb/s.
const RATE: f64 = 187_500.0;
const MSS: f64 = 1_448.0;
/// What FFmpeg and its pipe hold.
const FFMPEG: f64 = 130_000.0;

/// A destination, and how the stream comes to it.
#[derive(Debug, Clone)]
struct World {
    /// Bytes per second the network carries.
    line: f64,
    /// Bytes per second the peer reads.
    reads: f64,
    /// Bytes per second of media.
    rate: f64,
    /// Of the bytes of a group of pictures (2 s), in its first picture.
    keyframe: f64,
    round_trip_ms: u64,
    /// Most that may wait for the peer to read it.
    window: f64,
    /// Most that may be under way unacknowledged.
    congestion_window: f64,
    send_buffer: f64,
    /// Nothing is given to FFmpeg.
    feed_stops: bool,
    /// FFmpeg gets no processor.
    ffmpeg_stops: bool,
    /// Nobody looks.
    worker_stops: bool,
}

/// Runs a [`World`], looking at it every 100 ms.
struct Run {
    world: World,
    slow: Slow,
    began: Instant,
    ms: u64,
    /// Bytes since the beginning.
    given: f64,
    media_ms: u64,
    written: f64,
    carried: f64,
    read: f64,
    acked: f64,
    /// Carried, and not acknowledged yet.
    acks: VecDeque<(u64, f64)>,
    /// Made, and not given: its length and bytes.
    late: (u64, f64),
    acked_before: f64,
    looked_up: Given,
}

impl World {
    /// Twice as fast as it has to be.
    fn good() -> Self {
        Self {
            line: RATE * 2.0,
            reads: f64::INFINITY,
            rate: RATE,
            keyframe: 0.2,
            round_trip_ms: 20,
            window: 64_000.0,
            congestion_window: 30_000.0,
            send_buffer: 60_000.0,
            feed_stops: false,
            ffmpeg_stops: false,
            worker_stops: false,
        }
    }
}

impl Run {
    fn of(world: World) -> Self {
        let mut run = Self {
            world,
            slow: Slow::default(),
            began: Instant::now(),
            ms: 0,
            given: 0.0,
            media_ms: 0,
            written: 0.0,
            carried: 0.0,
            read: 0.0,
            acked: 0.0,
            acks: VecDeque::new(),
            late: (0, 0.0),
            acked_before: 0.0,
            looked_up: Given::default(),
        };
        // The head.
        for _ in 0..50 {
            run.make();
        }
        run
    }

    /// Six seconds of a good one.
    fn settled() -> Self {
        let mut run = Self::of(World::good());
        run.assert_not_slow(6_000);
        run
    }

    /// 10 ms more of the stream; its pictures come 40 ms apart, and 2 s apart its keyframes.
    fn make(&mut self) {
        let made_ms = self.media_ms + self.late.0;
        let group = self.world.rate * 2.0;
        let bytes = match made_ms % 2_000 {
            0 => group * self.world.keyframe,
            ms if ms % 40 == 0 => group * (1.0 - self.world.keyframe) / 49.0,
            _ => 0.0,
        };
        self.late = (self.late.0 + 10, self.late.1 + bytes);
        if !self.world.feed_stops {
            self.media_ms += self.late.0;
            self.given += self.late.1;
            self.late = (0, 0.0);
        }
    }

    fn step(&mut self) {
        self.ms += 10;
        if !self.world.worker_stops {
            self.make();
        }
        let world = &self.world;
        if !world.ffmpeg_stops {
            self.written = self
                .given
                .min(self.acked + world.send_buffer)
                .max(self.written);
        }
        let window = world.window - (self.carried - self.read);
        let sent = self.written.min(self.acked + world.congestion_window);
        let room = (world.line / 100.0).min(window.max(0.0));
        self.carried = sent.min(self.carried + room).max(self.carried);
        self.read = self.carried.min(self.read + world.reads / 100.0);
        self.acks
            .push_back((self.ms + world.round_trip_ms, self.carried));
        while self.acks.front().is_some_and(|ack| ack.0 <= self.ms) {
            self.acked = self.acks.pop_front().map_or(self.acked, |ack| ack.1);
        }
        if self.ms.is_multiple_of(100) && !self.world.worker_stops {
            self.look();
        }
    }

    fn look(&mut self) {
        // What FFmpeg has no room for waits in the queue: too late, and not handed over.
        let waiting = (self.given - self.written - FFMPEG).max(0.0);
        let sent = self.written.min(self.acked + self.world.congestion_window);
        let sent = sent.min(self.read + self.world.window).max(self.carried);
        let unread = self.carried - self.read;
        let delivery = Delivery {
            established: true,
            acked_bytes: self.acked as u64,
            unacked_bytes: (self.written - self.acked) as u64,
            unsent_bytes: (self.written - sent) as u64,
            segment_bytes: MSS as u64,
            window_end_bytes: (self.acked + self.world.window - unread) as u64,
            least_round_trip: Duration::from_millis(self.world.round_trip_ms),
            ..Delivery::default()
        };
        let (given, late) = (self.given as u64, waiting + self.written - self.acked);
        let behind = self.looked_up.waiting(self.media_ms, given, late as u64);
        let seen = Observation {
            look: match self.acked > self.acked_before {
                true => Look::Delivering,
                false => Look::Quiet,
            },
            media_ms: self.media_ms,
            media_bytes: given,
            delivery: Some(delivery),
            behind,
            ..seen(Look::Quiet, 0)
        };
        self.acked_before = self.acked;
        let now = self.began + Duration::from_millis(self.ms);
        self.slow.look(&seen, 0, now);
    }

    /// How long it takes until it is told to be slow.
    fn slow_after(&mut self, limit_ms: u64) -> Option<u64> {
        let began = self.ms;
        while self.ms - began < limit_ms {
            self.step();
            if self.slow.is_slow() {
                return Some(self.ms - began);
            }
        }
        None
    }

    fn assert_not_slow(&mut self, ms: u64) {
        let after = self.slow_after(ms);
        assert_eq!(after, None, "{:?} {:?}", self.world, self.slow.shortfall());
    }
}

fn seen(look: Look, behind_ms: u64) -> Observation {
    Observation {
        look,
        media_ms: 10_000,
        media_bytes: 0,
        delivery: None,
        stood_still_since: None,
        delivered_at: Instant::now(),
        behind: Duration::from_millis(behind_ms),
        bitrate_kbps: 3_000,
    }
}

#[test]
fn without_a_socket_it_is_slow_from_three_seconds_behind_until_it_has_kept_up_for_ten() {
    let (mut slow, began) = (Slow::default(), Instant::now());
    for (at_s, behind_ms, is_slow) in [
        (0, 200, false),
        (20, 2_900, false),
        (21, 3_000, true),
        (22, 1_100, true),
        (23, 900, true),
        (32, 1_100, true),
        (33, 900, true),
        (42, 0, true),
        (43, 0, false),
    ] {
        let now = began + Duration::from_secs(at_s);
        slow.look(&seen(Look::Delivering, behind_ms), 0, now);
        assert_eq!(slow.is_slow(), is_slow, "{at_s}");
    }
}

#[test]
fn drops_say_so_too_and_silence_does_not() {
    let mut slow = Slow::default();
    slow.look(&seen(Look::Delivering, 100), 40, Instant::now());
    assert!(!slow.is_slow(), "those of an earlier connection");
    slow.look(&seen(Look::Quiet, 4_000), 40, Instant::now());
    assert!(!slow.is_slow());
    slow.look(&seen(Look::Delivering, 2_000), 70, Instant::now());
    assert!(slow.is_slow());
}

#[test]
fn a_line_that_becomes_too_slow_is_told_within_five_seconds_and_until_it_has_caught_up() {
    for (share, limit_ms) in [(0.25, 3_500), (0.4, 3_500), (0.75, 4_800)] {
        let mut run = Run::settled();
        run.world.line = RATE * share;
        let after = run.slow_after(10_000).expect("it is slow");
        eprintln!("a line of {share} of the rate: after {after} ms");
        assert!(after <= limit_ms, "{share}: {after}");
        let shortfall = run.slow.shortfall().expect("measured");
        let measured = f64::from(shortfall.taken_kbps) / f64::from(shortfall.given_kbps);
        assert!((measured - share).abs() < 0.2, "{share}: {shortfall:?}");
        run.world.line = RATE * 2.0;
        for _ in 0..2_000 {
            run.step();
        }
        assert!(!run.slow.is_slow(), "it has caught up");
    }
}

#[test]
fn a_network_that_swallows_what_it_cannot_carry_hides_nothing() {
    for share in [0.25, 0.4, 0.75] {
        let mut run = Run::settled();
        run.world.window = 1e7;
        run.world.congestion_window = 1e6;
        run.world.send_buffer = 2e6;
        run.world.line = RATE * share;
        let after = run.slow_after(10_000).expect("it is slow");
        eprintln!("deep buffers, {share} of the rate: after {after} ms");
        assert!(after <= 5_000, "{share}: {after}");
    }
}

#[test]
fn a_server_that_reads_slowly_is_told_though_its_kernel_takes_more_at_first() {
    for (share, limit_ms) in [(0.25, 4_000), (0.5, 4_500), (0.75, 6_000)] {
        let mut run = Run::settled();
        run.world.reads = RATE * share;
        let after = run.slow_after(10_000).expect("it is slow");
        eprintln!("reads {share} of the rate: after {after} ms");
        assert!(after <= limit_ms, "{share}: {after}");
    }
}

#[test]
fn a_destination_that_is_too_slow_from_the_beginning_is_told_within_five_seconds() {
    let mut run = Run::of(World {
        line: RATE / 2.0,
        ..World::good()
    });
    let after = run.slow_after(10_000).expect("it is slow");
    assert!(after <= 5_000, "{after}");
}

#[test]
fn a_little_too_slow_is_told_when_it_is_three_seconds_behind() {
    let mut run = Run::settled();
    run.world.line = RATE * 0.92;
    let after = run.slow_after(120_000).expect("it is slow");
    assert!((20_000..60_000).contains(&after), "{after}");
}

#[test]
fn one_that_freezes_is_not_slow() {
    let mut run = Run::settled();
    run.world.reads = 0.0;
    run.assert_not_slow(8_000);
    let mut run = Run::settled();
    run.world.line = 0.0;
    run.assert_not_slow(8_000);
}

#[test]
fn an_outage_that_is_over_is_not_slow() {
    for ms in [500, 1_000, 1_500, 2_000, 2_500] {
        let mut run = Run::settled();
        run.world.line = 0.0;
        run.assert_not_slow(ms);
        run.world.line = RATE * 1.5;
        run.assert_not_slow(20_000);
    }
}

#[test]
fn nobody_here_makes_a_destination_slow_by_standing_still() {
    for ms in [300, 900, 1_500, 2_500] {
        let mut feed = Run::settled();
        feed.world.line = RATE * 1.5;
        feed.world.feed_stops = true;
        feed.assert_not_slow(ms);
        feed.world.feed_stops = false;
        feed.assert_not_slow(20_000);

        let mut ffmpeg = Run::settled();
        ffmpeg.world.line = RATE * 1.5;
        ffmpeg.world.ffmpeg_stops = true;
        ffmpeg.assert_not_slow(ms);
        ffmpeg.world.ffmpeg_stops = false;
        ffmpeg.assert_not_slow(20_000);

        let mut worker = Run::settled();
        worker.world.worker_stops = true;
        worker.assert_not_slow(ms * 4);
        worker.world.worker_stops = false;
        worker.assert_not_slow(20_000);
    }
}

#[test]
fn an_ffmpeg_without_enough_processor_is_no_slow_destination() {
    let mut run = Run::settled();
    for _ in 0..40 {
        run.world.ffmpeg_stops = true;
        run.assert_not_slow(150);
        run.world.ffmpeg_stops = false;
        run.assert_not_slow(50);
    }
}

#[test]
fn a_feed_that_comes_in_bursts_makes_no_destination_slow() {
    let mut run = Run::settled();
    run.world.line = RATE * 1.25;
    for _ in 0..10 {
        run.world.feed_stops = true;
        run.assert_not_slow(1_800);
        run.world.feed_stops = false;
        run.assert_not_slow(200);
    }
}

#[test]
fn a_bit_rate_that_steps_makes_no_destination_slow_that_can_carry_it() {
    let mut run = Run::settled();
    run.world.line = RATE * 3.0;
    for (rate, ms) in [
        (0.2, 8_000),
        (2.6, 9_000),
        (0.5, 6_000),
        (4.5, 1_500),
        (0.5, 9_000),
    ] {
        run.world.rate = RATE * rate;
        run.assert_not_slow(ms);
    }
}

#[test]
fn a_still_picture_before_a_moving_one_makes_no_destination_slow() {
    let mut run = Run::settled();
    run.world.line = RATE * 3.0;
    for rate in [0.02, 2.6, 0.02, 2.6] {
        run.world.rate = RATE * rate;
        run.assert_not_slow(10_000);
    }
}

#[test]
fn a_bit_rate_that_swings_around_what_the_line_carries_is_told_once() {
    let mut run = Run::settled();
    run.world.line = RATE * 2.0;
    let mut turns = vec![];
    for rate in [2.8, 0.1].repeat(6) {
        run.world.rate = RATE * rate;
        for _ in 0..1_000 {
            run.step();
            if turns.len() % 2 == usize::from(!run.slow.is_slow()) {
                turns.push(run.ms);
            }
        }
    }
    assert_eq!(turns.len(), 1, "{turns:?}");
    assert!(turns[0] <= 6_000 + 5_000, "{turns:?}");
}

#[test]
fn a_way_around_the_world_is_not_slow() {
    for round_trip_ms in [150, 300, 600] {
        let mut run = Run::of(World {
            round_trip_ms,
            window: 1e7,
            congestion_window: RATE * 1.2 * round_trip_ms as f64 / 1000.0 + 10.0 * MSS,
            send_buffer: 600_000.0,
            ..World::good()
        });
        run.assert_not_slow(30_000);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the stream is made of, a line with a little to spare is never slow.
    #[test]
    fn what_carries_the_stream_is_not_slow(
        spare in 1.1f64..4.0, keyframe in 0.02f64..0.5, kbps in 250.0f64..20_000.0,
        round_trip_ms in 1u64..30, deep: bool,
    ) {
        let rate = kbps * 125.0;
        let mut run = Run::of(World {
            line: rate * spare,
            rate,
            keyframe,
            window: 1e7,
            round_trip_ms: round_trip_ms * 10,
            congestion_window: match deep {
                true => 1e7,
                false => rate * spare * round_trip_ms as f64 / 50.0 + 10.0 * MSS,
            },
            send_buffer: rate * spare + 60_000.0,
            ..World::good()
        });
        prop_assert_eq!(run.slow_after(20_000), None);
    }

    /// A quarter too little is told within five seconds, at any bit rate and however large its keyframes.
    #[test]
    fn what_carries_three_quarters_is_slow_within_five_seconds(
        share in 0.1f64..0.75, keyframe in 0.02f64..0.4, kbps in 1_000.0f64..20_000.0, at_ms in 0u64..200,
    ) {
        let rate = kbps * 125.0;
        let mut run = Run::of(World { line: rate * 2.0, rate, keyframe, window: 1e7, ..World::good() });
        run.world.congestion_window = rate / 5.0 + 10.0 * MSS;
        run.world.send_buffer = rate / 2.0 + 60_000.0;
        prop_assert_eq!(run.slow_after(6_000 + at_ms * 10), None);
        run.world.line = rate * share;
        let after = run.slow_after(20_000);
        prop_assert!(after.is_some_and(|after| after <= 5_000), "{:?}", after);
    }
}
