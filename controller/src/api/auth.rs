//! Who may call: the bearer token, and what a browser may be tricked into.
//!
//! On loopback without a token, every page the operator's browser shows could try to call the API.
//! Two checks stop that: the `Host` must be one of ours (a foreign name that was made to point at
//! 127.0.0.1 is not), and what changes something must not come from a foreign origin.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use storage::secret::Secret;
use subtle::ConstantTimeEq;

use super::error::ApiError;
use crate::config::Config;

/// Who is let in.
#[derive(Debug, Clone)]
pub(super) struct Gate(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    token: Option<Secret>,
    bind: SocketAddr,
    origins: Vec<String>,
}

// === impl Gate ===

impl Gate {
    pub(super) fn new(config: &Config) -> Self {
        Self(Arc::new(Rules {
            token: config.api_token.clone(),
            bind: config.bind,
            origins: config.cors_origins.clone(),
        }))
    }
}

/// Middleware: for every route.
pub(super) async fn check_caller(
    State(Gate(rules)): State<Gate>,
    request: Request,
    next: Next,
) -> Response {
    match rules.check_browser(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Middleware: for the routes that need the token.
pub(super) async fn check_token(
    State(Gate(rules)): State<Gate>,
    request: Request,
    next: Next,
) -> Response {
    if rules.token_matches(request.headers()) {
        return next.run(request).await;
    }
    let mut response = ApiError::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "send the header \"Authorization: Bearer <token>\" with the value of CONTROLLER_API_TOKEN",
    )
    .into_response();
    let challenge = HeaderValue::from_static("Bearer realm=\"stream-controller\"");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    response
}

// === impl Rules ===

impl Rules {
    fn token_matches(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let sent = headers.get(header::AUTHORIZATION);
        let sent = sent.and_then(|value| sent_token(value.as_bytes()));
        // Constant in time for texts of one length; the length itself is no secret.
        sent.is_some_and(|sent| sent.ct_eq(token.expose().as_bytes()).into())
    }

    fn check_browser(&self, request: &Request) -> Result<(), ApiError> {
        let host = host(request);
        let exposed = self.token.is_none() && self.bind.ip().is_loopback();
        if exposed && !host.as_deref().is_some_and(|host| self.is_our_host(host)) {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "host_refused",
                format!(
                    "the Host header names another machine; call http://{}",
                    self.bind
                ),
            ));
        }
        if request.method().is_safe() {
            return Ok(());
        }
        let origin = request.headers().get(header::ORIGIN);
        match origin.map(|origin| origin.to_str().unwrap_or("null")) {
            Some(origin) if !self.is_our_origin(origin, host.as_deref()) => Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "origin_refused",
                "a page of another origin may not change anything here; \
                 CONTROLLER_CORS_ORIGINS names those that may",
            )),
            _ => Ok(()),
        }
    }

    /// Loopback's names and the address bound; any port, for there may be a tunnel before it.
    fn is_our_host(&self, host: &str) -> bool {
        let name = host_name(host);
        name.eq_ignore_ascii_case("localhost")
            || name
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.is_loopback() || ip == self.bind.ip())
    }

    fn is_our_origin(&self, origin: &str, host: Option<&str>) -> bool {
        let same = origin
            .split_once("://")
            .is_some_and(|(_, authority)| Some(authority) == host);
        same || self.origins.iter().any(|allowed| allowed == origin)
    }
}

/// The token of an `Authorization` header: a bearer token, or the password of basic authentication,
/// which is all that some callers can be given (in the user part of a URL).
fn sent_token(header: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (scheme, value) = header.split_at(header.iter().position(|byte| *byte == b' ')? + 1);
    if scheme.eq_ignore_ascii_case(b"bearer ") {
        return Some(Cow::Borrowed(value));
    }
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = BASE64.decode(value).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(Cow::Owned(decoded[colon + 1..].to_vec()))
}

/// The authority that the client meant: HTTP/1.1's `Host`, or the one of an absolute URI.
fn host(request: &Request) -> Option<String> {
    let sent = request.headers().get(header::HOST);
    sent.and_then(|host| host.to_str().ok())
        .map(str::to_owned)
        .or_else(|| authority(request.uri()))
}

fn authority(uri: &Uri) -> Option<String> {
    uri.authority().map(ToString::to_string)
}

/// `[::1]:8080` → `::1`, `localhost:8080` → `localhost`.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((ip6, _)) => ip6,
        None => host.split(':').next().unwrap_or(host),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn rules(token: Option<&str>, origins: &[&str]) -> Rules {
        Rules {
            token: token.map(Secret::new),
            bind: "127.0.0.1:8080".parse().unwrap(),
            origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
        }
    }

    fn request(method: &str, host: &str, origin: Option<&str>) -> Request {
        let mut request = Request::builder().method(method).header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn only_names_of_this_machine_reach_an_open_loopback_api() {
        let rules = rules(None, &[]);
        for ours in [
            "127.0.0.1:8080",
            "localhost",
            "LOCALHOST:1",
            "[::1]:8080",
            "127.0.0.2",
        ] {
            assert!(
                rules.check_browser(&request("GET", ours, None)).is_ok(),
                "{ours}"
            );
        }
        for foreign in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "10.0.0.1",
            "",
        ] {
            assert!(
                rules.check_browser(&request("GET", foreign, None)).is_err(),
                "{foreign}"
            );
        }
    }

    #[test]
    fn with_a_token_any_name_may_stand_before_it() {
        let rules = rules(Some("t"), &[]);
        assert!(
            rules
                .check_browser(&request("GET", "tv.example", None))
                .is_ok()
        );
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let rules = rules(None, &["https://dash.example"]);
        let post = |origin| request("POST", "localhost:8080", origin);
        assert!(rules.check_browser(&post(None)).is_ok());
        assert!(
            rules
                .check_browser(&post(Some("http://localhost:8080")))
                .is_ok()
        );
        assert!(
            rules
                .check_browser(&post(Some("https://dash.example")))
                .is_ok()
        );
        for foreign in ["https://evil.example", "null", "http://localhost:3000", ""] {
            assert!(
                rules.check_browser(&post(Some(foreign))).is_err(),
                "{foreign}"
            );
        }
    }

    #[test]
    fn a_token_is_compared_whole() {
        let rules = rules(Some("s3cret"), &[]);
        let sends = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            rules.token_matches(&headers)
        };
        assert!(sends("Bearer s3cret") && sends("bearer s3cret"));
        for wrong in [
            "Bearer s3cre",
            "Bearer s3cret2",
            "Bearer ",
            "Bearer",
            "Basic s3cret",
            "s3cret",
        ] {
            assert!(!sends(wrong), "{wrong}");
        }
        assert!(!rules.token_matches(&HeaderMap::new()));
    }
}
