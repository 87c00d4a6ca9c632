//! One stream of the drill, the ways to its platforms, and what its status and its viewers say.

use std::collections::BTreeSet;

use anyhow::Context;
use serde_json::{Value, json};
use storage::model::StreamId;

use super::FLOWING;
use crate::drill::clips;
use crate::drill::platform::Platform;
use crate::drill::programme::Programme;
use crate::drill::proxy::Proxy;

/// A drill that is killed leaves workers behind that nobody watches any more: they give up by
/// themselves after so many tries, a second apart.
const ATTEMPTS: u32 = 600;

/// Two, so that one can be seen to be left alone.
const DESTINATIONS: [&str; 2] = ["a", "b"];

/// One stream and its destinations.
#[derive(Debug)]
pub struct Channel {
    /// Name of the stream.
    pub id: StreamId,
    /// Where it is published to, in the order of the configuration.
    pub destinations: Vec<Destination>,
    /// What its status said was wrong since [`Channel::told`] was last emptied.
    pub told: BTreeSet<String>,
}

/// A platform and the way to it.
#[derive(Debug)]
pub struct Destination {
    /// Name in the configuration.
    pub name: String,
    /// The way.
    pub proxy: Proxy,
    /// Its end.
    pub platform: Platform,
}

// === impl Channel ===

impl Channel {
    pub(super) async fn make(number: usize) -> anyhow::Result<Self> {
        let id = format!("drill{number}").parse();
        let mut destinations = Vec::new();
        for name in DESTINATIONS {
            let platform = Platform::start()
                .await
                .context("cannot listen on loopback")?;
            destinations.push(Destination {
                name: name.to_owned(),
                proxy: Proxy::to(platform.address()).context("cannot listen on loopback")?,
                platform,
            });
        }
        Ok(Self {
            id: id.map_err(|error| anyhow::anyhow!("a stream id of the drill: {error}"))?,
            destinations,
            told: BTreeSet::new(),
        })
    }

    pub(super) fn config(&self) -> Value {
        let destination = |d: &Destination| {
            let url = format!("rtmp://{}/live/{}-{}", d.proxy.address(), self.id, d.name);
            json!({ "name": d.name, "url": url })
        };
        let destinations: Vec<Value> = self.destinations.iter().map(destination).collect();
        json!({
            "format": clips::format(),
            "destinations": destinations,
            "retry": { "initial_s": 0.5, "factor": 1.5, "max_s": 2, "max_attempts": ATTEMPTS },
        })
    }

    /// Remembers what a status says is wrong.
    pub(super) fn hear(&mut self, status: &Value) {
        let first = &status["destinations"][0];
        let not_live = first["state"] != "live";
        let heard = [
            &status["error"]["type"],
            &status["on_air"]["slate"],
            if not_live {
                &first["error"]["type"]
            } else {
                &Value::Null
            },
        ];
        let names = heard.iter().filter_map(|value| value.as_str());
        self.told.extend(names.map(str::to_owned));
    }
}

// === impl Destination ===

impl Destination {
    /// Whether a picture of the programme was among the last that came, a moment ago.
    pub(super) fn shows(&self, programme: &Programme) -> bool {
        self.platform.log().look(|all| {
            let last = all.iter().rev().find_map(|connection| {
                connection
                    .messages
                    .iter()
                    .rev()
                    .find(|m| m.tag.is_picture())
            });
            last.is_some_and(|m| m.arrived.elapsed() < FLOWING && programme.has(&m.tag))
        })
    }
}
