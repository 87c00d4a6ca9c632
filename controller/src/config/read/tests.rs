use clap::{Args, Command, FromArgMatches};

use storage::model::job::Provider;

use super::*;
use crate::config::MapVars;

fn place() -> Place {
    Place {
        cwd: "/home/op".into(),
        exe_dir: "/opt/sc".into(),
        root: false,
        terminal: false,
        cgroup: None,
    }
}

fn read<const N: usize>(vars: [(&str, &str); N]) -> Result<Config, ConfigErrors> {
    Config::read(&Flags::default(), MapVars::from(vars), &place())
}

fn errors<const N: usize>(vars: [(&str, &str); N]) -> String {
    read(vars).unwrap_err().to_string()
}

#[test]
fn a_newcomer_needs_no_setting() {
    let config = read([("HOME", "/home/op")]).unwrap();
    assert_eq!(config.bind.to_string(), "127.0.0.1:8080");
    assert_eq!(config.storage.provider, Provider::Local);
    let state_dir = Path::new("/home/op/.local/state/stream-controller");
    assert_eq!(config.layout.state_dir, state_dir);
    assert_eq!(config.storage.local_dir, Some(state_dir.join("media")));
    assert_eq!(config.worker_bin, Path::new("/opt/sc/stream-worker"));
    assert_eq!(config.ffmpeg_bin, Path::new("ffmpeg"));
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = errors([
        ("CONTROLLER_BIND", "localhost"),
        ("STORAGE_PROVIDER", "s3"),
        ("STORAGE_URL_TTL_SECS", "5"),
        ("STORAGE_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("LOG_FORMAT", "xml"),
        ("ALLOW_ARGV_SECRETS", "maybe"),
        ("CONTROLLER_CORS_ORIGINS", "*"),
    ]);
    for name in [
        "CONTROLLER_BIND",
        "STORAGE_BUCKET",
        "STORAGE_URL_TTL_SECS",
        "STORAGE_SECRET_ACCESS_KEY",
        "LOG_FORMAT",
        "ALLOW_ARGV_SECRETS",
        "CONTROLLER_CORS_ORIGINS",
    ] {
        assert!(text.contains(name), "{name} is not told in: {text}");
    }
    assert!(text.starts_with("7 mistake(s)"), "{text}");
}

#[test]
fn secrets_are_never_shown() {
    let text = errors([
        ("CONTROLLER_API_TOKEN", "hunter 2"),
        ("STORAGE_PROVIDER", "s3"),
        ("STORAGE_ENDPOINT", "https://user:hunter2@example.org"),
        ("STORAGE_SECRET_ACCESS_KEY", "hunter2"),
    ]);
    assert!(!text.contains("hunter"), "{text}");
    let config = read([("CONTROLLER_API_TOKEN", "hunter2")]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn the_network_is_not_let_in_without_a_token_or_a_word() {
    let bind = ("CONTROLLER_BIND", "0.0.0.0:8080");
    assert!(errors([bind]).contains("CONTROLLER_API_TOKEN"));
    assert!(read([bind, ("CONTROLLER_API_TOKEN", "abc")]).is_ok());
    assert!(read([bind, ("CONTROLLER_ALLOW_PUBLIC", "true")]).is_ok());
    assert!(read([("CONTROLLER_BIND", "[::1]:80")]).is_ok());
}

#[test]
fn controllers_with_a_state_directory_each_share_no_sockets() {
    let vars = [("STATE_DIR", "state"), ("XDG_RUNTIME_DIR", "/run/user/1")];
    let layout = read(vars).unwrap().layout;
    assert_eq!(layout.state_dir, Path::new("/home/op/state"));
    assert_eq!(layout.runtime_dir, Path::new("/home/op/state/run"));
    assert_eq!(layout.cache_dir, Path::new("/home/op/state/cache"));
}

#[test]
fn directories_of_the_service_manager_are_used() {
    let layout = read([
        (
            "STATE_DIRECTORY",
            "/var/lib/stream-controller:/var/lib/more",
        ),
        ("RUNTIME_DIRECTORY", "/run/stream-controller"),
        ("CACHE_DIRECTORY", "/var/cache/stream-controller"),
    ])
    .unwrap()
    .layout;
    assert_eq!(layout.state_dir, Path::new("/var/lib/stream-controller"));
    assert_eq!(layout.runtime_dir, Path::new("/run/stream-controller"));
    assert_eq!(layout.cache_dir, Path::new("/var/cache/stream-controller"));
}

#[test]
fn a_runtime_directory_too_long_for_sockets_is_refused() {
    let long = format!("/{}", "r".repeat(100));
    assert!(errors([("RUNTIME_DIR", &long)]).contains("shorter path"));
}

#[test]
fn r2_is_named_by_its_account() {
    let config = read([
        ("STORAGE_PROVIDER", "r2"),
        ("STORAGE_BUCKET", "shows"),
        ("STORAGE_ACCOUNT_ID", "abc123"),
        ("STORAGE_ACCESS_KEY_ID", "id"),
        ("STORAGE_SECRET_ACCESS_KEY", "secret"),
        ("STORAGE_PREFIX", "/24-7"),
    ])
    .unwrap();
    assert_eq!(
        config.storage.endpoint.as_deref(),
        Some("https://abc123.r2.cloudflarestorage.com")
    );
    assert_eq!(config.storage.region.as_deref(), Some("auto"));
    assert_eq!(config.storage.prefix, "24-7/");
}

#[test]
fn every_setting_has_a_flag_that_wins_and_no_secret_has_one() {
    let command = Flags::augment_args(Command::new("test"));
    let arguments = [
        "test",
        "--controller-bind",
        "127.0.0.1:1",
        "--rust-log=debug",
    ];
    let matches = command.clone().try_get_matches_from(arguments).unwrap();
    let flags = Flags::from_arg_matches(&matches).unwrap();
    let vars = MapVars::from([("CONTROLLER_BIND", "127.0.0.1:2")]);
    let config = Config::read(&flags, vars, &place()).unwrap();
    assert_eq!(config.bind.port(), 1);
    assert_eq!(config.logging.filter, "debug");
    for secret in crate::config::SECRETS {
        let flag = secret.to_ascii_lowercase().replace('_', "-");
        assert!(
            command
                .get_arguments()
                .all(|arg| arg.get_long() != Some(&flag))
        );
    }
}
