//! A network that loses packets and a resolver that says nothing: the session stays, or is back in time.

use std::time::{Duration, Instant};

use e2e::apart::Network;
use e2e::controller::{Setup, to_one};
use e2e::media;
use e2e::rtmp::Receiver;
use e2e::viewer::Report;
use e2e::wait;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(40);

#[test]
fn a_line_that_loses_packets_costs_moments_and_no_connection() {
    // Tries of TCP's, each twice as long as the one before, from a fifth of a second on: of the fifth, at
    // 6.2 s, there is not one in thousands of runs.
    const LONGEST_HOLE: Duration = Duration::from_secs(6);
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let network = match Network::alone() {
        Ok(network) => network,
        Err(why) => return super::skipped(&why),
    };
    let receiver = Receiver::start();
    let setup = Setup::local(folder.path()).stream("main", to_one(&receiver.url()));
    let controller = setup.start();
    controller.start("main");
    controller.wait_state("main", "running", SOON);
    receiver.wait_for_span(1_000, SOON);
    if let Err(why) = network.lose(5, receiver.address().port()) {
        return super::skipped(&why);
    }

    wait::observe(Duration::from_secs(15));
    let status = controller.status("main");
    assert_eq!(
        (&status["state"], &status["restarts"]),
        (&"running".into(), &0.into()),
        "{status:#}"
    );
    assert!(network.lost() > 0, "no packet was lost");
    let destination = &status["destinations"][0];
    assert_eq!(destination["connections"], 1, "{destination:#}");
    assert_eq!(destination["dropped_frames"], 0, "{destination:#}");
    let report = Report::of(&receiver.only_connection().messages);
    report.assert_seamless(media::FPS);
    report.assert_no_hole_over(LONGEST_HOLE);
}

#[test]
fn a_resolver_that_says_nothing_is_named_within_two_seconds_and_over_soon_after_it_speaks() {
    // Two seconds and a busy machine; a resolver left to itself is asked for ten.
    const NAMED: Duration = Duration::from_secs(5);
    // Two steps of the ladder that it has climbed by then, 1 s and 2 s, each up to 20 % longer, and a try.
    const BACK: Duration = Duration::from_secs(8);
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let network = match Network::alone() {
        Ok(network) => network,
        Err(why) => return super::skipped(&why),
    };
    let resolver = match network.resolver() {
        Ok(resolver) => resolver,
        Err(why) => return super::skipped(&why),
    };
    let receiver = Receiver::start();
    let url = format!("rtmp://platform.test:{}/live", receiver.address().port());
    let setup = Setup::local(folder.path()).stream("main", to_one(&url));
    let controller = setup.start();
    controller.start("main");
    controller.wait_state("main", "running", SOON);
    receiver.wait_for_span(1_000, SOON);
    let worker = controller.worker_pid("main");

    resolver.silence(true);
    receiver.drop_connections();
    let attempts = attempts(SOON, 2, || {
        controller.status("main")["destinations"][0].clone()
    });
    for took in &attempts {
        assert!(*took <= NAMED, "an attempt took {took:?}: {attempts:?}");
    }
    let healed = Instant::now();
    resolver.silence(false);
    let back = receiver.wait_for_media(1, SOON) - healed;
    assert!(back <= BACK, "{back:?}");
    assert_eq!(controller.worker_pid("main"), worker);
    for connection in receiver.connections() {
        Report::of(&connection.messages).assert_seamless(media::FPS);
    }
}

/// How long each of the next `number` tries of a destination took that ended for want of an address.
fn attempts(limit: Duration, number: usize, look: impl Fn() -> Value) -> Vec<Duration> {
    let (mut took, mut begun) = (Vec::new(), None);
    wait::until("the tries fail", limit, || {
        let destination = look();
        match destination["state"].as_str() {
            Some("connecting") => {
                begun.get_or_insert_with(Instant::now);
            }
            Some("backoff") if destination["error"]["type"] == "dns_failed" => {
                took.extend(begun.take().map(|begun: Instant| begun.elapsed()));
            }
            _ => {}
        }
        (took.len() == number).then_some(())
    });
    took
}
