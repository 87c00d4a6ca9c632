//! A time of day as a clock on the wall shows it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `HH:MM` or `HH:MM:SS`, from `00:00` to `24:00`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, example = "06:00"))]
#[serde(try_from = "String", into = "String")]
pub struct WallTime(u32);

/// Not a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a time of day as \"06:00\" or \"06:00:30\", at most \"24:00\"")]
pub struct InvalidWallTime;

impl WallTime {
    /// Seconds of a day.
    pub const DAY_S: u32 = 24 * 60 * 60;

    /// Seconds since midnight by the clock, at most [`Self::DAY_S`].
    pub fn seconds(self) -> u32 {
        self.0
    }
}

impl FromStr for WallTime {
    type Err = InvalidWallTime;

    fn from_str(text: &str) -> Result<Self, InvalidWallTime> {
        let mut parts = text.split(':');
        let mut part = |limit: u32| {
            let part = parts.next()?;
            let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            let value = digits.then(|| part.parse().ok()).flatten()?;
            (value <= limit).then_some(value)
        };
        let (hours, minutes) = part(24).zip(part(59)).ok_or(InvalidWallTime)?;
        let seconds = match text.len() {
            5 => 0,
            _ => part(59).ok_or(InvalidWallTime)?,
        };
        let total = (hours * 60 + minutes) * 60 + seconds;
        if parts.next().is_some() || total > Self::DAY_S {
            return Err(InvalidWallTime);
        }
        Ok(Self(total))
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes, seconds) = (self.0 / 3600, self.0 / 60 % 60, self.0 % 60);
        write!(f, "{hours:02}:{minutes:02}")?;
        match seconds {
            0 => Ok(()),
            _ => write!(f, ":{seconds:02}"),
        }
    }
}

impl TryFrom<String> for WallTime {
    type Error = InvalidWallTime;

    fn try_from(text: String) -> Result<Self, InvalidWallTime> {
        text.parse()
    }
}

impl From<WallTime> for String {
    fn from(time: WallTime) -> Self {
        time.to_string()
    }
}
