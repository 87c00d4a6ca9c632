//! Reading where the controller listens, and who may call.

use std::net::SocketAddr;

use storage::secret::Secret;

use super::Reader;

impl Reader<'_> {
    pub(super) fn bind(&mut self, guarded: bool) -> SocketAddr {
        let default = SocketAddr::from(([127, 0, 0, 1], 8080));
        let bind = self.parsed("CONTROLLER_BIND", "an address like 127.0.0.1:8080", default);
        if !bind.ip().is_loopback() && !guarded {
            self.errors.push(format!(
                "CONTROLLER_BIND={bind} lets everyone on the network control the streams: set \
                 CONTROLLER_API_TOKEN, or CONTROLLER_ALLOW_PUBLIC=true if something else guards it"
            ));
        }
        bind
    }

    pub(super) fn ingest_bind(&mut self) -> Option<SocketAddr> {
        let text = self.text("INGEST_BIND")?;
        let parsed = text.parse();
        if parsed.is_err() {
            let wanted = "an address like 0.0.0.0:1935";
            self.errors
                .push(format!("INGEST_BIND={text} is not {wanted}"));
        }
        parsed.ok()
    }

    pub(super) fn token(&mut self) -> Option<Secret> {
        let token = self.keyring.secret("CONTROLLER_API_TOKEN")?;
        if token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Some(token);
        }
        self.errors.push(
            "CONTROLLER_API_TOKEN holds blanks or characters that no HTTP header can carry".into(),
        );
        Some(token)
    }

    pub(super) fn cors_origins(&mut self) -> Vec<String> {
        let origins = self.list("CONTROLLER_CORS_ORIGINS", "");
        for origin in &origins {
            let host = origin
                .strip_prefix("https://")
                .or_else(|| origin.strip_prefix("http://"));
            if host.is_none_or(|host| host.is_empty() || host.contains(['/', '*', '@', '?'])) {
                self.errors.push(format!(
                    "CONTROLLER_CORS_ORIGINS: {origin:?} must be http(s)://host[:port], \
                     without a path or wildcard"
                ));
            }
        }
        origins
    }
}
