//! What FFmpeg complains about when it publishes, in words of versions 4.2 to 9.0.

/// What is wrong between FFmpeg and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Complaint {
    /// Nothing listens there.
    Refused,
    /// There was a connection, and it is gone.
    Lost,
    /// No answer in time.
    TimedOut,
    /// The host has no address.
    Dns,
    /// The certificate was not accepted, or there is no TLS.
    Tls,
    /// The server refused the key or the name.
    Rejected,
}
