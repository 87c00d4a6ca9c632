//! What can become of a destination: told by its name and in time, recorded when it was, and over
//! as soon as it can be.

use std::time::{Duration, Instant, SystemTime};

use e2e::controller::{Controller, Setup};
use e2e::far::Far;
use e2e::media;
use e2e::nginx::free_address;
use e2e::pressure::Pressure;
use e2e::process;
use e2e::proxy::Fault;
use e2e::rtmp::{Connection, Receiver};
use e2e::viewer::Report;
use e2e::wait;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::air::{assert_recorded, last_frame, record};
use super::destinations::{assert_begins_well, to};
use super::faulty::{Behind, Failing, Wrong, logged, shown, told, wait_all_live};

const SOON: Duration = Duration::from_secs(40);
/// Until a fault is told; what says nothing at all has three seconds more.
const NOTICED: Duration = Duration::from_secs(5);
/// Of 840 with sound; headers take some of it.
const NARROW_KBPS: u32 = 640;
/// What a machine with other things to do may add to any of the times promised.
const LOADED: Duration = Duration::from_secs(2);

#[test]
fn each_fault_is_told_by_its_name_in_time_and_touches_nobody_else() {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let (good, failing, wrong) = (Receiver::start(), Failing::new(), Wrong::new());
    let mut destinations = vec![to("good", &good.url())];
    destinations.extend(failing.destinations());
    destinations.extend(wrong.destinations());
    let config = json!({
        "format": media::format(),
        "destinations": destinations,
        "retry": { "initial_s": 1, "factor": 2, "max_s": 10 }
    });
    let controller = Setup::local(folder.path()).stream("main", config).start();
    let (began_at, pressure) = (SystemTime::now(), Pressure::now());
    controller.start("main");
    for (name, after) in wrong.told(&controller, began_at) {
        eprintln!("{name}: told {after:?} after the start");
        assert!(
            after <= pressure.allows(NOTICED),
            "{name}: told after {after:?}"
        );
    }
    wait_all_live(&controller, &["good"]);
    wait_all_live(&controller, &Failing::NAMES);
    // Kernels learn in the first seconds what their buffers have to hold.
    for behind in failing.all() {
        behind.receiver.wait_for_span(4_000, SOON);
    }

    let (began_at, pressure) = (SystemTime::now(), Pressure::now());
    failing.fail();
    assert_slow_is_shown(&controller);
    let shown_after = began_at
        .elapsed()
        .expect("the clock stands still for nobody");
    eprintln!("slow is shown after {shown_after:?}");
    assert!(
        shown_after <= pressure.allows(NOTICED),
        "slow is shown after {shown_after:?}"
    );
    for (name, kind) in [
        ("reset", "connection_lost"),
        ("half-closed", "connection_lost"),
        ("frozen", "stalled"),
        ("slow", "slow"),
    ] {
        let after = logged(&told(&controller, name, kind, SOON), began_at);
        eprintln!("{name}: {kind} after {after:?}");
        assert!(
            after <= pressure.allows(NOTICED),
            "{name}: {kind} after {after:?}"
        );
    }
    controller.wait("main", "closings in a row", SOON, |status| {
        shown(status, "closing")["state"] == "rejected"
    });
    assert_measured(&controller);
    assert_slow_alone(&controller, "slow");
    controller.stop("main");

    let report = Report::of(&good.only_connection().messages);
    report.assert_seamless(media::FPS);
    report.assert_no_hole_over(Duration::from_millis(500));
    let record = record(&controller);
    for (name, cause, behind) in [
        ("reset", "destination_lost", &failing.reset),
        ("frozen", "destination_stalled", &failing.frozen),
    ] {
        let first = behind.receiver.connections().remove(0);
        assert_recorded(&record, name, cause, &first);
    }
    let last = &record[record.len() - 1];
    assert_eq!(last["event"], json!({ "kind": "ended", "code": 0 }));
}

fn assert_slow_is_shown(controller: &Controller) {
    let status = controller.wait("main", "slow", SOON, |status| {
        let slow = shown(status, "slow");
        slow["state"] == "live" && slow["error"]["type"] == "slow"
    });
    let it = shown(&status, "slow");
    assert!(
        it["behind_s"].as_f64() > Some(0.0) && it["unacked_bytes"].is_u64(),
        "{it:#}"
    );
    assert_eq!(it["connections"], 1, "it is not connected anew");
    assert_eq!(status["state"], "degraded");
}

/// A line that carries 7/10 of the stream; answers when it was told.
fn assert_narrow_is_told(controller: &Controller, far: &Far) -> Option<Duration> {
    let (began_at, pressure) = (SystemTime::now(), Pressure::now());
    if !far.narrow(NARROW_KBPS) {
        return None;
    }
    let after = logged(&told(controller, "silent", "slow", SOON), began_at);
    assert!(after <= pressure.allows(NOTICED), "slow after {after:?}");
    far.widen();
    controller.wait("main", "it has caught up", SOON, |status| {
        shown(status, "silent")["error"] == Value::Null
    });
    assert_slow_alone(controller, "silent");
    Some(after)
}

/// Of all destinations only this one was ever told to be slow.
fn assert_slow_alone(controller: &Controller, name: &str) {
    let log = controller.worker_log();
    let events = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    for event in events.filter(|event| event["error_type"] == "slow") {
        assert_eq!(event["destination"], name, "{event:#}");
    }
}

/// What the kernel knows of a connection is in the status and in the metrics.
fn assert_measured(controller: &Controller) {
    let it = shown(&controller.status("main"), "good");
    assert!(
        it["rtt_ms"].is_number() && it["retransmits"].is_u64(),
        "{it:#}"
    );
    let metrics = controller
        .call("GET", "/metrics", &Value::Null)
        .expect(200)
        .text();
    for name in [
        "unacked_bytes",
        "rtt_seconds",
        "retransmits",
        "behind_seconds",
    ] {
        assert!(
            metrics.contains(&format!("stream_controller_destination_{name}{{")),
            "{name}"
        );
    }
}

#[test]
fn a_narrow_network_is_noticed_within_five_seconds_a_silent_one_in_eight_and_over_in_three() {
    let Some(far) = Far::away() else {
        return super::skipped("network namespaces cannot be made here");
    };
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let (good, silent) = (Receiver::start(), far.receiver());
    let config = json!({
        "format": media::format(),
        "destinations": [to("good", &good.url()), to("silent", &silent.url())],
        "retry": { "initial_s": 60, "factor": 1, "max_s": 60 }
    });
    let controller = Setup::local(folder.path()).stream("main", config).start();
    controller.start("main");
    wait_all_live(&controller, &["good", "silent"]);
    silent.wait_for_span(2_000, SOON);
    // A worker that stands still for a moment makes no destination slow, neither here nor there.
    let worker = controller.worker_pid("main");
    process::signal(worker, Signal::SIGSTOP);
    wait::observe(Duration::from_millis(800));
    process::signal(worker, Signal::SIGCONT);
    silent.wait_for_span(6_000, SOON);
    match assert_narrow_is_told(&controller, &far) {
        Some(after) => eprintln!("slow after {after:?}"),
        None => super::skipped("this kernel cannot make a network narrow"),
    }
    far.cut();
    let (began_at, pressure) = (SystemTime::now(), Pressure::now());
    let after = logged(&told(&controller, "silent", "half_open", SOON), began_at);
    eprintln!("half_open after {after:?}");
    assert!(
        after <= pressure.allows(Duration::from_secs(8)),
        "{after:?}"
    );
    wait::observe(Duration::from_secs(4));
    far.mend();
    let mended = Instant::now();
    let back = silent.wait_for_media(1, SOON);
    eprintln!("back {:?} after it could be", back - mended);
    assert!(back - mended < Duration::from_secs(3) + LOADED);
    silent.wait_for_span(2_000, SOON);
    controller.stop("main");
    let connections = silent.connections();
    let with_media: Vec<_> = connections.iter().filter(|c| c.has_media()).collect();
    assert_begins_well(with_media[1]);
    assert_recorded(
        &record(&controller),
        "silent",
        "destination_stalled",
        with_media[0],
    );
    Report::of(&good.only_connection().messages).assert_seamless(media::FPS);
}

#[test]
fn a_destination_is_back_three_seconds_after_it_can_be_however_long_the_wait() {
    let folder = media::folder(&[("long.mp4", &media::long())]);
    let (good, restarted, frozen) = (Receiver::start(), Receiver::start(), Behind::new());
    let absent = free_address();
    let config = json!({
        "format": media::format(),
        "destinations": [
            to("good", &good.url()),
            to("absent", &format!("rtmp://{absent}/live")),
            to("restarted", &restarted.url()),
            frozen.destination("frozen"),
        ],
        "retry": { "initial_s": 600, "factor": 1, "max_s": 600 }
    });
    let controller = Setup::local(folder.path()).stream("main", config).start();
    controller.start("main");
    wait_all_live(&controller, &["good", "restarted", "frozen"]);
    restarted.wait_for_span(4_000, SOON);
    let address = restarted.address();
    frozen.proxy.fault(Fault::Freeze);
    drop(restarted);
    told(&controller, "absent", "connection_refused", SOON);
    told(&controller, "restarted", "connection_lost", SOON);
    told(&controller, "frozen", "stalled", SOON);
    // Some knocks in vain.
    wait::observe(Duration::from_secs(4));

    let healed = Instant::now();
    frozen.proxy.fault(Fault::None);
    let (absent, restarted) = (Receiver::start_at(absent), Receiver::start_at(address));
    for (name, receiver) in [
        ("absent", &absent),
        ("restarted", &restarted),
        ("frozen", &frozen.receiver),
    ] {
        let back = wait::until("media again", SOON, || {
            receiver.look(|all| {
                let mut opened = all.iter().filter(|it| it.opened > healed);
                opened.find_map(|it| Some(it.frames().next()?.arrived))
            })
        });
        eprintln!("{name}: back {:?} after it could be", back - healed);
        assert!(back - healed < Duration::from_secs(3) + LOADED, "{name}");
    }
    for receiver in [&absent, &restarted, &frozen.receiver] {
        receiver.wait_for_span(3_000, SOON);
    }
    controller.stop("main");
    for receiver in [&absent, &restarted, &frozen.receiver] {
        let newest = receiver
            .connections()
            .into_iter()
            .rfind(Connection::has_media);
        let newest = newest.expect("it is back");
        assert_begins_well(&newest);
        let report = Report::of(&newest.messages);
        eprintln!("burst {} ms", report.greatest_burst_ms);
        assert!(report.greatest_burst_ms < 1_500, "{report:?}");
    }
    let report = Report::of(&good.only_connection().messages);
    report.assert_seamless(media::FPS);
    report.assert_no_hole_over(Duration::from_millis(500));
}

#[test]
fn a_connection_is_renewed_between_two_items_without_losing_a_picture() {
    let ten = media::ten();
    let files = [&ten[0], &ten[1], &ten[4]];
    let named: Vec<_> = files
        .iter()
        .map(|(name, file)| (name.as_str(), file.as_path()))
        .collect();
    let folder = media::folder(&named);
    let (kept, renewed) = (Receiver::start(), Receiver::start());
    let mut destination = to("renewed", &renewed.url());
    destination["renew_after_s"] = json!(10);
    let config = json!({
        "format": media::format(),
        "destinations": [to("kept", &kept.url()), destination]
    });
    let controller = Setup::local(folder.path()).stream("main", config).start();
    controller.start("main");
    renewed.wait_for_media(1, Duration::from_secs(60));
    renewed.wait_for_span(2_000, SOON);
    let it = shown(&controller.status("main"), "renewed");
    assert_eq!(
        (&it["retry_count"], &it["error"]),
        (&json!(0), &Value::Null),
        "no failure: {it:#}"
    );
    controller.stop("main");

    let connections = renewed.connections();
    let [before, after] = &connections[..] else {
        panic!("two connections, not {}", connections.len());
    };
    assert!(before.unpublished && before.error.is_none(), "said goodbye");
    assert!(
        after.opened >= before.closed.expect("ended"),
        "never two publishers"
    );
    let hole = after.frames().next().expect("media").arrived - last_frame(before);
    eprintln!("renewed within {hole:?}");
    assert!(hole < Duration::from_secs(2) + LOADED, "{hole:?}");
    assert_begins_well(after);
    // Together, what the other destination got without a break.
    let pictures = |connection: &Connection| -> Vec<u64> {
        let video = connection
            .frames()
            .filter(|m| m.tag.track == e2e::flv::Track::Video);
        video.map(|m| m.tag.digest).collect()
    };
    let whole = pictures(&kept.only_connection());
    let parts = [pictures(before), pictures(after)].concat();
    let common = parts.len().min(whole.len()) - 15;
    assert_eq!(
        parts[..common],
        whole[..common],
        "a picture was lost or repeated"
    );
    let record = record(&controller);
    let dark = record.iter().find(|entry| {
        entry["event"]["destination"] == "renewed" && entry["event"]["kind"] == "dark"
    });
    assert_eq!(dark.expect("recorded")["event"]["cause"], "planned_renewal");
}
