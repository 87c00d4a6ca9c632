//! The command lines of an FFmpeg that pulls a live feed, and of one that transcodes a feed.
//!
//! A feed with credentials is named to FFmpeg in a list it reads from a pipe (`ffconcat`), so that
//! neither user nor password stands in an argument.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use programme::{Fit, StreamFormat};
use storage::secret::Secret;
use supervise::{Input, Output, Spec};

use super::encode::{self, strings};
use super::input::quiet;

/// The descriptor the list is read from.
const LIST_FD: i32 = 3;

/// Where a feed is pulled from.
#[derive(Debug, Clone)]
pub struct Address {
    /// Without credentials.
    pub url: String,
    /// User, and what proves it.
    pub credentials: Option<(String, Secret)>,
}

/// Pulls a feed and writes it as FLV; into `format` when it is to be transcoded on the way.
///
/// # Errors
/// When the machine is out of descriptors.
pub fn pull(
    ffmpeg: &Path,
    address: &Address,
    format: Option<StreamFormat>,
) -> std::io::Result<Spec> {
    let scheme = address.url.split(':').next().unwrap_or_default();
    let options = reading(scheme);
    let mut spec = Spec::new(ffmpeg)
        .stdout(Output::Piped)
        .args(quiet())
        // A second is enough to see both tracks, and all the delay there may be.
        .args(["-analyzeduration", "1000000", "-fpsprobesize", "0"]);
    if comes_in_bursts(scheme) {
        spec = spec.args(["-readrate", "1"]);
    }
    spec = match &address.credentials {
        None => {
            for (name, value) in options {
                spec = spec.args([format!("-{name}"), value.to_owned()]);
            }
            spec.args(["-i", &address.url])
        }
        Some((user, password)) => {
            let list = list(scheme, &address.url, user, password, &options);
            let (reader, mut writer) = std::io::pipe()?;
            // A few lines: they fit the pipe, so this cannot wait for the reader.
            writer.write_all(list.as_bytes())?;
            let all = "file,pipe,fd,rtmp,rtmps,rtsp,rtp,udp,srt,http,https,tcp,tls,crypto";
            spec.fd(OwnedFd::from(reader), LIST_FD)
                .args(["-f", "concat", "-safe", "0", "-protocol_whitelist", all])
                .args(["-i", &format!("/dev/fd/{LIST_FD}")])
        }
    };
    spec = spec.args(["-map", "0:v:0?", "-map", "0:a:0?", "-sn", "-dn"]);
    spec = match format {
        None => spec.args(["-c", "copy"]),
        Some(format) => spec.args(picture(format)).args(sound(format)),
    };
    Ok(spec.args(encode::live_flv_to_stdout()))
}

/// Reads FLV on standard input, and writes it in `format` to standard output.
pub fn transcode(ffmpeg: &Path, fit: &Fit, has_sound: bool, format: StreamFormat) -> Spec {
    let mut spec = Spec::new(ffmpeg)
        .stdin(Input::Piped)
        .stdout(Output::Piped)
        .args(quiet())
        .args(["-analyzeduration", "500000", "-fpsprobesize", "0"])
        .args(["-f", "flv", "-i", "pipe:0", "-map", "0:v:0"]);
    spec = match fit.copies_video() {
        true => spec.args(["-c:v", "copy"]),
        false => spec.args(picture(format)),
    };
    if has_sound {
        spec = spec.args(["-map", "0:a:0"]);
        spec = match fit.copies_audio() {
            true => spec.args(["-c:a", "copy"]),
            false => spec.args(sound(format)),
        };
    }
    spec.args(encode::live_flv_to_stdout())
}

fn picture(format: StreamFormat) -> Vec<String> {
    // Two fields are one picture, where there are any.
    let filter = format!("bwdif=deint=interlaced,{}", encode::fit_picture(format));
    let mut args = vec!["-vf".to_owned(), filter];
    args.extend(encode::live_video(format));
    args
}

fn sound(format: StreamFormat) -> Vec<String> {
    let mut args = strings(["-af", "aresample=async=1"]);
    args.extend(encode::audio(format));
    args
}

/// A playlist gives whole segments, far apart: read as fast as it plays, from the third last of them,
/// each has come before it is needed, whatever their length.
fn comes_in_bursts(scheme: &str) -> bool {
    matches!(scheme, "http" | "https")
}

/// How a protocol is read: silence ends it, and it may open no other kind of address.
fn reading(scheme: &str) -> Vec<(&'static str, &'static str)> {
    match scheme {
        "rtsp" => vec![
            ("rtsp_transport", "tcp"),
            ("timeout", "5000000"),
            ("protocol_whitelist", "rtsp,rtp,udp,tcp"),
        ],
        "srt" => vec![("protocol_whitelist", "srt"), ("rw_timeout", "5000000")],
        "http" | "https" => vec![
            ("protocol_whitelist", "http,https,tcp,tls,crypto"),
            ("rw_timeout", "5000000"),
        ],
        "rtmps" => vec![
            ("protocol_whitelist", "rtmps,tls,tcp"),
            ("rw_timeout", "5000000"),
        ],
        _ => vec![
            ("protocol_whitelist", "rtmp,tcp"),
            ("rw_timeout", "5000000"),
        ],
    }
}

fn list(
    scheme: &str,
    url: &str,
    user: &str,
    password: &Secret,
    options: &[(&'static str, &'static str)],
) -> String {
    // A quote would end the text it stands in.
    let url = with_credentials(scheme, url, user, password).replace('\'', "%27");
    let mut text = format!("ffconcat version 1.0\nfile '{url}'\n");
    for (name, value) in options {
        text.push_str(&format!("option {name} {value}\n"));
    }
    text
}

fn with_credentials(scheme: &str, url: &str, user: &str, password: &Secret) -> String {
    let password = encoded(password.expose());
    if scheme == "srt" {
        let join = if url.contains('?') { '&' } else { '?' };
        return format!("{url}{join}passphrase={password}");
    }
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}:{password}@{rest}", encoded(user)),
        None => url.to_owned(),
    }
}

/// With everything but letters and digits as `%41`.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(spec: &Spec) -> String {
        let args = spec.args.iter().filter_map(|arg| arg.to_str());
        args.collect::<Vec<_>>().join(" ")
    }

    fn address(url: &str, credentials: Option<(&str, &str)>) -> Address {
        Address {
            url: url.to_owned(),
            credentials: credentials
                .map(|(user, password)| (user.to_owned(), Secret::new(password))),
        }
    }

    #[test]
    fn credentials_are_in_no_argument() {
        let address = address("rtsp://cam.example:554/1", Some(("reader", "CANARY'1")));
        let spec = pull(Path::new("ffmpeg"), &address, None).expect("a pipe");
        let args = arguments(&spec);
        assert!(
            !args.contains("CANARY") && !args.contains("cam.example"),
            "{args}"
        );
        assert_eq!(spec.extra_fds.len(), 1);
        let text = list("rtsp", "rtsp://cam/1'", "a b", &Secret::new("x'y"), &[]);
        assert!(
            text.contains("file 'rtsp://a%20b:x%27y@cam/1%27'\n"),
            "{text}"
        );
    }

    #[test]
    fn a_passphrase_joins_the_query_of_an_srt_address() {
        for (url, with) in [
            ("srt://h:9000", "srt://h:9000?passphrase=secret"),
            (
                "srt://h:9000?mode=caller",
                "srt://h:9000?mode=caller&passphrase=secret",
            ),
        ] {
            assert_eq!(
                with_credentials("srt", url, "", &Secret::new("secret")),
                with
            );
        }
    }

    #[test]
    fn a_feed_may_open_its_own_kind_of_address_only() {
        for (url, allowed) in [
            ("rtmp://h/live/a", "-protocol_whitelist rtmp,tcp "),
            ("rtsp://h/a", "-rtsp_transport tcp "),
            (
                "https://h/a.m3u8",
                "-protocol_whitelist http,https,tcp,tls,crypto ",
            ),
        ] {
            let spec = pull(Path::new("ffmpeg"), &address(url, None), None).expect("no pipe");
            assert!(arguments(&spec).contains(allowed), "{url}");
            let paced = arguments(&spec).contains("-readrate 1 ");
            assert_eq!(paced, url.starts_with("http"), "{url}");
        }
    }
}
