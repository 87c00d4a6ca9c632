//! The server's half of RTMP publishing, and what a viewer of what was published sees.
//!
//! ```text
//! socket ─► accept() ─► Request ─► accept() ─► Publisher ─► next() … media, in order
//!           handshake,  app, key └► refuse()               with its arrival
//!           connect,    only
//!           publish
//! ```
//! Who may publish is decided between [`Request`] and [`Publisher`], by whoever holds the request and
//! in whatever time that takes; a peer that sends media before it was accepted has broken the protocol.
//!
//! - [`publisher`]: one connection, from its first byte to its last.
//! - `session`: the protocol itself; no I/O. `chunk` puts its messages together, `amf` reads commands.
//! - [`handoff`]: a connection goes on in another process.
//! - [`tag`]: what one message carries.
//! - [`receiver`]: a platform that notes everything it is sent.
//! - [`viewer`]: what a viewer of that would have seen; pure.

mod amf;
mod chunk;
mod error;
pub mod handoff;
pub mod publisher;
pub mod receiver;
mod session;
pub mod tag;
pub mod viewer;

pub use amf::AmfError;
pub use chunk::ChunkError;
pub use error::Error;
pub use publisher::{Media, Publisher, Request, accept};
pub use tag::{Part, Tag, Track};
