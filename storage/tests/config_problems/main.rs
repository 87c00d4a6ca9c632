//! Every mistake of a configuration is told at once, with its path and what is allowed.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use programme::{FormatChoice, ItemSpec, Order, StreamFormat};
use storage::model::live::TransitionKind;
use storage::model::problems::{ConfigError, Problem, parse_config_file, parse_stream};
use storage::model::{RetryConfig, StreamConfig, StreamConfigFile};

mod shapes;

fn problems(text: &str) -> Vec<Problem> {
    match parse_config_file(text.as_bytes()) {
        Err(ConfigError::Problems(problems)) => problems,
        other => panic!("expected problems, got {other:?}"),
    }
}

fn stream_problems(text: &str) -> Vec<Problem> {
    match parse_stream(text.as_bytes()) {
        Err(ConfigError::Problems(problems)) => problems,
        other => panic!("expected problems, got {other:?}"),
    }
}

/// The one problem of a stream's configuration.
fn only(text: &str) -> Problem {
    let mut problems = stream_problems(text);
    assert_eq!(problems.len(), 1, "{text}: {problems:?}");
    problems.remove(0)
}

fn destination(url: &str) -> String {
    let url = serde_json::to_string(url).unwrap();
    format!(r#"{{"destinations": [{{"name": "d", "url": {url}}}]}}"#)
}

fn input(url: &str) -> String {
    let url = serde_json::to_string(url).unwrap();
    format!(r#"{{"live_inputs": [{{"name": "i", "url": {url}}}]}}"#)
}

const EXAMPLE: &str = r#"{ "version": 1,
  "streams": { "main": {
    "autostart": true,
    "programme": { "items": [ {"prefix": "shows/"}, {"key": "ident.mp4"} ], "order": "shuffle", "loop": false },
    "format": { "width": 1920, "height": 1080, "fps": 30, "video_kbps": 4500, "audio_kbps": 160 },
    "slate": { "key": "slates/back-soon.png" },
    "destinations": [
      { "name": "youtube", "url": "rtmps://a.rtmps.youtube.com:443/live2", "key_env": "YOUTUBE_STREAM_KEY" },
      { "name": "nearby", "url": "srt://[::1]:9000?mode=caller&latency=200" } ],
    "live_inputs": [ { "name": "owner", "url": "rtsp://127.0.0.1:8554/live/main/in" } ],
    "retry": { "initial_s": 30, "factor": 2, "max_s": 120, "max_attempts": 3 } } } }"#;

#[test]
fn a_full_configuration_is_read_as_written() {
    let file = parse_config_file(EXAMPLE.as_bytes()).unwrap();
    let by_serde: StreamConfigFile = serde_json::from_str(EXAMPLE).unwrap();
    assert_eq!(file, by_serde);
    let main = &file.streams[&"main".parse().unwrap()];
    assert!(main.autostart && !main.programme.repeat);
    assert_eq!(main.programme.order, Order::Shuffle);
    assert_eq!(main.programme.items[1], ItemSpec::Key("ident.mp4".into()));
    assert_eq!(
        main.destinations[0].key_env.as_deref(),
        Some("YOUTUBE_STREAM_KEY")
    );
    assert_eq!(main.retry.max_attempts, Some(3));
}

#[test]
fn what_may_be_left_out_has_its_default() {
    let config = parse_stream(b"{}").unwrap();
    assert_eq!(config, StreamConfig::default());
    assert_eq!(config, serde_json::from_str("{}").unwrap());
    assert_eq!(config.programme.items, [ItemSpec::Prefix(String::new())]);
    assert_eq!(config.format, FormatChoice::Fixed(StreamFormat::default()));
    let nulls = r#"{"slate": null, "retry": {"max_attempts": null},
        "destinations": [{"name": "a", "url": "rtmp://h/app", "key_env": null}]}"#;
    let config = parse_stream(nulls.as_bytes()).unwrap();
    assert_eq!(config.retry, RetryConfig::default());
    assert_eq!(config.destinations[0].key_env, None);
    let auto = parse_stream(br#"{"format": "auto"}"#).unwrap();
    assert_eq!(auto.format, FormatChoice::Auto);
}

#[test]
fn every_mistake_is_listed_with_its_path() {
    let text = r#"{ "version": 1, "vresion": 2,
      "streams": {
        "../etc": {},
        "main": {
          "autostart": "yes",
          "programme": { "items": [ {"key": ""}, {"prefix": "a/../b"}, {}, {"key": "a", "prefix": "b"}, 7 ], "order": "random" },
          "format": { "width": 1281, "height": 9, "fps": 29.97, "colour": "red" },
          "slate": {},
          "destinations": [
            { "name": "you tube", "url": "http://h/x" },
            { "name": "twitch", "url": "rtmp://user:hunter2@h/app", "key_env": "live_123_abc" },
            { "name": "twitch", "url": "rtmp://h/\napp" } ],
          "live_inputs": [ { "name": "owner", "url": "file:///etc/passwd" }, { "url": "rtsp://h:0/x" } ],
          "retry": { "initial_s": 0, "factor": 99, "max_s": "long", "max_attempts": 0 } } } }"#;
    let problems = problems(text);
    let mut paths: Vec<_> = problems.iter().map(|p| p.path.as_str()).collect();
    paths.sort_unstable();
    let below = "streams.main";
    let expected = [
        "streams.../etc".to_owned(),
        format!("{below}.autostart"),
        format!("{below}.destinations[0].name"),
        format!("{below}.destinations[0].url"),
        format!("{below}.destinations[1].key_env"),
        format!("{below}.destinations[1].url"),
        format!("{below}.destinations[2].name"),
        format!("{below}.destinations[2].url"),
        format!("{below}.format.colour"),
        format!("{below}.format.fps"),
        format!("{below}.format.height"),
        format!("{below}.format.width"),
        format!("{below}.live_inputs[0].url"),
        format!("{below}.live_inputs[1].name"),
        format!("{below}.live_inputs[1].url"),
        format!("{below}.programme.items[0].key"),
        format!("{below}.programme.items[1].prefix"),
        format!("{below}.programme.items[2]"),
        format!("{below}.programme.items[3]"),
        format!("{below}.programme.items[4]"),
        format!("{below}.programme.order"),
        format!("{below}.retry.factor"),
        format!("{below}.retry.initial_s"),
        format!("{below}.retry.max_attempts"),
        format!("{below}.retry.max_s"),
        format!("{below}.slate.key"),
        "vresion".to_owned(),
    ];
    assert_eq!(paths, expected);
    let all = format!("{problems:?}");
    assert!(!all.contains("hunter2"), "a password is repeated");
}

#[test]
fn messages_say_what_is_allowed() {
    let at = |text: &str, path: &str, message: &str| {
        let problem = only(text);
        assert_eq!(
            (problem.path.as_str(), problem.message.as_str()),
            (path, message)
        );
    };
    at(
        r#"{"autostrat": true}"#,
        "autostrat",
        "is not known here; known are: autostart, programme, format, slate, destinations, \
         live_inputs, live, retry",
    );
    at(
        r#"{"autostart": 1}"#,
        "autostart",
        "must be true or false, not a number",
    );
    at(
        r#"{"format": {"width": 100}}"#,
        "format.width",
        "must be a whole number from 160 to 3840",
    );
    at(
        r#"{"format": {"width": 161}}"#,
        "format.width",
        "must be even, not 161",
    );
    at(
        r#"{"format": "1080p"}"#,
        "format",
        "must be \"auto\" or an object with width, height, fps, video_kbps, audio_kbps",
    );
    at(
        &destination("https://h/x"),
        "destinations[0].url",
        "must begin with one of rtmp://, rtmps://, srt://",
    );
    at(
        r#"{"retry": {"initial_s": 60, "max_s": 30}}"#,
        "retry.max_s",
        "must be at least initial_s (60)",
    );
    at("[]", "", "must be an object, not an array");
    at(
        r#"{"destinations": [{"name": "a", "url": "rtmp://h/a"}, {"name": "a", "url": "rtmp://h/b"}]}"#,
        "destinations[1].name",
        "\"a\" is the name of destinations[0] already",
    );
}

#[test]
fn urls_are_held_to_scheme_host_port_and_no_secret() {
    for good in [
        "rtmp://127.0.0.1/live",
        "rtmps://a.rtmps.youtube.com:443/live2",
        "rtmp://[::1]:1935/live/key",
        "srt://host:9000?streamid=publish:x",
    ] {
        parse_stream(destination(good).as_bytes()).unwrap();
    }
    for bad in [
        "",
        "rtmp",
        "rtmp:/h/x",
        "RTMP://h/x",
        "rtmp:///app",
        "rtmp://h:/app",
        "rtmp://h:99999/app",
        "rtmp://h:0/app",
        "rtmp://[::1/app",
        "rtmp://[::1]x/app",
        "rtmp://u@h/app",
        "rtmp://u:p@h/app",
        "rtmp://h/a b",
        "rtmp://h/a\tb",
        "rtmp://h/a\u{0}b",
        "rtmp://h/a\u{85}b",
        "srt://h:1?passphrase=0123456789",
        "tee:rtmp://h/a|file:x",
        "file:///tmp/x",
        "concat:a|b",
        "-rtmp://h/x",
        "rtsp://h/x",
    ] {
        assert_eq!(
            only(&destination(bad)).path,
            "destinations[0].url",
            "{bad:?}"
        );
    }
    for good in [
        "rtsp://cam:8554/x",
        "https://h/live.m3u8?a=b",
        "srt://h:1",
        "rtmp://h/a/b",
    ] {
        parse_stream(input(good).as_bytes()).unwrap();
    }
    for bad in [
        "ftp://h/x",
        "file:///x",
        "/dev/video0",
        "rtsp://u:p@h/x",
        "http://h/x?password=y",
    ] {
        assert_eq!(only(&input(bad)).path, "live_inputs[0].url", "{bad:?}");
    }
    let long = format!("rtmp://h/{}", "a".repeat(2000));
    assert_eq!(only(&destination(&long)).path, "destinations[0].url");
}

#[test]
fn a_key_variable_is_a_name_and_never_one_of_our_own() {
    for (name, good) in [
        ("YOUTUBE_STREAM_KEY", true),
        ("K2", true),
        ("", false),
        ("2K", false),
        ("_K", false),
        ("live-key", false),
        ("abcd-efgh-ijkl", false),
        ("STORAGE_SECRET_ACCESS_KEY", false),
        ("CONTROLLER_API_TOKEN", false),
        ("AWS_SESSION_TOKEN", false),
    ] {
        let text = format!(
            r#"{{"destinations": [{{"name": "d", "url": "rtmp://h/a", "key_env": "{name}"}}]}}"#
        );
        match good {
            true => drop(parse_stream(text.as_bytes()).unwrap()),
            false => {
                let problem = only(&text);
                assert_eq!(problem.path, "destinations[0].key_env");
                // It may be a key put into the wrong place.
                assert!(name.len() < 5 || !problem.message.contains(name));
            }
        }
    }
}

#[test]
fn duplicate_names_in_json_are_a_mistake() {
    let text = r#"{"version": 1, "streams": {"main": {}, "main": {"autostart": true}}}"#;
    let problems = problems(text);
    assert_eq!(problems.len(), 1);
    assert_eq!(
        problems[0].to_string(),
        "streams.main: is there twice; remove one"
    );
}

#[test]
fn what_is_not_json_is_placed() {
    let text = "{\n  \"version\": 1,\n  \"streams\": {,}\n}";
    let Err(ConfigError::Syntax(error)) = parse_config_file(text.as_bytes()) else {
        panic!("accepted");
    };
    assert_eq!((error.line, error.column), (3, 15));
    for text in [
        &b""[..],
        b"{",
        b"nul",
        b"{} x",
        b"\xff\xfe{}",
        b"{\"a\": \"\xff\"}",
    ] {
        let error = parse_stream(text).unwrap_err();
        assert!(matches!(error, ConfigError::Syntax(_)), "{error}");
    }
    let deep = "[".repeat(100_000);
    assert!(matches!(
        parse_stream(deep.as_bytes()),
        Err(ConfigError::Syntax(_))
    ));
}

#[test]
fn the_version_is_required_and_known() {
    assert_eq!(
        problems(r#"{"streams": {}}"#)[0].to_string(),
        "version: is missing"
    );
    for version in [
        "0",
        "2",
        "1.5",
        "-1",
        "\"1\"",
        "null",
        "1e400",
        "99999999999999999999",
    ] {
        let text = format!(r#"{{"version": {version}}}"#);
        assert!(parse_config_file(text.as_bytes()).is_err(), "{version}");
    }
}

#[test]
fn a_live_input_is_pulled_or_pushed_and_its_words_are_few() {
    let text = br#"{"live_inputs": [
        {"name": "both", "url": "rtsp://h/live/main/in", "ingest": true},
        {"name": "none"},
        {"name": "pushed", "ingest": true, "user": "me"},
        {"name": "odd", "url": "rtsp://h/a", "take": "later", "on_loss": "cry", "grace_s": 4000}],
      "live": {"resume": "never", "transition": {"kind": "wipe", "seconds": 3}, "fade": 1}}"#;
    let Err(ConfigError::Problems(problems)) = parse_stream(text) else {
        panic!("it has mistakes");
    };
    let paths: Vec<_> = problems.iter().map(|p| p.path.as_str()).collect();
    for path in [
        "live_inputs[0]",
        "live_inputs[1]",
        "live_inputs[2]",
        "live_inputs[3].take",
        "live_inputs[3].on_loss",
        "live_inputs[3].grace_s",
        "live.resume",
        "live.transition.kind",
        "live.transition.seconds",
        "live.fade",
    ] {
        assert!(paths.contains(&path), "{path} is not told: {problems:?}");
    }
    let good = br#"{"live_inputs": [{"name": "studio", "ingest": true},
        {"name": "mtx", "url": "rtsp://127.0.0.1:8554/live/main/in", "user": "u", "password_env": "MTX_PASSWORD",
         "take": "manual", "on_loss": "slate", "grace_s": 5}],
      "live": {"resume": "item", "transition": {"kind": "cut", "seconds": 1}, "card": {"key": "soon.png"}}}"#;
    let config = parse_stream(good).expect("it is right");
    assert!(config.live_inputs[0].ingest && config.live_inputs[0].url.is_none());
    let of_kind = |kind: &str| {
        let text = format!(r#"{{"live": {{"transition": {{"kind": "{kind}", "seconds": 1}}}}}}"#);
        parse_stream(text.as_bytes()).map(|config| config.live.transition.kind)
    };
    for (word, kind) in [
        ("cut", TransitionKind::Cut),
        ("fade", TransitionKind::Fade),
        ("dip", TransitionKind::Dip),
        ("crossfade", TransitionKind::Crossfade),
    ] {
        assert_eq!(of_kind(word).expect("it is right"), kind);
    }
    let written = serde_json::to_string(&config).expect("serializes");
    assert_eq!(
        parse_stream(written.as_bytes()).expect("reads its own"),
        config
    );
    let plain = serde_json::to_string(&parse_stream(b"{}").expect("empty")).expect("serializes");
    assert!(
        !plain.contains("\"live\""),
        "an older release reads it: {plain}"
    );
}
