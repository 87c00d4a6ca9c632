//! The slate: a short loop in the stream's own format, kept in memory. It cannot run dry.
//!
//! It is rendered once by FFmpeg, from the configured image or clip or as a generated card: one
//! closed GOP of 2 s (a clip: up to [`MAX_CLIP_S`] of them), no reordering. The picture repeats
//! frame by frame without a seam. Silence runs on a grid of its own, so it has no seam either; a
//! clip's own sound begins again with its picture, which leaves at most half an AAC frame there.

mod playing;

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use programme::format::AUDIO_RATE_HZ;
use programme::{ListedObject, StreamFormat};
use storage::model::{ErrorReport, SlateConfig};
use supervise::{CaptureLimits, Spec};

use super::{SourceContext, fault};
use crate::ffmpeg::slate::{self as command, Picture};
use crate::flv::{FlvReader, Packet};

pub use playing::{Place, SlateSource};

/// Length of the loop made from an image, and the generated card's.
const STILL_S: u32 = 2;
/// The beginning of a clip that is used: it is kept in memory.
const MAX_CLIP_S: f64 = 10.0;
/// Samples of an AAC frame.
const FRAME_SAMPLES: u64 = 1_024;
/// The AAC encoder's first frames are its run-up; from here on, silence is always the same frame.
const SETTLED_FRAME: usize = 8;

const RENDER_LIMITS: CaptureLimits = CaptureLimits {
    timeout: Duration::from_secs(30),
    max_bytes: 64 << 20,
};

/// What is shown when nothing else can be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Slate {
    fps: u64,
    #[serde(with = "crate::handover::blob")]
    video_header: Bytes,
    #[serde(with = "crate::handover::blob")]
    audio_header: Bytes,
    #[serde(with = "crate::handover::blob")]
    silence_frame: Bytes,
    pictures: Vec<Coded>,
    /// A clip's own sound, one loop of it; empty: silence.
    #[serde(with = "crate::handover::blob::list")]
    sound: Vec<Bytes>,
}

/// One coded picture.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Coded {
    keyframe: bool,
    #[serde(with = "crate::handover::blob")]
    payload: Bytes,
}

/// What the configuration asks to be rendered.
struct Wanted {
    /// Identifies the result in the cache.
    of: String,
    frames: u64,
    what: Content,
}

enum Content {
    Card,
    Soon,
    Image { key: String },
    Clip { key: String, sound: bool },
}

// === impl Slate ===

impl Slate {
    /// Renders the slate, or takes it from the cache.
    ///
    /// # Errors
    /// `slate_failed`, with the reason, when FFmpeg or the configured picture cannot be used.
    pub async fn render(
        context: &SourceContext,
        format: StreamFormat,
        config: Option<&SlateConfig>,
    ) -> Result<Arc<Self>, ErrorReport> {
        let made = async {
            let ffmpeg = version(context).await?;
            let wanted = Wanted::new(context, format, config, &ffmpeg).await?;
            Self::render_wanted(context, format, wanted, &ffmpeg).await
        };
        match made.await {
            Ok(slate) => Ok(Arc::new(slate)),
            Err(cause) => Err(failed(config, &cause)),
        }
    }

    /// The card that says "going live soon".
    ///
    /// # Errors
    /// As [`Self::render`].
    pub async fn render_soon(
        context: &SourceContext,
        format: StreamFormat,
    ) -> Result<Arc<Self>, ErrorReport> {
        let made = async {
            let ffmpeg = version(context).await?;
            let wanted = Wanted {
                of: format!("soon 1 {ffmpeg:?} {format:?}"),
                frames: u64::from(STILL_S * format.fps),
                what: Content::Soon,
            };
            Self::render_wanted(context, format, wanted, &ffmpeg).await
        };
        made.await
            .map(Arc::new)
            .map_err(|cause| failed(None, &cause))
    }

    async fn render_wanted(
        context: &SourceContext,
        format: StreamFormat,
        wanted: Wanted,
        ffmpeg: &str,
    ) -> Result<Self, ErrorReport> {
        let silence_of = format!("slate-silence 1 {ffmpeg:?} {format:?}");
        let (picture, silence) = tokio::try_join!(
            rendered(context, &wanted.of, || picture(context, &wanted, format)),
            rendered(context, &silence_of, || async {
                run(context, command::silence(format)).await
            }),
        )?;
        Self::assemble(format, wanted.frames, picture, silence)
    }

    /// `AVCDecoderConfigurationRecord`.
    pub fn video_header(&self) -> &Bytes {
        &self.video_header
    }

    /// `AudioSpecificConfig`, of the silence and of a clip's sound.
    pub fn audio_header(&self) -> &Bytes {
        &self.audio_header
    }

    /// One AAC frame of silence.
    pub fn silence_frame(&self) -> &Bytes {
        &self.silence_frame
    }

    /// Puts both renderings together.
    fn assemble(
        format: StreamFormat,
        frames: u64,
        picture: Vec<Packet>,
        silence: Vec<Packet>,
    ) -> Result<Self, ErrorReport> {
        let (_, audio_header, _, silence) = sorted(silence);
        let (video_header, clip_header, mut pictures, mut sound) = sorted(picture);
        let (Some(video_header), Some(audio_header)) = (video_header, audio_header) else {
            return Err(fault::slate_unusable("headers"));
        };
        let Some(silence_frame) = silence.get(SETTLED_FRAME).cloned() else {
            return Err(fault::slate_unusable("silence"));
        };
        pictures.truncate(usize::try_from(frames).unwrap_or(usize::MAX));
        if !pictures.first().is_some_and(|first| first.keyframe) {
            return Err(fault::slate_unusable("picture"));
        }
        let fps = u64::from(format.fps);
        let wanted = loop_frames(pictures.len() as u64, fps);
        // A sound the encoder set up otherwise could not stand beside the silence.
        if clip_header.is_none_or(|header| header != audio_header) || sound.len() < wanted {
            sound.clear();
        }
        sound.truncate(wanted);
        Ok(Self {
            fps,
            video_header,
            audio_header,
            silence_frame,
            pictures,
            sound,
        })
    }
}

/// AAC frames that cover a loop best: within half a frame.
fn loop_frames(pictures: u64, fps: u64) -> usize {
    let samples = pictures * u64::from(AUDIO_RATE_HZ) / fps;
    usize::try_from((samples + FRAME_SAMPLES / 2) / FRAME_SAMPLES).unwrap_or(usize::MAX)
}

/// Video header, audio header, pictures and AAC frames of a rendering.
fn sorted(packets: Vec<Packet>) -> (Option<Bytes>, Option<Bytes>, Vec<Coded>, Vec<Bytes>) {
    let (mut video, mut audio) = (None, None);
    let (mut pictures, mut frames) = (Vec::new(), Vec::new());
    for packet in packets {
        match packet {
            Packet::VideoHeader(header) => video = Some(header),
            Packet::AudioHeader(header) => audio = Some(header),
            Packet::Video(picture) => pictures.push(Coded {
                keyframe: picture.keyframe,
                payload: picture.payload,
            }),
            Packet::Audio(frame) => frames.push(frame.payload),
        }
    }
    (video, audio, pictures, frames)
}

// === impl Wanted ===

impl Wanted {
    async fn new(
        context: &SourceContext,
        format: StreamFormat,
        config: Option<&SlateConfig>,
        ffmpeg: &str,
    ) -> Result<Self, ErrorReport> {
        let still = u64::from(STILL_S * format.fps);
        let (frames, what, version) = match config {
            None => (still, Content::Card, String::new()),
            Some(SlateConfig { key }) => {
                let object = context.stat(key).await?;
                let (frames, what) = Self::look(context, &object, format, still).await?;
                (frames, what, format!("{:?} {key:?}", object.version))
            }
        };
        let of = format!("slate 1 {ffmpeg:?} {format:?} {version}");
        Ok(Self { of, frames, what })
    }

    /// Tells an image from a clip.
    async fn look(
        context: &SourceContext,
        object: &ListedObject,
        format: StreamFormat,
        still: u64,
    ) -> Result<(u64, Content), ErrorReport> {
        let key = object.key.clone();
        if programme::fit::is_image(&key) {
            return Ok((still, Content::Image { key }));
        }
        let info = context.probe(object).await?;
        if info.video.is_none() {
            return Err(fault::unplayable(&key, "a slate needs a picture"));
        }
        let length_s = info
            .duration_s
            .unwrap_or(f64::from(STILL_S))
            .min(MAX_CLIP_S);
        let frames = (length_s * f64::from(format.fps)).floor().max(1.0) as u64;
        let sound = info.audio.is_some();
        Ok((frames, Content::Clip { key, sound }))
    }
}

/// Takes a rendering from the cache, or makes and keeps it.
async fn rendered<F: Future<Output = Result<Vec<u8>, ErrorReport>>>(
    context: &SourceContext,
    of: &str,
    make: impl FnOnce() -> F,
) -> Result<Vec<Packet>, ErrorReport> {
    if let Some(kept) = context.slates.get(of).await
        && let Ok(packets) = parse(kept)
    {
        return Ok(packets);
    }
    let flv = make().await?;
    let packets = parse(Bytes::from(flv.clone()))?;
    context.slates.put(of, &flv).await;
    Ok(packets)
}

async fn picture(
    context: &SourceContext,
    wanted: &Wanted,
    format: StreamFormat,
) -> Result<Vec<u8>, ErrorReport> {
    let ticket = match &wanted.what {
        Content::Card | Content::Soon => None,
        Content::Image { key } | Content::Clip { key, .. } => Some(context.ticket(key)?),
    };
    let url = ticket.as_ref().map_or("", |ticket| ticket.url());
    let what = match wanted.what {
        Content::Card => Picture::Card,
        Content::Soon => Picture::Soon,
        Content::Image { .. } => Picture::Image { url },
        Content::Clip { sound, .. } => Picture::Clip { url, sound },
    };
    run(context, command::picture(what, format, wanted.frames)).await
}

fn parse(flv: Bytes) -> Result<Vec<Packet>, ErrorReport> {
    let mut reader = FlvReader::new();
    reader.push(flv);
    let mut packets = Vec::new();
    while let Some(packet) = reader
        .next_packet()
        .map_err(|_| fault::slate_unusable("container"))?
    {
        packets.push(packet);
    }
    Ok(packets)
}

/// Runs FFmpeg to its end for what it writes.
async fn run(context: &SourceContext, args: Vec<String>) -> Result<Vec<u8>, ErrorReport> {
    let spec = Spec::new(&context.ffmpeg).args(args);
    let captured = supervise::capture(spec, RENDER_LIMITS)
        .await
        .map_err(|error| fault::not_rendered(&error))?;
    let lines = context.lines(&captured.stderr);
    super::log_lines(&lines, "slate", "slate");
    if captured.stdout.is_empty() {
        return Err(fault::slate_nothing(
            lines.last().map(|line| line.text.as_str()),
        ));
    }
    Ok(captured.stdout)
}

/// First line of `ffmpeg -version`: another build may code otherwise.
async fn version(context: &SourceContext) -> Result<String, ErrorReport> {
    let spec = Spec::new(&context.ffmpeg).args(["-hide_banner", "-version"]);
    let captured = supervise::capture(spec, RENDER_LIMITS)
        .await
        .map_err(|error| fault::not_rendered(&error))?;
    let text = String::from_utf8_lossy(&captured.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn failed(config: Option<&SlateConfig>, cause: &ErrorReport) -> ErrorReport {
    let of = config.map_or("the generated card", |config| config.key.as_str());
    ErrorReport {
        error_type: "slate_failed".to_owned(),
        message: format!("no slate from {of}: {}", cause.message),
        hint: cause.hint.clone(),
    }
}

#[cfg(test)]
mod tests;
