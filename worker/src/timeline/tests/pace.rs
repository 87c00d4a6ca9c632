//! The pacer on a clock of its own.

use crate::timeline::Pacer;
use std::time::Duration;
use tokio::time::Instant;

const STEP: Duration = Duration::from_millis(40);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn nothing_is_due_before_the_start() {
    let mut pacer = Pacer::new(STEP);
    let now = Instant::now();
    assert_eq!((pacer.due_until(now), pacer.next_wakeup(0)), (None, None));
    assert_eq!(pacer.held_up(now), None);
}

#[test]
fn one_wake_up_releases_everything_of_its_step() {
    let (mut pacer, start) = (Pacer::new(STEP), Instant::now());
    pacer.start(start, 1_000);
    assert_eq!(pacer.due_until(start), Some(1_000));
    for (air_ms, wakeup_ms) in [(900, 0), (1_000, 0), (1_001, 40), (1_040, 40), (1_041, 80)] {
        let wakeup = pacer.next_wakeup(air_ms).unwrap();
        assert_eq!(wakeup, start + ms(wakeup_ms), "{air_ms}");
        assert!(pacer.due_until(wakeup) >= Some(air_ms));
    }
    assert_eq!(pacer.due_until(start + ms(39)), Some(1_000));
    assert_eq!(pacer.due_until(start + ms(40)), Some(1_040));
}

#[test]
fn a_short_delay_is_made_up_for_and_a_long_one_is_not() {
    let (mut pacer, start) = (Pacer::new(STEP), Instant::now());
    pacer.start(start, 0);
    pacer.next_wakeup(400);
    assert_eq!(pacer.held_up(start + ms(1_400)), None);
    assert_eq!(pacer.due_until(start + ms(1_400)), Some(1_400));

    assert_eq!(pacer.held_up(start + ms(5_400)), Some(ms(5_000)));
    assert_eq!(pacer.due_until(start + ms(5_400)), Some(400));
    assert_eq!(pacer.held_up(start + ms(5_400)), None);
    assert_eq!(pacer.next_wakeup(440), Some(start + ms(5_440)));
}

#[test]
fn sixty_days_on_the_grid() {
    let (mut pacer, start) = (Pacer::new(STEP), Instant::now());
    pacer.start(start, 0);
    let end_ms = 60 * 86_400_000;
    let wakeup = pacer.next_wakeup(end_ms as i64).unwrap();
    assert_eq!(wakeup, start + ms(end_ms));
    assert_eq!(pacer.due_until(wakeup), Some(end_ms as i64));
}
