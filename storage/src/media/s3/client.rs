//! How the SDK is set up.
//!
//! Path style, because R2 and self-hosted servers have no host name per bucket. Checksums only where
//! the protocol requires them: the SDK's default trailer is refused by R2 and garage.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls;

use crate::media::{BAD_PREFIX, key};
use crate::model::StorageSettings;
use crate::model::job::Provider;
use crate::secret::Secret;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 3;

/// The client for these settings, or what has to be set otherwise first. Makes no request.
pub(super) async fn build(
    settings: &StorageSettings,
    keys: Option<&(Secret, Secret)>,
) -> Result<Client, &'static str> {
    if let Some(wrong) = wrong_setting(settings) {
        return Err(wrong);
    }
    let http = http_client();
    let region = settings.region.clone().or(match settings.provider {
        Provider::R2 => Some("auto".to_owned()),
        // Servers of one's own mostly take any region; AWS's own chain may know a better one.
        _ if settings.endpoint.is_some() || keys.is_some() => Some("us-east-1".to_owned()),
        _ => None,
    });
    let config = match keys {
        // Nothing of the environment or of ~/.aws takes part: what is configured here is all.
        Some((id, secret)) => Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .credentials_provider(Credentials::new(
                id.expose(),
                secret.expose(),
                None,
                None,
                "stream-controller",
            )),
        None => {
            let ambient = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
            let ambient = ambient.load().await;
            if region.is_none() && ambient.region().is_none() {
                return Err("set STORAGE_REGION to the bucket's region");
            }
            Builder::from(&ambient)
        }
    };
    let config = match region {
        Some(region) => config.region(Region::new(region)),
        None => config,
    };
    let config = match &settings.endpoint {
        Some(endpoint) => config.endpoint_url(endpoint),
        None => config,
    };
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build();
    let config = config
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
    Ok(Client::from_conf(config.build()))
}

/// The same client, making one try; only the answer's beginning has to come in time.
pub(super) fn impatient(client: &Client) -> Client {
    let config = client.config().to_builder();
    let config = config
        .retry_config(RetryConfig::disabled())
        // A reader that is held back is not a server that has stalled.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    Client::from_conf(config.build())
}

fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(
            tls::rustls_provider::CryptoMode::Ring,
        ))
        .build_https()
}

/// What has to be set otherwise before a request can be made.
fn wrong_setting(settings: &StorageSettings) -> Option<&'static str> {
    if settings.bucket.as_ref().is_none_or(String::is_empty) {
        return Some("set STORAGE_BUCKET");
    }
    if key::check_prefix(&settings.prefix).is_err() {
        return Some(BAD_PREFIX);
    }
    match &settings.endpoint {
        None if settings.provider == Provider::R2 => {
            Some("set STORAGE_ACCOUNT_ID, or STORAGE_ENDPOINT")
        }
        None => None,
        Some(url) if !(url.starts_with("https://") || url.starts_with("http://")) => {
            Some("STORAGE_ENDPOINT must begin with https:// or http://")
        }
        Some(url) if url.contains(['@', '?', '#']) => Some(
            "STORAGE_ENDPOINT must be a plain address: credentials belong into \
             STORAGE_ACCESS_KEY_ID and STORAGE_SECRET_ACCESS_KEY",
        ),
        Some(_) => None,
    }
}
