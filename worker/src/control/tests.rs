use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use storage::model::report::{
    AirCounters, CONTROL_PROTOCOL, OnAir, OnAirKind, PreviewState, ProgrammeReport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::*;
use crate::handover::Upgrader;

/// A served socket, and playout's ends of it.
struct Served {
    _dir: tempfile::TempDir,
    path: PathBuf,
    report: watch::Sender<WorkerReport>,
    commands: mpsc::Receiver<Command>,
    logs: LogRing,
    end: CancellationToken,
    task: JoinHandle<()>,
}

fn report() -> WorkerReport {
    WorkerReport {
        protocol: CONTROL_PROTOCOL,
        version: "0".to_owned(),
        stream_id: "main".parse().expect("an id"),
        generation: 7,
        nonce: "abc".to_owned(),
        pid: 1,
        started_at: Timestamp::UNIX_EPOCH,
        format: None,
        on_air: None,
        destinations: Vec::new(),
        programme: ProgrammeReport::default(),
        live_inputs: Vec::new(),
        preview: PreviewState::Idle,
        counters: AirCounters::default(),
        upgrade: None,
    }
}

fn on_air(item: &str, position_s: f64) -> OnAir {
    OnAir {
        kind: OnAirKind::Programme,
        item: Some(item.to_owned()),
        block: None,
        position_s,
        duration_s: None,
        next: None,
        fit: None,
        from_cache: false,
        slate: None,
        reason: None,
        since: Timestamp::UNIX_EPOCH,
    }
}

fn serve_one() -> Served {
    let dir = tempfile::tempdir().expect("a temp dir");
    let path = dir.path().join("main.sock");
    let socket = ControlSocket::bind(&path).expect("binds");
    let (report_to, report) = watch::channel(report());
    let (commands_to, commands) = mpsc::channel(4);
    let (logs, end) = (LogRing::default(), CancellationToken::new());
    let secrets = storage::model::JobSecrets::default();
    let upgrader = Upgrader::new(commands_to.clone(), secrets, logs.clone());
    let port = ControlPort {
        report,
        commands: commands_to,
        upgrader: Arc::new(upgrader),
    };
    let task = tokio::spawn(serve(
        Arc::new(socket),
        port,
        logs.clone(),
        Contact::new(),
        end.clone(),
    ));
    Served {
        _dir: dir,
        path,
        report: report_to,
        commands,
        logs,
        end,
        task,
    }
}

async fn call(path: &Path, method: &str, target: &str, body: &str) -> (u16, Value) {
    let mut socket = UnixStream::connect(path).await.expect("somebody answers");
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: worker\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status");
    let json = serde_json::from_str(body).unwrap_or(Value::Null);
    (status.parse().expect("a number"), json)
}

#[tokio::test]
async fn the_socket_is_its_owners_alone_and_goes_with_the_worker() {
    let served = serve_one();
    let mode = std::fs::metadata(&served.path)
        .expect("there")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let (status, body) = call(&served.path, "GET", "/v1/status", "").await;
    assert_eq!((status, &body["nonce"]), (200, &Value::from("abc")));
    served.end.cancel();
    served.task.await.expect("ends");
    assert!(!served.path.exists());
}

#[tokio::test]
async fn a_second_worker_is_refused_and_a_dead_ones_socket_is_replaced() {
    let served = serve_one();
    let refused = ControlSocket::bind(&served.path).expect_err("one answers there");
    assert!(matches!(refused, SocketError::Answered { .. }));
    let stale = served.path.with_file_name("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).expect("binds"));
    assert!(stale.exists(), "as a crash leaves it");
    ControlSocket::bind(&stale).expect("replaced");
    let file = served.path.with_file_name("file.sock");
    drop(std::fs::File::create(&file).expect("made"));
    let refused = ControlSocket::bind(&file).expect_err("not a socket");
    assert!(matches!(refused, SocketError::InTheWay { .. }));
    assert!(file.exists());
}

#[tokio::test]
async fn commands_reach_playout_and_its_answer_comes_back() {
    let mut served = serve_one();
    let path = served.path.clone();
    let playout = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(command) = served.commands.recv().await {
            seen.push(format!("{command:?}"));
            match command {
                Command::Skip(reply) => {
                    let first = seen.len() == 1;
                    let _ = reply.send(if first { Ok(()) } else { Err(NothingToSkip) });
                }
                Command::Reconfigure(config, reply) => {
                    let same = config.destinations.is_empty();
                    let _ = reply.send(if same { Ok(()) } else { Err(FormatChanged) });
                }
                Command::Stop => return seen.len(),
                Command::Take(_, reply) => drop(reply.send(Ok(()))),
                Command::Look(input, reply) => {
                    let found = input == "owner";
                    let _ = reply.send(if found { Ok(()) } else { Err(NoLiveInput) });
                }
                Command::EndPublisher(key_id) => assert_eq!(key_id, "0a1b"),
                Command::Preview | Command::Rehearse(_) | Command::HandOver(_) => {}
            }
        }
        0
    });
    let code = |answer: &Value| answer["error"]["code"].as_str().map(str::to_owned);
    assert_eq!(call(&path, "POST", "/v1/skip", "").await.0, 202);
    let (status, body) = call(&path, "POST", "/v1/skip", "").await;
    assert_eq!(
        (status, code(&body).as_deref()),
        (409, Some("nothing_to_skip"))
    );
    let take = r#"{"take": "slate", "newer": true}"#;
    assert_eq!(call(&path, "POST", "/v1/source", take).await.0, 202);
    assert_eq!(call(&path, "POST", "/v1/live/owner/look", "").await.0, 202);
    let (status, body) = call(&path, "POST", "/v1/live/other/look", "").await;
    assert_eq!(
        (status, code(&body).as_deref()),
        (409, Some("no_live_input"))
    );
    assert_eq!(call(&path, "DELETE", "/v1/ingest/0a1b", "").await.0, 202);
    assert_eq!(call(&path, "POST", "/v1/preview", "").await.0, 202);
    assert_eq!(call(&path, "PUT", "/v1/config", "{}").await.0, 202);
    let other = r#"{"destinations": [{"name": "a", "url": "rtmp://h/a"}]}"#;
    let (status, body) = call(&path, "PUT", "/v1/config", other).await;
    assert_eq!(
        (status, code(&body).as_deref()),
        (409, Some("format_changed"))
    );
    assert_eq!(call(&path, "POST", "/v1/stop", "").await.0, 202);
    assert_eq!(playout.await.expect("no panic"), 10);
    let (status, body) = call(&path, "POST", "/v1/preview", "").await;
    assert_eq!((status, code(&body).as_deref()), (503, Some("stopping")));
}

#[tokio::test]
async fn what_is_not_understood_is_answered_in_the_same_form() {
    let served = serve_one();
    for (method, target, body, status) in [
        ("POST", "/v1/source", r#"{"take": "nothing"}"#, 422),
        ("POST", "/v1/source", "{", 400),
        ("PUT", "/v1/config", r#"{"destinations": 7}"#, 422),
        ("GET", "/v1/nothing", "", 404),
        ("GET", "/v1/stop", "", 405),
    ] {
        let (got, answer) = call(&served.path, method, target, body).await;
        assert_eq!(got, status, "{method} {target} {body}");
        assert!(answer["error"]["message"].is_string(), "{answer}");
    }
}

#[tokio::test]
async fn the_last_lines_of_the_log_are_answered() {
    let served = serve_one();
    for number in 0..5 {
        served.logs.push(format!("line {number}").as_bytes());
    }
    let (_, body) = call(&served.path, "GET", "/v1/logs?lines=2", "").await;
    assert_eq!(body["lines"], serde_json::json!(["line 3", "line 4"]));
}

/// Reads server-sent events as they come.
struct EventReader {
    socket: UnixStream,
    text: String,
}

impl EventReader {
    async fn open(path: &Path) -> Self {
        let mut socket = UnixStream::connect(path).await.expect("somebody answers");
        let request = b"GET /v1/events HTTP/1.1\r\nhost: worker\r\n\r\n";
        socket.write_all(request).await.expect("written");
        let text = String::new();
        Self { socket, text }
    }

    /// The next report; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((before, after)) = self.text.split_once("\n\n") {
                let data = before.lines().find_map(|line| line.strip_prefix("data: "));
                let report = data.map(|json| serde_json::from_str(json).expect("JSON"));
                self.text = after.to_owned();
                match report {
                    Some(report) => return Some(report),
                    None => continue,
                }
            }
            let mut chunk = [0; 8192];
            match self.socket.read(&mut chunk).await.expect("read") {
                0 => return None,
                count => self.text += &String::from_utf8_lossy(&chunk[..count]),
            }
        }
    }
}

#[tokio::test]
async fn news_is_sent_and_mere_progress_is_not() {
    let served = serve_one();
    let mut events = EventReader::open(&served.path).await;
    assert_eq!(
        events.next().await.expect("the first")["on_air"],
        Value::Null
    );
    for (item, position_s) in [
        ("a.mp4", 0.0),
        ("a.mp4", 1.0),
        ("a.mp4", 2.0),
        ("b.mp4", 0.0),
    ] {
        served.report.send_modify(|report| {
            report.on_air = Some(on_air(item, position_s));
            report.counters.air_ms += 1;
        });
        // The reader of the watch may see only the newest: let it see each.
        if position_s == 0.0 {
            let news = events.next().await.expect("news");
            assert_eq!(news["on_air"]["item"], item);
            assert_eq!(
                news["on_air"]["position_s"], 0.0,
                "nothing between the items was sent"
            );
        }
    }
    served.end.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(30), events.next()).await;
    assert!(ended.expect("the stream ends with the worker").is_none());
    served.task.await.expect("ends");
}
