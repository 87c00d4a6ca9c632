//! A stand-in for `stream-worker` that speaks its whole control protocol and puts nothing on air.
//!
//! The first item of the job's programme says how it behaves:
//!
//! | item | |
//! | --- | --- |
//! | `exit-N` | ends with exit code N as soon as it has its secrets |
//! | `deaf` | never makes its socket |
//! | `stubborn` | ignores SIGTERM |
//! | `previous` | speaks the protocol before the present one |
//! | anything else | is on air at once, ends on SIGTERM |

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Json, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post, put};
use jiff::Timestamp;
use programme::{FormatChoice, ItemSpec};
use serde_json::{Value, json};
use storage::layout::Layout;
use storage::model::report::{CONTROL_PROTOCOL, WorkerExit, exit_code};
use storage::model::{Job, JobSecrets, StreamConfig};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::StreamExt;

struct Worker {
    job: Job,
    started_at: Timestamp,
    config: Mutex<StreamConfig>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let job_path = std::env::args().nth(2).expect("usage: --job FILE");
    let text = std::fs::read(job_path).expect("the job can be read");
    let job: Job = serde_json::from_slice(&text).expect("the job is one");
    let keys = read_secrets().stream_keys.len();
    say(&format!(
        "generation {} with {keys} stream keys",
        job.generation
    ));

    let script = match job.config.programme.items.first() {
        Some(ItemSpec::Key(key)) => key.clone(),
        _ => String::new(),
    };
    let mut terminate = signal(SignalKind::terminate()).expect("signals work");
    if let Some(code) = script.strip_prefix("exit-") {
        end(&job, code.parse().expect("a number after exit-"));
    }
    if script != "deaf" {
        tokio::spawn(serve(job.clone()));
    }
    loop {
        terminate.recv().await;
        if script != "stubborn" {
            end(&job, exit_code::STOPPED);
        }
    }
}

fn read_secrets() -> JobSecrets {
    let mut text = Vec::new();
    std::io::stdin()
        .read_to_end(&mut text)
        .expect("standard input ends");
    JobSecrets::from_pipe(&text).expect("the secrets are JSON")
}

#[expect(clippy::print_stdout, reason = "standard output is the worker's log")]
fn say(text: &str) {
    println!("{text}");
}

fn layout(job: &Job) -> Layout {
    Layout {
        state_dir: job.state_dir.clone(),
        runtime_dir: job.runtime_dir.clone(),
        cache_dir: job.cache_dir.clone(),
    }
}

fn end(job: &Job, code: i32) -> ! {
    let layout = layout(job);
    let words = WorkerExit {
        generation: job.generation,
        code,
        error: None,
    };
    let text = serde_json::to_vec(&words).expect("it is JSON");
    storage::atomic::write(&layout.exit(&job.stream_id), &text).expect("the disk takes it");
    for path in [layout.socket(&job.stream_id), layout.job(&job.stream_id)] {
        remove(&path);
    }
    std::process::exit(code);
}

fn remove(path: &Path) {
    // It may never have been made.
    let _ = std::fs::remove_file(path);
}

async fn serve(job: Job) {
    let socket: PathBuf = layout(&job).socket(&job.stream_id);
    remove(&socket);
    let listener = UnixListener::bind(socket).expect("the socket can be made");
    let worker = Arc::new(Worker {
        config: Mutex::new(job.config.clone()),
        started_at: Timestamp::now(),
        job,
    });
    let routes = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/events", get(events))
        .route("/v1/logs", get(async || Json(json!({"lines": ["on air"]}))))
        .route("/v1/skip", post(async || StatusCode::ACCEPTED))
        .route("/v1/source", post(async || StatusCode::ACCEPTED))
        .route("/v1/preview", post(async || StatusCode::ACCEPTED))
        .route("/v1/config", put(configure))
        .with_state(worker);
    axum::serve(listener, routes).await.expect("it serves");
}

async fn status(State(worker): State<Arc<Worker>>) -> Json<Value> {
    Json(report(&worker))
}

async fn events(
    State(worker): State<Arc<Worker>>,
) -> Sse<impl tokio_stream::Stream<Item = Result<Event, axum::Error>>> {
    let ticks = tokio::time::interval(Duration::from_secs(10));
    let reports = tokio_stream::wrappers::IntervalStream::new(ticks)
        .map(move |_| Event::default().event("report").json_data(report(&worker)));
    Sse::new(reports)
}

async fn configure(
    State(worker): State<Arc<Worker>>,
    Json(config): Json<StreamConfig>,
) -> (StatusCode, Json<Value>) {
    let mut held = worker.config.lock().expect("nobody panics with it");
    if config.format != held.format {
        let error = json!({"error": {"code": "format_changed", "message": "only a restart can"}});
        return (StatusCode::CONFLICT, Json(error));
    }
    *held = config;
    (StatusCode::ACCEPTED, Json(json!({})))
}

fn report(worker: &Worker) -> Value {
    let config = worker.config.lock().expect("nobody panics with it");
    let destinations: Vec<Value> = config
        .destinations
        .iter()
        .map(|to| {
            json!({
                "name": to.name, "url": to.url, "state": "live", "since": worker.started_at,
                "retry_count": 0, "will_retry": true, "next_retry_at": null, "sent_media_s": 1.0,
                "bytes_acked": 1, "bitrate_kbps": 1, "dropped_frames": 0, "connections": 1,
            })
        })
        .collect();
    let is_previous = matches!(
        worker.job.config.programme.items.first(),
        Some(ItemSpec::Key(key)) if key == "previous"
    );
    let format = match &config.format {
        FormatChoice::Auto => Value::Null,
        FormatChoice::Fixed(format) => json!(format),
    };
    json!({
        "protocol": CONTROL_PROTOCOL - u32::from(is_previous), "version": "0.0.0", "stream_id": worker.job.stream_id,
        "generation": worker.job.generation, "nonce": worker.job.nonce,
        "pid": std::process::id(), "started_at": worker.started_at, "format": format,
        "on_air": {"kind": "programme", "item": "a.mp4", "position_s": 0.0, "duration_s": 1.0,
                   "next": null, "since": worker.started_at},
        "destinations": destinations,
        "programme": {"items": 1, "listed_at": null, "problems": [], "error": null},
        "preview": "idle",
        "counters": {"air_ms": 0, "slate_ms": 0, "joins": 0, "silence_frames": 0, "dry": 0},
    })
}
