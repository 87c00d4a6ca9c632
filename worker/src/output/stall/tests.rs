use super::*;

fn delivery(acked_bytes: u64, pending: bool) -> Option<Delivery> {
    Some(Delivery {
        acked_bytes,
        pending,
    })
}

const SECOND: Duration = Duration::from_secs(1);

/// A connection that has delivered media.
fn live(now: Instant) -> Progress {
    let mut progress = Progress::default();
    progress.taken(now);
    assert_eq!(
        progress.look(delivery(20_000, false), now),
        Look::Delivering
    );
    progress
}

#[test]
fn a_handshake_is_no_delivery() {
    let now = Instant::now();
    let mut progress = Progress::default();
    progress.taken(now);
    assert_eq!(progress.look(delivery(3_600, true), now), Look::Quiet);
    assert_eq!(progress.look(delivery(9_000, true), now), Look::Delivering);
}

#[test]
fn a_frozen_peer_is_noticed_after_five_seconds() {
    let now = Instant::now();
    let mut progress = live(now);
    assert_eq!(progress.look(delivery(20_000, true), now), Look::Quiet);
    let almost = now + STALLED_AFTER - SECOND;
    assert_eq!(progress.look(delivery(20_000, true), almost), Look::Quiet);
    let then = now + STALLED_AFTER;
    assert_eq!(
        progress.look(delivery(20_000, true), then),
        Look::NotAcknowledged
    );
}

#[test]
fn a_slow_peer_and_an_idle_one_are_not_frozen() {
    let now = Instant::now();
    let mut progress = live(now);
    for second in 0..60u32 {
        let then = now + SECOND * second;
        let acked_bytes = 20_000 + u64::from(second / 4);
        let look = progress.look(delivery(acked_bytes, true), then);
        assert!(matches!(look, Look::Quiet | Look::Delivering), "{second}");
    }
    for second in 60..120u32 {
        let look = progress.look(delivery(20_015, false), now + SECOND * second);
        assert!(matches!(look, Look::Quiet | Look::Delivering), "{second}");
    }
}

#[test]
fn an_ffmpeg_that_takes_nothing_is_noticed_after_five_seconds() {
    let now = Instant::now();
    let mut progress = live(now);
    progress.offered(now);
    progress.offered(now + SECOND * 3);
    let acked = |second: u32| delivery(20_000 + u64::from(second), true);
    assert_ne!(progress.look(acked(4), now + SECOND * 4), Look::NotTaken);
    assert_eq!(progress.look(acked(5), now + SECOND * 5), Look::NotTaken);
    progress.taken(now + SECOND * 6);
    assert_ne!(progress.look(acked(6), now + SECOND * 6), Look::NotTaken);
}

#[test]
fn while_connecting_ffmpeg_may_give_up_by_itself_first() {
    let now = Instant::now();
    let mut progress = Progress::default();
    progress.offered(now);
    let look = progress.look(delivery(0, true), now + STALLED_AFTER);
    assert_eq!(look, Look::Quiet);
    let look = progress.look(delivery(0, true), now + NOT_CONNECTED_AFTER);
    assert_eq!(look, Look::NotTaken);
}

#[test]
fn where_the_peer_cannot_be_asked_two_seconds_of_taking_count() {
    let now = Instant::now();
    let mut progress = Progress::default();
    progress.taken(now);
    assert_eq!(progress.look(None, now + SECOND), Look::Quiet);
    assert_eq!(progress.look(None, now + SECOND * 2), Look::Delivering);
}
