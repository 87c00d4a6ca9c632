//! What an operator asks to be played.

use serde::{Deserialize, Serialize};

use crate::schedule::Schedule;

/// A stream's programme as it stands in `stream_config.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Programme {
    /// What plays, in the order written when `order` is [`Order::Listed`].
    #[serde(default = "whole_bucket")]
    pub items: Vec<ItemSpec>,
    /// How the resolved objects are ordered.
    #[serde(default)]
    pub order: Order,
    /// Start again after the last item; otherwise the slate stays on air after it.
    #[serde(default = "yes", rename = "loop")]
    pub repeat: bool,
    /// Blocks that take the air at their times; outside of them the above plays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

/// One line of a programme.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ItemSpec {
    /// Every playable object whose key starts with this, in key order; `""` is the whole bucket.
    Prefix(String),
    /// One object, by its key below `STORAGE_PREFIX`.
    Key(String),
}

/// The order in which the objects of a programme air.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As listed; objects of one prefix in key order.
    #[default]
    Listed,
    /// A new permutation each round, reproducible from the stored seed.
    Shuffle,
}

impl Default for Programme {
    fn default() -> Self {
        Self {
            items: whole_bucket(),
            order: Order::Listed,
            repeat: true,
            schedule: None,
        }
    }
}

impl Programme {
    /// Every line, those of blocks and their filler included.
    pub fn all_items(&self) -> impl Iterator<Item = &ItemSpec> {
        let blocks = self.schedule.iter().flat_map(|schedule| &schedule.blocks);
        let of_blocks = blocks.flat_map(|block| block.items.iter().chain(&block.filler));
        self.items.iter().chain(of_blocks)
    }

    /// The prefixes to list: each object of the programme is below exactly one of them.
    pub fn prefixes(&self) -> Vec<String> {
        let mut wanted: Vec<&str> = self
            .all_items()
            .map(|item| match item {
                ItemSpec::Prefix(text) | ItemSpec::Key(text) => text.as_str(),
            })
            .collect();
        wanted.sort_unstable();
        let mut prefixes: Vec<String> = Vec::new();
        for text in wanted {
            // In sorted order, whatever covers `text` is the last one kept.
            let covered = prefixes
                .last()
                .is_some_and(|last| text.starts_with(last.as_str()));
            if !covered {
                prefixes.push(text.to_owned());
            }
        }
        prefixes
    }
}

fn whole_bucket() -> Vec<ItemSpec> {
    vec![ItemSpec::Prefix(String::new())]
}

fn yes() -> bool {
    true
}
