//! Reading where media lies.

use std::path::Path;

use storage::model::StorageSettings;
use storage::model::job::Provider;
use storage::secret::Secret;

use super::Reader;

const EXTENSIONS: &str = "mp4,mov,mkv,webm,m4v,ts,flv,mp3,m4a,wav";
const CACHE_MAX_BYTES: u64 = 2 << 30;

impl Reader<'_> {
    pub(super) fn storage(&mut self, state_dir: &Path) -> StorageSettings {
        let provider = self.provider();
        let bucket = self.text("STORAGE_BUCKET");
        if provider != Provider::Local && bucket.is_none() {
            self.errors
                .push("STORAGE_BUCKET must name the bucket".into());
        }
        let default_region = match provider {
            Provider::R2 => Some("auto"),
            Provider::S3 => Some("us-east-1"),
            Provider::Local => None,
        };
        StorageSettings {
            provider,
            bucket: bucket.filter(|_| provider != Provider::Local),
            prefix: self.prefix(),
            endpoint: self.endpoint(provider),
            region: default_region
                .map(|region| self.text("STORAGE_REGION").unwrap_or(region.to_owned())),
            local_dir: (provider == Provider::Local)
                .then(|| self.directory("STORAGE_LOCAL_DIR", state_dir.join("media"))),
            url_ttl_secs: self.url_ttl_secs(),
            extensions: self.extensions(),
        }
    }

    pub(super) fn provider(&mut self) -> Provider {
        match self.text("STORAGE_PROVIDER").as_deref() {
            None | Some("local") => Provider::Local,
            Some("r2") => Provider::R2,
            Some("s3") => Provider::S3,
            Some(other) => {
                self.errors.push(format!(
                    "STORAGE_PROVIDER={other} is none of r2, s3 and local"
                ));
                Provider::Local
            }
        }
    }

    pub(super) fn prefix(&mut self) -> String {
        let prefix = self.text("STORAGE_PREFIX").unwrap_or_default();
        match prefix.trim_matches('/') {
            "" => String::new(),
            inner => format!("{inner}/"),
        }
    }

    pub(super) fn endpoint(&mut self, provider: Provider) -> Option<String> {
        if provider == Provider::Local {
            return None;
        }
        if let Some(endpoint) = self.text("STORAGE_ENDPOINT") {
            let rest = endpoint
                .strip_prefix("https://")
                .or_else(|| endpoint.strip_prefix("http://"));
            if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['@', '?', '#', ' '])) {
                // Not shown: it may hold `user:password@`.
                self.errors.push(
                    "STORAGE_ENDPOINT must be http(s)://host[:port], without user or query".into(),
                );
            }
            return Some(endpoint.trim_end_matches('/').to_owned());
        }
        if provider == Provider::S3 {
            return None;
        }
        let account = self.text("STORAGE_ACCOUNT_ID");
        match &account {
            None => self.errors.push(
                "STORAGE_ACCOUNT_ID (or STORAGE_ENDPOINT) must be set for r2; the Cloudflare \
                 dashboard shows it under R2"
                    .into(),
            ),
            Some(id) if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) => self
                .errors
                .push(format!("STORAGE_ACCOUNT_ID={id} is not an account id")),
            Some(_) => {}
        }
        account.map(|id| format!("https://{id}.r2.cloudflarestorage.com"))
    }

    pub(super) fn storage_keys(&mut self) -> Option<(Secret, Secret)> {
        let provider = self.text("STORAGE_PROVIDER");
        let id = self.keyring.secret("STORAGE_ACCESS_KEY_ID");
        let secret = self.keyring.secret("STORAGE_SECRET_ACCESS_KEY");
        if id.is_some() != secret.is_some() {
            self.errors.push(
                "STORAGE_ACCESS_KEY_ID and STORAGE_SECRET_ACCESS_KEY belong together: set both or \
                 neither"
                    .into(),
            );
        }
        if provider.as_deref() == Some("r2") && id.is_none() && secret.is_none() {
            self.errors.push(
                "r2 needs STORAGE_ACCESS_KEY_ID and STORAGE_SECRET_ACCESS_KEY (an R2 API token)"
                    .into(),
            );
        }
        id.zip(secret)
    }

    pub(super) fn url_ttl_secs(&mut self) -> u64 {
        let ttl = self.parsed("STORAGE_URL_TTL_SECS", "a number of seconds", 86_400_u64);
        if !(60..=604_800).contains(&ttl) {
            self.errors.push(format!(
                "STORAGE_URL_TTL_SECS={ttl} must lie between 60 and 604800: S3 and R2 sign for at \
                 most seven days"
            ));
        }
        ttl
    }

    pub(super) fn cache_max_bytes(&mut self) -> u64 {
        self.parsed("CACHE_MAX_BYTES", "a number of bytes", CACHE_MAX_BYTES)
    }

    pub(super) fn extensions(&mut self) -> Vec<String> {
        let extensions: Vec<String> = self
            .list("STORAGE_EXTENSIONS", EXTENSIONS)
            .iter()
            .map(|text| text.trim_start_matches('.').to_ascii_lowercase())
            .collect();
        let plain = |text: &String| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        if extensions.is_empty() || !extensions.iter().all(plain) {
            self.errors
                .push("STORAGE_EXTENSIONS must be a list like mp4,mkv,mp3".into());
        }
        extensions
    }
}
