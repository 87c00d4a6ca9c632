//! The instruments themselves: what they measure must be true before anything is judged by them.

use std::path::Path;
use std::time::Duration;

use e2e::flv::Track;
use e2e::process::{self, Child};
use e2e::rtmp::{Manners, Message, Receiver};
use e2e::viewer::{self, Report};
use e2e::{http, media, nginx::Nginx, s3::Bucket, s3::Fault, wait};

const LIMIT: Duration = Duration::from_secs(40);

fn publish(file: &Path, more: &[&str], url: &str) -> Child {
    let mut command = process::command("ffmpeg");
    command.args(["-v", "error"]).args(more).arg("-i").arg(file);
    command.args(["-c", "copy", "-f", "flv", url]);
    command.stderr(std::process::Stdio::null());
    Child::spawn(&mut command)
}

#[test]
fn a_file_is_received_packet_for_packet_and_in_real_time() {
    let receiver = Receiver::start();
    for (name, file) in [media::ten()[3].clone(), media::ten()[5].clone()] {
        let url = format!("{}/key", receiver.url());
        let mut ffmpeg = publish(&file, &["-re"], &url);
        assert!(ffmpeg.wait(LIMIT).success());
        let connection = receiver.connections().pop().unwrap();
        assert_eq!(
            (connection.app.as_str(), connection.key.as_str()),
            ("live", "key")
        );
        assert!(connection.unpublished && connection.error.is_none());

        let sent = media::packets(&file);
        let received: Vec<_> = connection
            .frames()
            .map(|m| (m.tag.digest, m.tag.dts_ms, m.tag.pts_ms))
            .collect();
        let sent: Vec<_> = sent
            .iter()
            .filter(|t| t.is_frame())
            .map(|t| (t.digest, t.dts_ms, t.pts_ms))
            .collect();
        assert_eq!(received, sent, "{name}");

        let report = Report::of(&connection.messages);
        report.assert_seamless(media::FPS);
        assert!(
            report.longest_arrival_hole < Duration::from_secs(1),
            "{report:?}"
        );
        assert!(report.greatest_burst_ms < 1_000, "{report:?}");
    }
}

#[test]
fn a_good_join_passes_and_each_flaw_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.txt");
    let files = media::ten();
    let lines: String = [&files[1], &files[3]]
        .iter()
        .map(|(_, file)| format!("file '{}'\n", file.display()))
        .collect();
    std::fs::write(&list, lines).unwrap();

    let receiver = Receiver::start();
    let url = format!("{}/key", receiver.url());
    publish(&list, &["-f", "concat", "-safe", "0"], &url).wait(LIMIT);
    let messages = receiver.only_connection().messages;
    let report = Report::of(&messages);
    assert!(
        report.longest_step_ms <= 34 && report.longest_audio_hole_ms < 21.0,
        "{report:?}"
    );

    let known: Vec<_> = files.iter().map(|(_, f)| media::packets(f)).collect();
    let passages = viewer::passages(&messages, &known);
    let order: Vec<_> = passages.iter().map(|p| p.file).collect();
    assert_eq!(order, [1, 3]);
    // The concat demuxer puts parameter sets into the keyframes, so those are not the file's own.
    let keyframes = 4;
    assert!(
        passages
            .iter()
            .all(|p| p.pictures.0 + keyframes >= p.pictures.1),
        "{passages:?}"
    );

    let flawed = |flaw: &dyn Fn(usize, &mut Message) -> bool| {
        let mut spoiled = messages.clone();
        let mut number = 0;
        spoiled.retain_mut(|message| {
            number += 1;
            flaw(number, message)
        });
        Report::of(&spoiled)
    };
    let lost = flawed(&|n, m| n != 200 || !m.tag.is_frame());
    assert!(
        lost.longest_step_ms > 34 || lost.longest_audio_hole_ms > 21.0,
        "{lost:?}"
    );
    let late = flawed(&|n, m| {
        let shift = if n > 200 && m.tag.track == Track::Video {
            40
        } else {
            0
        };
        m.tag.pts_ms += shift;
        true
    });
    assert!(late.longest_step_ms > 70, "{late:?}");
    let repeated = flawed(&|n, m| {
        m.tag.dts_ms -= if n > 200 { 60 } else { 0 };
        true
    });
    assert!(repeated.decode_order_errors > 0, "{repeated:?}");
    let shifted: Vec<_> = messages
        .iter()
        .map(|m| {
            let mut m = *m;
            m.tag.pts_ms += if m.tag.track == Track::Audio { 30 } else { 0 };
            m
        })
        .collect();
    let passages = viewer::passages(&shifted, &known);
    assert!(
        passages.iter().all(|p| p.av_error_ms() >= 25),
        "{passages:?}"
    );
}

#[test]
fn a_burst_is_seen() {
    let receiver = Receiver::start();
    let url = format!("{}/key", receiver.url());
    let (_, file) = &media::ten()[0];
    publish(file, &[], &url).wait(LIMIT);
    let report = Report::of(&receiver.only_connection().messages);
    assert!(report.greatest_burst_ms > 2_000, "all at once: {report:?}");
}

#[test]
fn a_refused_key_and_a_dropped_connection_end_the_publisher() {
    let receiver = Receiver::start();
    let url = format!("{}/key", receiver.url());
    receiver.behave(Manners::RejectKey);
    assert!(
        !publish(&media::long(), &["-re"], &url)
            .wait(LIMIT)
            .success()
    );
    assert!(!receiver.only_connection().has_media());

    receiver.behave(Manners::Polite);
    let mut ffmpeg = publish(&media::long(), &["-re"], &url);
    receiver.wait_for_media(1, LIMIT);
    receiver.drop_connections();
    assert!(!ffmpeg.wait(LIMIT).success());

    receiver.behave(Manners::Refuse);
    assert!(
        !publish(&media::long(), &["-re"], &url)
            .wait(LIMIT)
            .success()
    );
    assert_eq!(receiver.media_connections(), 1);
}

#[test]
fn a_stalled_receiver_holds_the_publisher_up_within_seconds() {
    let receiver = Receiver::start();
    let url = format!("{}/key", receiver.url());
    let _ffmpeg = publish(&media::long(), &["-re"], &url);
    receiver.wait_for_span(1_000, LIMIT);
    receiver.behave(Manners::Stall);
    let count = || receiver.look(|all| all[0].messages.len());
    let stalled_at = count();
    wait::observe(Duration::from_secs(1));
    assert!(count() <= stalled_at + 60, "at most what was in the buffer");
    receiver.behave(Manners::Polite);
    wait::until("it goes on", LIMIT, || {
        (count() > stalled_at + 60).then_some(())
    });
}

#[test]
fn the_bucket_checks_signatures_and_can_fail() {
    let bucket = Bucket::with(&[("a/film.mp4", &media::bad::good())]);
    let address = bucket
        .endpoint()
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    let get = |path: &str| http::request(address, "GET", path, &[], &[], LIMIT);
    assert_eq!(get("/films/a/film.mp4").unwrap().status, 403);
    bucket.fault("film", Fault::Status(503));
    let answer = get("/films/a/film.mp4").unwrap();
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("SlowDown"));
    assert_eq!(
        bucket.seen().iter().map(|s| s.status).collect::<Vec<_>>(),
        [403, 503]
    );
}

#[test]
fn nginx_records_what_is_published() {
    let Some(nginx) = Nginx::start() else {
        return super::skipped("nginx with its RTMP module is not installed");
    };
    let (_, file) = &media::ten()[4];
    let mut ffmpeg = publish(file, &[], &format!("{}/key", nginx.url()));
    assert!(ffmpeg.wait(LIMIT).success());
    let recording = wait::until("a recording", LIMIT, || {
        (nginx.publishers() == 1)
            .then(|| nginx.recordings().pop())
            .flatten()
    });
    let video = media::packets(&recording);
    let pictures = |tags: &[e2e::flv::Tag]| {
        tags.iter()
            .filter(|t| t.track == Track::Video && t.is_frame())
            .count()
    };
    assert_eq!(pictures(&video), pictures(&media::packets(file)));
}
