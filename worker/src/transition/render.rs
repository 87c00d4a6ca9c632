//! FFmpeg renders a clip: read from memory, written to a pipe, ended when nobody waits for it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use programme::StreamFormat;
use rustix::fs::{MemfdFlags, memfd_create};
use supervise::{CaptureError, CaptureLimits};

use super::clip::Misfit;
use super::plan::Plan;
use crate::ffmpeg::redact::Redactor;
use crate::ffmpeg::run::{self, Line, Speaker};
use crate::flv::{FlvError, FlvReader, FlvWriter, Metadata, Packet};

/// Whoever waits has given up long before; this is for a waiter that does not come back.
const LIMITS: CaptureLimits = CaptureLimits {
    timeout: Duration::from_secs(10),
    max_bytes: 32 << 20,
};

/// Why there is no clip.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What it is to read could not be written.
    #[error("no memory for what FFmpeg is to read")]
    Memory(#[source] io::Error),
    /// It did not run.
    #[error(transparent)]
    NotRun(#[from] CaptureError),
    /// It wrote nothing; why stands in its lines.
    #[error("FFmpeg rendered nothing")]
    Nothing,
    /// It wrote no FLV.
    #[error("FFmpeg wrote nothing that can be aired")]
    Unreadable(#[from] FlvError),
    /// It wrote something else.
    #[error(transparent)]
    Misfit(#[from] Misfit),
}

/// Renders what `plan` says. Dropping the future ends FFmpeg.
///
/// # Errors
/// When there is no clip, or not the one that was planned.
pub async fn render(
    plan: Plan,
    ffmpeg: &Path,
    redactor: &Redactor,
    format: StreamFormat,
) -> Result<Vec<Packet>, Failure> {
    let [old, new] = &plan.read;
    let old = in_memory(old, format).map_err(Failure::Memory)?;
    let new = in_memory(new, format).map_err(Failure::Memory)?;
    let spec = plan.recipe.spec(ffmpeg, old, new, format);
    let captured = supervise::capture(spec, LIMITS).await?;
    let speaker = Speaker {
        role: "transition",
        subject: "transition".to_owned(),
    };
    let said = String::from_utf8_lossy(&captured.stderr);
    let lines = said.lines().filter(|line| !line.trim().is_empty());
    for line in lines.take(run::LINES_PER_WINDOW as usize) {
        run::log(&Line::parse(&redactor.line(line)), &speaker);
    }
    if captured.stdout.is_empty() {
        return Err(Failure::Nothing);
    }
    let mut reader = FlvReader::new();
    reader.push(Bytes::from(captured.stdout));
    let mut rendered = Vec::new();
    while let Some(packet) = reader.next_packet()? {
        rendered.push(packet);
    }
    Ok(plan.clip(rendered)?)
}

/// A file that is nowhere but in memory.
fn in_memory(packets: &[Packet], format: StreamFormat) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("transition", MemfdFlags::CLOEXEC)?);
    let origin_ms = packets.iter().filter_map(Packet::dts_ms).min();
    let mut writer = FlvWriter::new(origin_ms.unwrap_or(0));
    let metadata = Metadata {
        width: format.width,
        height: format.height,
        fps: f64::from(format.fps),
    };
    let mut pieces = Vec::new();
    writer.file_header(&metadata, &mut pieces);
    for packet in packets {
        writer.write(packet, &mut pieces);
    }
    for piece in pieces {
        file.write_all(&piece)?;
    }
    Ok(file.into())
}
