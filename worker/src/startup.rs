//! Builds the on-air chain in order, runs it, and takes it down.
//!
//! 1. the control socket, so that the controller sees a worker that is starting;
//! 2. the media store and the loopback server FFmpeg reads through;
//! 3. side by side: the bucket's listing (and the format, if it is `"auto"`), FFmpeg's abilities;
//! 4. the slate: without one nothing goes on air;
//! 5. playout, until it is told to stop or every destination was given up.

use std::sync::Arc;
use std::time::Duration;

use programme::{FormatChoice, StreamFormat};
use storage::media::MediaStore;
use storage::media::server::MediaServer;
use storage::model::report::{ItemProblem, exit_code};
use storage::model::{ErrorReport, Job, JobSecrets, SlateConfig, WorkerExit};
use tokio_util::sync::CancellationToken;

use crate::catalogue::Catalogue;
use crate::catalogue::memory::Memory;
use crate::control::{ControlSocket, SocketError};
use crate::fanout::Fanout;
use crate::house::{Furniture, House, media_cache, sources_of};
use crate::journal::{Begin, Journal};
use crate::logging::LogRing;
use crate::playout::{self, Channels, Parts, Playout};
use crate::position::PositionStore;
use crate::source::live::LiveInputs;
use crate::source::{Slate, SourceContext};

/// How long the items are looked at before `"auto"` is settled by what was seen.
const AUTO_FORMAT_LIMIT: Duration = Duration::from_secs(5);
/// How many items `"auto"` is settled by.
const AUTO_FORMAT_ITEMS: usize = 12;

/// Runs one stream; returns when it has ended, with everything it started closed.
pub async fn run(
    job: Job,
    secrets: JobSecrets,
    logs: LogRing,
    shutdown: CancellationToken,
) -> WorkerExit {
    let layout = job.layout();
    let socket = match ControlSocket::bind(&layout.socket(&job.stream_id)) {
        Ok(socket) => socket,
        Err(error) => {
            return WorkerExit {
                generation: job.generation,
                code: exit_code::USAGE,
                error: Some(no_socket(&error)),
            };
        }
    };
    let journal = Journal::start(&job, Begin::Afresh);
    let furniture = Furniture {
        socket,
        secrets,
        logs,
        journal,
    };
    let (house, channels) = House::new(furniture, playout::empty_report(&job));
    let shutdown = house.shutdown(&job, shutdown);
    let answering = house.open();
    let built = tokio::select! {
        parts = build(job, &house, channels) => Some(parts),
        () = shutdown.token.cancelled() => None,
    };
    match built {
        Some(Ok(parts)) => house.keep(Playout::new(parts), answering, &shutdown).await,
        Some(Err(error)) => house.close(answering, exit_code::CONFIG, Some(error)).await,
        None => house.close(answering, exit_code::STOPPED, None).await,
    }
}

async fn build(job: Job, house: &House, channels: Channels) -> Result<Parts, ErrorReport> {
    let (secrets, journal) = (&house.secrets, &house.journal);
    let layout = job.layout();
    let store = MediaStore::open(&job.storage, secrets.storage_keys.clone())
        .await
        .map_err(|error| error.report())?;
    let server = MediaServer::start_with(store.clone(), media_cache(&job))
        .await
        .map_err(|error| ErrorReport {
            error_type: "media_server_failed".to_owned(),
            message: format!(
                "no port of 127.0.0.1 could be opened for FFmpeg to read from: {error}"
            ),
            hint: "check the limits on open files (LimitNOFILE) and that loopback is up".to_owned(),
        })?;
    let sources = sources_of(&job, secrets, store.clone(), server);
    let memory = Memory::new(layout.listing(&job.stream_id), &job.storage);
    let catalogue = Catalogue::start(
        store,
        sources.reach().clone(),
        Some(memory),
        job.config.programme.clone(),
    );
    let position = PositionStore::of(&layout, &job.stream_id);
    let format = settle_format(&job, &catalogue, &sources).await;
    let (fanout, slate, resume) = tokio::join!(
        Fanout::start(&job, secrets, format, journal.clone()),
        render_slate(&sources, format, job.config.slate.as_ref()),
        position.load(),
    );
    let (slate, slate_problem) = match slate {
        Ok(rendered) => rendered,
        Err(error) => {
            fanout.stop().await;
            catalogue.close().await;
            return Err(error);
        }
    };
    let live = LiveInputs::open(&job, &sources, format, secrets);
    Ok(Parts {
        seed: seed(&job),
        live,
        job,
        format,
        slate,
        slate_problem,
        catalogue,
        sources,
        fanout,
        journal: journal.clone(),
        resume,
        commands: channels.commands,
        report: channels.report,
    })
}

/// The slate, and why it is the generated card although another picture is configured: a picture
/// that is gone must not keep a channel dark.
async fn render_slate(
    sources: &SourceContext,
    format: StreamFormat,
    config: Option<&SlateConfig>,
) -> Result<(Arc<Slate>, Option<ItemProblem>), ErrorReport> {
    let failed = match (Slate::render(sources, format, config).await, config) {
        (Ok(slate), _) => return Ok((slate, None)),
        (Err(error), None) => return Err(error),
        (Err(error), Some(config)) => ItemProblem {
            key: config.key.clone(),
            error,
            at: jiff::Timestamp::now(),
        },
    };
    tracing::error!(
        key = failed.key,
        error_type = failed.error.error_type,
        hint = failed.error.hint,
        "the generated card stands in for the slate: {}",
        failed.error.message
    );
    let card = Slate::render(sources, format, None).await?;
    Ok((card, Some(failed)))
}

/// The format on air. `"auto"` takes what most of the first items have, as far as they can be
/// looked at within [`AUTO_FORMAT_LIMIT`].
async fn settle_format(job: &Job, catalogue: &Catalogue, sources: &SourceContext) -> StreamFormat {
    if let FormatChoice::Fixed(format) = job.config.format {
        return format;
    }
    let mut infos = Vec::new();
    let look = async {
        while !catalogue.has_looked() {
            catalogue.changed().await;
        }
        for object in catalogue.objects(AUTO_FORMAT_ITEMS) {
            if let Ok(info) = sources.probe(&object).await {
                infos.push(info);
            }
        }
    };
    if tokio::time::timeout(AUTO_FORMAT_LIMIT, look).await.is_err() {
        tracing::warn!(
            items = infos.len(),
            "the format was settled before all items could be looked at"
        );
    }
    let format = programme::format::auto(infos.iter());
    tracing::info!(
        width = format.width,
        height = format.height,
        fps = format.fps,
        items = infos.len(),
        "format settled"
    );
    format
}

/// Every worker is given its own random nonce, which makes as good a seed as any.
fn seed(job: &Job) -> u64 {
    let digits = job.nonce.get(..16).unwrap_or_default();
    u64::from_str_radix(digits, 16).unwrap_or(job.generation)
}

fn no_socket(error: &SocketError) -> ErrorReport {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    ErrorReport {
        error_type: "control_socket_failed".to_owned(),
        message: format!("{error}{}", cause.unwrap_or_default()),
        hint: "the worker needs a control socket of its own in RUNTIME_DIR".to_owned(),
    }
}
