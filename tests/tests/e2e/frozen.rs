//! A platform's server that stands still, and all it was sent meanwhile.

use std::time::{Duration, Instant, SystemTime};

use e2e::controller::Setup;
use e2e::media::{self, Clip};
use e2e::pressure::Pressure;
use e2e::process;
use e2e::proxy::{Fault, Proxy};
use e2e::rtmp::{Connection, Receiver};
use e2e::wait;
use nix::sys::signal::Signal;
use serde_json::json;

use super::air::last_frame;
use super::destinations::{assert_begins_well, to};
use super::faulty::{logged, told};

const SOON: Duration = Duration::from_secs(40);
/// Until a server that stands still is told.
const NOTICED: Duration = Duration::from_secs(5);
/// Between a suspicion (a second) and the verdict (four).
const SUSPECTED: Duration = Duration::from_secs(3);
/// What the kernel of a server that stands still takes all the same: 140 KB, and what was on its way.
const TAKEN_BY_ITS_KERNEL: usize = 200_000;

/// Far below the bit rates at which a server's buffers are full within seconds.
fn thin() -> Clip {
    Clip {
        name: "thin.mp4",
        seconds: 60.0,
        size: (320, 180),
        gop: 30,
        kbps: 120,
        more: &["-movflags", "+faststart", "-b:a", "48k"],
        ..Clip::default()
    }
}

/// Bytes of media that arrived after `since`.
fn late_bytes(connection: &Connection, since: Instant) -> usize {
    let late = connection.frames().filter(|it| it.arrived > since);
    late.map(|it| it.tag.bytes).sum()
}

#[test]
fn a_frozen_server_is_noticed_at_any_bit_rate_and_gets_nothing_late() {
    let folder = media::folder(&[("long.mp4", &media::long()), ("thin.mp4", &thin().file())]);
    let servers = ["main", "thin"].map(|_| Receiver::start());
    let proxies = [0, 1].map(|number: usize| Proxy::to(servers[number].address()));
    let config = |number: usize, name: &str, format, item: &str| {
        json!({
            "format": format,
            "destinations": [to(name, &proxies[number].url("rtmp"))],
            "programme": { "items": [{ "key": item }] },
            "retry": { "initial_s": 1, "factor": 1, "max_s": 2 }
        })
    };
    let small = json!({ "width": 320, "height": 180, "fps": media::FPS, "video_kbps": 150, "audio_kbps": 64 });
    let controller = Setup::local(folder.path())
        .stream("main", config(0, "ended", media::format(), "long.mp4"))
        .stream("thin", config(1, "thin", small, "thin.mp4"))
        .start();
    for (id, server) in ["main", "thin"].into_iter().zip(&servers) {
        controller.start(id);
        server.wait_for_span(5_000, SOON);
    }

    let (began_at, pressure) = (SystemTime::now(), Pressure::now());
    for proxy in &proxies {
        proxy.fault(Fault::Freeze);
    }
    let frozen = Instant::now();
    wait::observe(SUSPECTED);
    let address = proxies[0].url("rtmp");
    let publisher = controller.ffmpegs(&address).pop().expect("a publisher");
    process::signal(publisher.pid, Signal::SIGKILL);
    let after = logged(&told(&controller, "thin", "stalled", SOON), began_at);
    eprintln!("under 300 kb/s: stalled after {after:?}");
    assert!(after <= pressure.allows(NOTICED), "{after:?}");

    for proxy in &proxies {
        proxy.fault(Fault::None);
    }
    for server in &servers {
        wait::until("media in another connection", SOON, || {
            (server.media_connections() > 1).then_some(())
        });
        server.wait_for_span(3_000, SOON);
    }
    for id in ["main", "thin"] {
        controller.stop(id);
    }
    for server in &servers {
        let mut with_media = server.connections();
        with_media.retain(Connection::has_media);
        let [before, after] = &with_media[..] else {
            panic!("{} connections with media", with_media.len());
        };
        let late = late_bytes(before, frozen);
        eprintln!("{late} bytes came late");
        assert!(late <= TAKEN_BY_ITS_KERNEL, "{late} bytes came late");
        let next = after.frames().next().expect("media").arrived;
        assert!(
            last_frame(before) <= next,
            "late media beside the next publisher"
        );
        assert_begins_well(after);
    }
}
