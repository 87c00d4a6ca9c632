//! The command line of an FFmpeg that reads FLV on standard input and publishes it.
//!
//! A stream key is not in it: it is read as a preset (`-fpre`) from a pipe the child inherits.
//! FFmpeg 4.2 to 7.0 apply such a preset to the protocol's options; newer ones read it and ignore
//! it without a word, so [`presets_reach_the_muxer`] asks the one that is there.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use storage::secret::Secret;
use supervise::{CaptureLimits, ExitReason, Input, Output, Spec};

/// The descriptor the preset is read from.
const PRESET_FD: i32 = 3;
/// The descriptor FFmpeg writes its report to.
const REPORT_FD: i32 = 4;
/// From one report to the next. FFmpeg 7 and newer wait so long for the first, too.
const REPORT_EVERY_S: &str = "1";
/// FFmpeg reads a preset in lines of at most 999 bytes.
pub const MAX_PRESET_VALUE_BYTES: usize = 900;
/// Seconds of a segment of the preview.
const SEGMENT_S: &str = "2";
/// Segments in the preview's playlist.
const SEGMENTS: &str = "6";

/// Where certificates of authorities usually are, in the order they are looked for.
const CA_FILES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What is spoken to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RTMP over TCP.
    Rtmp,
    /// RTMP over TLS.
    Rtmps,
    /// MPEG-TS over SRT.
    Srt,
}

/// One option that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresetLine {
    /// FFmpeg's name of the option.
    pub option: &'static str,
    /// At most [`MAX_PRESET_VALUE_BYTES`], without control characters.
    pub value: Secret,
}

/// A publisher to a server, and where there is something to read as soon as its connection stands; over TCP the
/// socket tells. `address` is seen by every user of the machine; `preset` by nobody.
///
/// # Errors
/// When the machine is out of descriptors.
pub fn to_server(
    ffmpeg: &Path,
    protocol: Protocol,
    address: &str,
    preset: &[PresetLine],
) -> std::io::Result<(Spec, Option<OwnedFd>)> {
    let mut spec = reads_flv(ffmpeg);
    if !preset.is_empty() {
        spec = with_preset(spec, preset)?;
    }
    // FFmpeg alone needs 15–20 s to give up on a peer that stopped reading; the watcher of the
    // output is faster, this is for what happens before there is anything to watch.
    spec = spec.args(["-rw_timeout", "5000000"]);
    match protocol {
        Protocol::Rtmp => {}
        Protocol::Rtmps => {
            spec = spec.args(["-tls_verify", "1"]);
            if let Some(file) = ca_file() {
                spec = spec.arg("-ca_file").arg(file);
            }
        }
        Protocol::Srt => {
            let (spec, report) = reports(spec)?;
            return Ok((spec.args(["-f", "mpegts", address]), Some(report)));
        }
    }
    let spec = spec.args(["-flvflags", "no_duration_filesize", "-f", "flv", address]);
    Ok((spec, None))
}

/// FFmpeg reports nothing before its output is open, and that is when it is connected.
fn reports(spec: Spec) -> std::io::Result<(Spec, OwnedFd)> {
    let (reader, writer) = std::io::pipe()?;
    let spec = spec
        .fd(OwnedFd::from(writer), REPORT_FD)
        .args(["-stats_period", REPORT_EVERY_S])
        .args(["-progress".to_owned(), format!("pipe:{REPORT_FD}")]);
    Ok((spec, OwnedFd::from(reader)))
}

/// A publisher of an HLS playlist `index.m3u8` in `directory`, going on after what is there.
pub fn to_preview(ffmpeg: &Path, directory: &Path) -> Spec {
    // MPEG-TS has one set of parameters per run; the next run begins with a discontinuity.
    let flags = "delete_segments+append_list+omit_endlist+discont_start+independent_segments\
                 +temp_file";
    reads_flv(ffmpeg)
        .args([
            "-f",
            "hls",
            "-hls_time",
            SEGMENT_S,
            "-hls_list_size",
            SEGMENTS,
        ])
        .args(["-hls_flags", flags])
        .args(["-hls_segment_filename", "segment%d.ts", "index.m3u8"])
        .cwd(directory)
}

/// What all publishers have in common.
///
/// Nothing is to be guessed: `onMetaData` states the frame rate, so with `fpsprobesize` 0 the
/// first picture and sound frame are enough. (`nobuffer` would throw those away, and with them the
/// first group of pictures.) Times stay as they are written.
fn reads_flv(ffmpeg: &Path) -> Spec {
    Spec::new(ffmpeg)
        .stdin(Input::Piped)
        .args(super::input::quiet())
        .args([
            "-fflags",
            "+noparse",
            "-copyts",
            "-fpsprobesize",
            "0",
            "-f",
            "flv",
            "-i",
            "pipe:0",
        ])
        .args(["-map", "0:v", "-map", "0:a?", "-c", "copy"])
}

fn with_preset(spec: Spec, preset: &[PresetLine]) -> std::io::Result<Spec> {
    let mut text = Vec::new();
    for PresetLine { option, value } in preset {
        debug_assert!(value.expose().len() <= MAX_PRESET_VALUE_BYTES);
        writeln!(text, "{option}={}", value.expose())?;
    }
    let (reader, mut writer) = std::io::pipe()?;
    // A few lines: they fit the pipe, so this cannot wait for the reader.
    writer.write_all(&text)?;
    Ok(spec
        .fd(OwnedFd::from(reader), PRESET_FD)
        .args(["-fpre".to_owned(), format!("/dev/fd/{PRESET_FD}")]))
}

/// The authorities a server's certificate is checked against.
fn ca_file() -> Option<PathBuf> {
    let named: Option<OsString> = std::env::var_os("SSL_CERT_FILE");
    let usual = CA_FILES.into_iter().map(PathBuf::from);
    named
        .map(PathBuf::from)
        .into_iter()
        .chain(usual)
        .find(|file| file.is_file())
}

/// Whether this FFmpeg can be given an option by a preset from a pipe: one is made to leave out
/// `onMetaData`, and what it then writes is looked at.
pub async fn presets_reach_the_muxer(ffmpeg: &Path) -> bool {
    let spec = Spec::new(ffmpeg)
        .stdout(Output::Piped)
        .args([
            "-nostdin",
            "-v",
            "quiet",
            "-f",
            "lavfi",
            "-i",
            "anullsrc=d=0.1",
        ])
        .args(["-c:a", "aac"]);
    let preset = [PresetLine {
        option: "flvflags",
        value: Secret::new("no_metadata"),
    }];
    let Ok(spec) = with_preset(spec, &preset) else {
        return false;
    };
    let limits = CaptureLimits {
        timeout: Duration::from_secs(10),
        max_bytes: 64 * 1024,
    };
    match supervise::capture(spec.args(["-f", "flv", "pipe:1"]), limits).await {
        Ok(made) => {
            let described = made.stdout.windows(10).any(|bytes| bytes == b"onMetaData");
            made.exit == ExitReason::Code(0) && made.stdout.starts_with(b"FLV") && !described
        }
        Err(error) => {
            tracing::warn!(
                ffmpeg = %ffmpeg.display(), %error,
                "this FFmpeg could not be asked whether it takes keys from a pipe"
            );
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(spec: &Spec) -> Vec<&str> {
        spec.args.iter().filter_map(|arg| arg.to_str()).collect()
    }

    #[test]
    fn a_key_is_in_no_argument_and_no_variable() {
        let preset = [PresetLine {
            option: "rtmp_playpath",
            value: Secret::new("CANARY"),
        }];
        let address = "rtmps://a.example.org/live2";
        let (spec, _) = to_server(Path::new("ffmpeg"), Protocol::Rtmps, address, &preset)
            .expect("descriptors are left");
        assert!(!format!("{spec:?}").contains("CANARY"));
        assert!(arguments(&spec).contains(&"/dev/fd/3"));
        assert_eq!(spec.extra_fds.len(), 1);
        assert_eq!(arguments(&spec).last(), Some(&address));
    }

    #[test]
    fn certificates_are_checked_where_there_are_any() {
        let to = |protocol| {
            let made = to_server(Path::new("ffmpeg"), protocol, "x", &[]);
            made.expect("no pipe").0
        };
        let verifies = |spec: &Spec| {
            arguments(spec)
                .windows(2)
                .any(|w| w == ["-tls_verify", "1"])
        };
        assert!(verifies(&to(Protocol::Rtmps)));
        assert!(!verifies(&to(Protocol::Rtmp)));
    }
}
