//! Reading what the operator set of MediaMTX.

use super::Reader;
use crate::config::MediaMtxConfig;

impl Reader<'_> {
    /// MediaMTX, if there is one whose API is to be asked.
    pub(super) fn mediamtx(&mut self) -> Option<MediaMtxConfig> {
        let api_url = self.text("MEDIAMTX_API_URL")?;
        let rest = api_url.strip_prefix("http://");
        if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['@', '?', '#'])) {
            // Not shown: it may hold a password.
            self.errors.push(
                "MEDIAMTX_API_URL must be http://host:port; a password belongs into MEDIAMTX_API_PASSWORD".into(),
            );
        }
        let user = self.text("MEDIAMTX_API_USER");
        let password = self.keyring.secret("MEDIAMTX_API_PASSWORD");
        if user.is_some() != password.is_some() {
            self.errors.push(
                "MEDIAMTX_API_USER and MEDIAMTX_API_PASSWORD belong together: set both or neither"
                    .into(),
            );
        }
        Some(MediaMtxConfig {
            api_url,
            credentials: user.zip(password),
        })
    }
}
