use super::*;

const STEP: Duration = Duration::from_millis(100);
const RATE: u64 = 5_000;
const WINDOW: u64 = 65_536;

/// A peer that is looked at every 100 ms.
struct Peer {
    progress: Progress,
    now: Instant,
    seen: Delivery,
    looks: Vec<Look>,
}

impl Peer {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            progress: Progress::new(now),
            now,
            seen: Delivery {
                established: true,
                window_end_bytes: WINDOW,
                ..Delivery::default()
            },
            looks: Vec::new(),
        }
    }

    /// One that has taken media for a second.
    fn live() -> Self {
        let mut peer = Self::new();
        peer.seen.acked_bytes = PREAMBLE_BYTES;
        peer.run(1_000, |seen| {
            seen.acked_bytes += RATE;
            seen.window_end_bytes = seen.acked_bytes + WINDOW;
            seen.acked_ago = Duration::from_millis(20);
        });
        assert_eq!(peer.looks.last(), Some(&Look::Delivering));
        peer
    }

    /// Looks for so long, each time after `change`; answers when it was first held up, in ms.
    fn run(&mut self, ms: u64, mut change: impl FnMut(&mut Delivery)) -> Option<(u64, Held)> {
        let began = self.now;
        for _ in 0..ms / 100 {
            self.now += STEP;
            change(&mut self.seen);
            let look = self.progress.look(Some(self.seen), self.now);
            self.looks.push(look);
            if let Look::Held(held) = look {
                return Some(((self.now - began).as_millis() as u64, held));
            }
        }
        None
    }
}

/// Nothing comes back at all.
fn silence(seen: &mut Delivery) {
    seen.unacked_bytes += RATE;
    seen.acked_ago += STEP;
}

#[test]
fn a_handshake_is_no_delivery() {
    let mut peer = Peer::new();
    peer.run(1_000, |seen| seen.acked_bytes = 3_600);
    assert!(peer.looks.iter().all(|look| *look == Look::Quiet));
    peer.run(100, |seen| seen.acked_bytes = 9_000);
    assert_eq!(peer.looks.last(), Some(&Look::Delivering));
}

#[test]
fn a_peer_that_does_not_answer_is_noticed_within_five_seconds() {
    let mut peer = Peer::new();
    peer.seen.established = false;
    let (after, held) = peer.run(10_000, |_| {}).expect("noticed");
    assert_eq!(held, Held::Unanswered);
    assert!((4_000..=4_200).contains(&after), "{after}");
}

#[test]
fn a_peer_that_accepts_and_says_nothing_is_noticed_within_five_seconds() {
    let mut peer = Peer::new();
    let (after, held) = peer
        .run(10_000, |seen| seen.acked_bytes = 1_537)
        .expect("noticed");
    assert_eq!(held, Held::PeerStalled);
    assert!((4_000..=4_200).contains(&after), "{after}");
}

#[test]
fn a_slow_handshake_is_waited_for_while_it_goes_on() {
    let mut peer = Peer::new();
    let mut number = 0;
    let held = peer.run(30_000, |seen| {
        number += 1;
        seen.received_bytes += u64::from(number % 40 == 0);
    });
    assert_eq!(held, None);
}

#[test]
fn a_silent_network_is_noticed_within_eight_seconds_and_back_dated() {
    let mut peer = Peer::live();
    let last = peer.now;
    let (after, held) = peer.run(10_000, silence).expect("noticed");
    assert_eq!(held, Held::HalfOpen);
    assert!((6_000..=6_200).contains(&after), "{after}");
    let dark_since = peer.progress.dark_since(peer.now);
    assert!(
        last - dark_since <= STEP,
        "when the last acknowledgement came"
    );
}

#[test]
fn a_silence_that_ends_in_time_is_none() {
    let mut peer = Peer::live();
    assert_eq!(peer.run(5_800, silence), None);
    peer.run(200, |seen| {
        seen.acked_bytes += seen.unacked_bytes;
        seen.window_end_bytes = seen.acked_bytes + WINDOW;
        seen.unacked_bytes = 0;
        seen.acked_ago = Duration::ZERO;
    });
    assert_eq!(peer.run(5_800, silence), None);
}

/// The peer's kernel takes what its buffer holds, then answers the kernel's questions only.
fn frozen(per_look: u64) -> impl FnMut(&mut Delivery) {
    move |seen| {
        let room = seen.window_end_bytes - seen.acked_bytes;
        seen.acked_bytes += room.min(per_look);
        seen.unacked_bytes += per_look - room.min(per_look);
        seen.acked_ago = match room {
            0 => (seen.acked_ago + STEP).min(Duration::from_millis(1_600)),
            _ => Duration::ZERO,
        };
    }
}

#[test]
fn a_frozen_peer_whose_window_narrows_is_noticed_within_five_seconds_at_any_bit_rate() {
    for per_look in [100, 1_000, 5_000, 50_000] {
        let mut peer = Peer::live();
        let frozen_at = peer.now;
        let (after, held) = peer.run(20_000, frozen(per_look)).expect("noticed");
        assert_eq!(held, Held::PeerStalled, "{per_look}");
        assert!((4_000..=4_300).contains(&after), "{per_look}: {after}");
        assert!(
            peer.progress.dark_since(peer.now) <= frozen_at + STEP,
            "{per_look}"
        );
    }
}

#[test]
fn a_kernel_that_offers_some_room_for_what_it_takes_delays_neither_the_notice_nor_the_record() {
    // As measured of Linux: up to 30 % of what it takes, until its buffer is full.
    for per_look in [1_000, 3_000, 12_000] {
        let mut peer = Peer::live();
        let frozen_at = peer.now;
        let generous = move |seen: &mut Delivery| {
            let room = seen.window_end_bytes - seen.acked_bytes;
            let taken = room.min(per_look);
            seen.acked_bytes += taken;
            seen.window_end_bytes += taken * 3 / 10;
            seen.unacked_bytes += per_look - taken;
            seen.acked_ago = Duration::ZERO;
        };
        let (after, held) = peer.run(20_000, generous).expect("noticed");
        assert_eq!(held, Held::PeerStalled, "{per_look}");
        assert!((4_000..=4_300).contains(&after), "{per_look}: {after}");
        let dark_since = peer.progress.dark_since(peer.now);
        assert!(dark_since <= frozen_at + STEP, "{per_look}");
    }
}

#[test]
fn a_suspicion_comes_after_a_second_and_goes_with_the_first_read() {
    let mut peer = Peer::live();
    peer.run(900, frozen(5_000));
    assert!(!peer.progress.is_suspect(peer.now));
    peer.run(300, frozen(5_000));
    assert!(peer.progress.is_suspect(peer.now));
    peer.run(200, |seen| {
        seen.acked_bytes += seen.unacked_bytes;
        seen.unacked_bytes = 0;
        seen.window_end_bytes = seen.acked_bytes + WINDOW;
    });
    assert!(!peer.progress.is_suspect(peer.now));
    peer.run(1_200, silence);
    assert!(peer.progress.is_suspect(peer.now));
}

/// Reads a part of what comes, into a buffer of six seconds.
#[test]
fn a_peer_that_reads_a_half_of_it_is_slow() {
    let mut peer = Peer::live();
    peer.seen.window_end_bytes += 60 * RATE;
    let held = peer.run(60_000, |seen| {
        let room = seen.window_end_bytes - seen.acked_bytes;
        seen.acked_bytes += room.min(RATE);
        seen.unacked_bytes += RATE - room.min(RATE);
        seen.window_end_bytes += RATE / 2;
        seen.acked_ago = Duration::ZERO;
    });
    assert_eq!(held, None);
}

/// A worker that was stopped, or had nothing to send, knows nothing of the time between.
#[test]
fn what_was_not_looked_at_counts_for_nothing() {
    let mut peer = Peer::live();
    let step = |seen: &mut Delivery| {
        seen.acked_bytes += 1_000;
        seen.acked_ago = Duration::ZERO;
    };
    peer.now += STALLED_AFTER * 2;
    assert_eq!(peer.run(300, step), None);
    assert_eq!(peer.run(10_000, |seen| seen.acked_ago += STEP), None);
    assert_eq!(peer.run(300, step), None);
}

#[test]
fn a_slow_peer_and_an_idle_one_are_not_frozen() {
    let mut peer = Peer::live();
    let mut number = 0;
    let slow = peer.run(60_000, |seen| {
        number += 1;
        let reads = u64::from(number % 25 == 0) * 1_000;
        seen.acked_bytes += reads;
        seen.window_end_bytes += reads;
        seen.unacked_bytes += RATE;
        seen.acked_ago = Duration::from_millis(number % 25 * 100).min(Duration::from_secs(2));
    });
    assert_eq!(slow, None);
    let mut peer = Peer::live();
    assert_eq!(
        peer.run(60_000, |seen| seen.acked_ago += STEP),
        None,
        "nothing was to be said"
    );
}

#[test]
fn an_ffmpeg_that_takes_nothing_is_told_from_its_peer() {
    let mut peer = Peer::live();
    peer.progress.offered(peer.now);
    let (after, held) = peer
        .run(10_000, |seen| seen.acked_ago += STEP)
        .expect("noticed");
    assert_eq!(held, Held::FfmpegStalled);
    assert!((4_000..=4_200).contains(&after), "{after}");
}

#[test]
fn an_ffmpeg_held_up_by_a_slow_peer_is_not_to_blame() {
    let mut peer = Peer::live();
    peer.progress.offered(peer.now);
    let held = peer.run(20_000, |seen| {
        seen.acked_bytes += 100;
        seen.window_end_bytes += 100;
        seen.unacked_bytes = 200_000;
        seen.acked_ago = Duration::ZERO;
    });
    assert_eq!(held, None);
}

#[test]
fn where_the_peer_cannot_be_asked_two_seconds_of_taking_count() {
    let now = Instant::now();
    let second = Duration::from_secs(1);
    let mut progress = Progress::new(now);
    progress.taken(now);
    let mut look_at = |tenths| progress.look(None, now + second / 10 * tenths);
    assert!((1..20).all(|tenths| look_at(tenths) == Look::Quiet));
    assert_eq!(look_at(20), Look::Delivering);
    progress.offered(now + second * 3);
    let mut look_at = |tenths| progress.look(None, now + second / 10 * tenths);
    assert!((21..70).all(|tenths| look_at(tenths) != Look::Held(Held::FfmpegStalled)));
    assert_eq!(look_at(70), Look::Held(Held::FfmpegStalled));
}

#[test]
fn what_is_taken_before_there_is_a_connection_is_no_delivery() {
    let now = Instant::now();
    let second = Duration::from_secs(1);
    let mut progress = Progress::new(now);
    progress.taken(now);
    progress.may_deliver(false);
    assert!((1..60).all(|tenths| progress.look(None, now + second / 10 * tenths) == Look::Quiet));
    progress.may_deliver(true);
    assert_eq!(progress.look(None, now + second * 6), Look::Delivering);
}

#[test]
fn the_end_of_a_connection_that_delivered_until_then_is_the_end_of_the_delivery() {
    let peer = Peer::live();
    let end = peer.now + Duration::from_millis(60);
    assert_eq!(peer.progress.dark_since(end), end);
}
