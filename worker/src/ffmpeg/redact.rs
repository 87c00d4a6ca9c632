//! What a line of FFmpeg's may not show.
//!
//! FFmpeg prints the addresses it works on, also the signed one it was redirected to and the RTMP
//! path with the key in it. Two nets, each enough for what it was made for: the exact secrets this
//! worker was given, and the shapes of secrets it was never told (signed queries, user names in
//! addresses, RTMP paths). A line is redacted whole, before anything cuts it.

use std::borrow::Cow;
use std::sync::Arc;

use storage::secret::Secret;

/// Stands where something was taken out.
const MASK: &str = "***";

/// Shorter texts are no secrets, and taking them out would take words apart.
const MIN_SECRET_LEN: usize = 4;

/// Names whose value is hidden wherever `name=value` stands, compared without case.
const SECRET_NAMES: [&str; 17] = [
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-security-token",
    "signature",
    "sig",
    "awsaccesskeyid",
    "token",
    "access_token",
    "key",
    "streamkey",
    "stream_key",
    "password",
    "pass",
    "passphrase",
    "streamid",
    "rtmp_playpath",
    "authorization",
];

/// Takes secrets out of lines. Cheap to clone.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, so that a secret within another does not leave the other's rest.
    exact: Arc<[String]>,
}

// === impl Redactor ===

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} secrets)", self.exact.len())
    }
}

impl Redactor {
    /// Knows `secrets` as they are and percent-encoded.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut exact = Vec::new();
        for secret in secrets {
            let text = secret.expose().trim();
            if text.len() >= MIN_SECRET_LEN {
                exact.push(percent_encoded(text));
                exact.push(text.to_owned());
            }
        }
        exact.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        exact.dedup();
        Self {
            exact: exact.into(),
        }
    }

    /// `line` without secrets.
    pub fn line(&self, line: &str) -> String {
        let mut text = Cow::Borrowed(line);
        for secret in self.exact.iter() {
            if text.contains(secret.as_str()) {
                text = Cow::Owned(text.replace(secret.as_str(), MASK));
            }
        }
        hide_named(&hide_addresses(&text))
    }
}

/// Rewrites each `scheme://…` of a text.
fn hide_addresses(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let scheme_at = rest[..at]
            .rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '+'))
            .map_or(0, |before| before + char_len(&rest[before..]));
        let body_at = at + 3;
        let end = rest[body_at..]
            .find(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '<' | '>' | '|'))
            .map_or(rest.len(), |len| body_at + len);
        out.push_str(&rest[..scheme_at]);
        hide_address(&mut out, &rest[scheme_at..at], &rest[body_at..end]);
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

fn char_len(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// Appends one address: host and port stay, who logs in, queries and RTMP keys do not.
fn hide_address(out: &mut String, scheme: &str, body: &str) {
    out.push_str(scheme);
    out.push_str("://");
    let authority_end = body.find(['/', '?', '#']).unwrap_or(body.len());
    let (authority, path) = body.split_at(authority_end);
    match authority.rsplit_once('@') {
        Some((_, host)) => {
            out.push_str(MASK);
            out.push('@');
            out.push_str(host);
        }
        None => out.push_str(authority),
    }
    let query_at = path.find(['?', '#']).unwrap_or(path.len());
    let (plain, query) = path.split_at(query_at);
    let kept = match scheme.to_ascii_lowercase().as_str() {
        // rtmp://host/app/KEY: the application stays, what follows is or may be the key.
        "rtmp" | "rtmps" | "rtmpt" | "rtmpts" | "rtmpe" | "rtmpte" => up_to_segment(plain, 1),
        // http://127.0.0.1:PORT/m/TICKET/name
        "http" if authority.starts_with("127.0.0.1:") && plain.starts_with("/m/") => "/m/",
        _ => plain,
    };
    out.push_str(kept);
    if kept.len() < plain.len() {
        out.push_str(if kept.ends_with('/') { MASK } else { "/***" });
    }
    // FFmpeg ends some lines with "ADDRESS: reason", so a colon may cling to the address.
    let colon = body.ends_with(':');
    if !query.is_empty() {
        out.push_str(&query[..1]);
        out.push_str(MASK);
    }
    if colon && (kept.len() < plain.len() || !query.is_empty()) {
        out.push(':');
    }
}

/// The first `count` segments of a path that begins with `/`.
fn up_to_segment(path: &str, count: usize) -> &str {
    path.match_indices('/')
        .nth(count)
        .map_or(path, |(at, _)| &path[..at])
}

/// Hides the value of each `name=value` whose name is known to name a secret.
fn hide_named(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('=') {
        let (before, after) = rest.split_at(at + 1);
        out.push_str(before);
        let name_at = before[..at]
            .rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
            .map_or(0, |i| i + char_len(&before[i..]));
        let name = before[name_at..at].to_ascii_lowercase();
        let end = after
            .find(|c: char| c.is_whitespace() || matches!(c, '&' | '\'' | '"' | ',' | ';'))
            .unwrap_or(after.len());
        rest = after;
        if end > 0 && SECRET_NAMES.contains(&name.as_str()) {
            out.push_str(MASK);
            rest = &after[end..];
        }
    }
    out.push_str(rest);
    out
}

fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CANARY: &str = "CANARY-a1b2/c3+d4";

    fn redactor() -> Redactor {
        Redactor::new([&Secret::new(CANARY)])
    }

    #[test]
    fn a_known_secret_is_taken_out_wherever_it_stands() {
        for line in [
            format!("Error writing trailer of rtmp://host/live/{CANARY}: Broken pipe"),
            format!("fname = {CANARY}"),
            format!("rtmp_playpath={CANARY}&x=1"),
            "https://b/k?x=CANARY-a1b2%2Fc3%2Bd4".to_owned(),
        ] {
            let shown = redactor().line(&line);
            assert!(!shown.contains("CANARY"), "{shown}");
            assert!(shown.contains(MASK), "{shown}");
        }
    }

    #[test]
    fn unknown_secrets_are_known_by_their_shape() {
        let none = Redactor::default();
        for (line, shown) in [
            (
                "[https @ 0x1] Opening 'https://acc.r2.cloudflarestorage.com/b/a b.mp4?X-Amz-Credential=C&X-Amz-Signature=S' for reading",
                "[https @ 0x1] Opening 'https://acc.r2.cloudflarestorage.com/b/a b.mp4?X-Amz-Credential=***&X-Amz-Signature=***' for reading",
            ),
            (
                "https://acc.example/b/a.mp4?X-Amz-Credential=C&X-Amz-Signature=S: Server returned 403",
                "https://acc.example/b/a.mp4?***: Server returned 403",
            ),
            (
                "rtmp://a.example:1935/live2/KEY-KEY: Input/output error",
                "rtmp://a.example:1935/live2/***: Input/output error",
            ),
            (
                "rtmps://b.example/live2?backup=1/KEY",
                "rtmps://b.example/live2?***",
            ),
            ("rtmp://a.example/live2", "rtmp://a.example/live2"),
            (
                "rtsp://user:word@cam.example:554/1: Unauthorized",
                "rtsp://***@cam.example:554/1: Unauthorized",
            ),
            (
                "srt://host:9000?streamid=KEY&passphrase=P",
                "srt://host:9000?***",
            ),
            (
                "http://127.0.0.1:4711/m/0123abcd/a.mp4: Invalid data found",
                "http://127.0.0.1:4711/m/***: Invalid data found",
            ),
            ("Option Signature=abc, next", "Option Signature=***, next"),
            ("frame= 12 fps=30", "frame= 12 fps=30"),
            ("ünïcode=1 ß://x", "ünïcode=1 ß://x"),
        ] {
            assert_eq!(none.line(line), shown);
        }
    }

    #[test]
    fn the_longer_of_two_secrets_leaves_no_rest() {
        let both = Redactor::new([&Secret::new("abcdef"), &Secret::new("abcdef-more")]);
        assert_eq!(both.line("x abcdef-more y abcdef z"), "x *** y *** z");
    }

    #[test]
    fn short_or_empty_secrets_do_not_take_words_apart() {
        let none = Redactor::new([&Secret::new(""), &Secret::new("an")]);
        assert_eq!(none.line("an answer"), "an answer");
    }

    proptest! {
        #[test]
        fn any_text_can_be_redacted(text in ".{0,200}") {
            let _shown = redactor().line(&text);
        }

        #[test]
        fn a_secret_never_survives(before in ".{0,40}", after in ".{0,40}") {
            let shown = redactor().line(&format!("{before}{CANARY}{after}"));
            prop_assert!(!shown.contains(CANARY));
        }
    }
}
