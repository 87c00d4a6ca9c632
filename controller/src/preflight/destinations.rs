//! Destinations: does the name resolve, does anybody listen there, and is it who it should be.
//!
//! Nothing is published and no key is sent: the connection is closed as soon as it is made.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use storage::model::DestinationConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::Finding;

/// For each of: the name, the connection, the handshake.
const STEP_LIMIT: Duration = Duration::from_secs(3);

/// Where a URL leads.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    host: String,
    port: u16,
    transport: Transport,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp,
    Tls,
    /// Nothing answers a datagram of ours, so only the name is looked up.
    Udp,
}

/// Looks at all destinations at once.
pub(super) async fn look(destinations: &[DestinationConfig]) -> Vec<Finding> {
    join_all(destinations.iter().map(one)).await
}

async fn one(to: &DestinationConfig) -> Finding {
    let name = format!("destination/{}", to.name);
    let Some(target) = Target::of(&to.url) else {
        return Finding::missing(name, "its address cannot be understood: rtmp://host/app");
    };
    match reach(&target).await {
        Ok(how) => Finding::fine(name, how),
        Err(why) => Finding::missing(name, format_args!("{why}; the stream keeps trying")),
    }
}

async fn reach(target: &Target) -> Result<String, String> {
    let Target {
        host,
        port,
        transport,
    } = target;
    let addresses = match limited(tokio::net::lookup_host((host.as_str(), *port))).await {
        Ok(found) => found.collect::<Vec<SocketAddr>>(),
        Err(error) => {
            return Err(format!(
                "{host} has no address ({error}): check its spelling and this machine's DNS"
            ));
        }
    };
    if *transport == Transport::Udp {
        return Ok(format!(
            "{host} has an address; whether it listens is not known"
        ));
    }
    let stream = limited(TcpStream::connect(addresses.as_slice()))
        .await
        .map_err(|error| {
            format!(
                "nobody takes a connection at {host}:{port} ({error}): check the address and the \
                 firewall"
            )
        })?;
    if *transport == Transport::Tls {
        shake_hands(host, stream).await.map_err(|error| {
            format!(
                "{host}:{port} takes a connection and fails at TLS ({error}): check host name, \
                 clock and ca-certificates"
            )
        })?;
    }
    Ok(format!("{host}:{port} takes connections"))
}

async fn shake_hands(host: &str, stream: TcpStream) -> io::Result<()> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connector = TlsConnector::from(client());
    limited(connector.connect(name, stream)).await.map(drop)
}

/// Trusts whom the machine trusts. Made once: reading the certificates takes a moment.
fn client() -> Arc<ClientConfig> {
    static CLIENT: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let client = CLIENT.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        // A certificate that cannot be read is one this machine does not trust.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider speaks the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    });
    Arc::clone(client)
}

async fn limited<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let limit = STEP_LIMIT.as_secs();
    timeout(STEP_LIMIT, step).await.unwrap_or_else(|_| {
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {limit} s"),
        ))
    })
}

// === impl Target ===

impl Target {
    /// Of `scheme://[user@]host[:port][/path]`; an IPv6 address stands in brackets.
    fn of(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (transport, usual) = match scheme {
            "rtmp" => (Transport::Tcp, 1935),
            "rtmps" => (Transport::Tls, 443),
            "srt" => (Transport::Udp, 0),
            _ => return None,
        };
        let authority = rest.split(['/', '?', '#']).next()?;
        let place = authority.rsplit_once('@').map_or(authority, |(_, at)| at);
        let (host, port) = match place.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']')?;
                (host, after.strip_prefix(':'))
            }
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        let port = port.map_or(Some(usual), |port| port.parse().ok())?;
        (!host.is_empty()).then(|| Self {
            host: host.to_owned(),
            port,
            transport,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_where_ffmpeg_would_go() {
        let of = |url: &str| {
            let target = Target::of(url)?;
            Some((target.host, target.port, target.transport))
        };
        let expected = |host: &str, port, transport| Some((host.to_owned(), port, transport));
        for (url, target) in [
            ("rtmp://a.tv/live", expected("a.tv", 1935, Transport::Tcp)),
            (
                "rtmps://a.tv:8443/x",
                expected("a.tv", 8443, Transport::Tls),
            ),
            ("rtmps://a.tv", expected("a.tv", 443, Transport::Tls)),
            ("rtmp://[::1]:1936/x", expected("::1", 1936, Transport::Tcp)),
            ("rtmp://u:p@a.tv/x", expected("a.tv", 1935, Transport::Tcp)),
            (
                "srt://a.tv:9000?x=1",
                expected("a.tv", 9000, Transport::Udp),
            ),
            ("http://a.tv/", None),
            ("rtmp:///live", None),
        ] {
            assert_eq!(of(url), target, "{url}");
        }
    }
}
