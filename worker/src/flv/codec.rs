//! What the sequence headers say: enough to know the length of an AAC frame, and to see that a
//! source really has the stream's picture size. Pure.
//!
//! Sources: ISO/IEC 14496-3 §1.6.2.1 (`AudioSpecificConfig`), ISO/IEC 14496-15 §5.3.3.1
//! (`AVCDecoderConfigurationRecord`), ITU-T H.264 §7.3.2.1.1 (`seq_parameter_set_data`).

mod bits;
mod sps;

use bits::Bits;

/// Why a sequence header cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// It ends in the middle of a field.
    #[error("the codec header is cut short")]
    Truncated,
    /// A field has a value that the standard does not know.
    #[error("the codec header has no valid {0}")]
    Invalid(&'static str),
}

/// What an `AudioSpecificConfig` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioConfig {
    /// MPEG-4 audio object type: 2 is AAC-LC, 5 HE-AAC, 29 HE-AAC v2.
    pub object_type: u8,
    /// Sample rate of what is heard, Hz.
    pub rate_hz: u32,
    /// Channels; 0 when only the frames themselves say.
    pub channels: u8,
    /// Samples per channel in one frame, at `rate_hz`: 1024 for AAC-LC, 2048 for HE-AAC.
    pub frame_samples: u32,
}

/// What an `AVCDecoderConfigurationRecord` and its first SPS say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoConfig {
    /// `profile_idc`: 66 Baseline, 77 Main, 100 High, 110 High 10.
    pub profile: u8,
    /// `level_idc`: ten times the level.
    pub level: u8,
    /// Pixels shown, cropping applied.
    pub width: u32,
    /// Pixels shown, cropping applied.
    pub height: u32,
    /// Every picture is a whole frame.
    pub progressive: bool,
}

const AOT_SBR: u8 = 5;
const AOT_LOW_DELAY: u8 = 23;
const AOT_PS: u8 = 29;
const AOT_ENHANCED_LOW_DELAY: u8 = 39;

// === impl AudioConfig ===

impl AudioConfig {
    /// Reads an `AudioSpecificConfig`. Spectral band replication that is only found in the frames
    /// ("implicit") is not seen; the length of a frame in seconds is right all the same.
    pub fn parse(header: &[u8]) -> Result<Self, CodecError> {
        let mut bits = Bits::new(header);
        let mut object_type = object_type_of(&mut bits)?;
        let core_rate_hz = rate_of(&mut bits)?;
        let channels = match bits.take(4)? {
            7 => 8,
            n @ 0..7 => n as u8,
            11 => 7,
            12 | 14 => 8,
            _ => return Err(CodecError::Invalid("channel configuration")),
        };
        let mut rate_hz = core_rate_hz;
        let mut core_type = object_type;
        if matches!(object_type, AOT_SBR | AOT_PS) {
            rate_hz = rate_of(&mut bits)?;
            core_type = object_type_of(&mut bits)?;
            // Low-overlap "down-sampled SBR" keeps the core's rate.
            if rate_hz < core_rate_hz {
                object_type = core_type;
                rate_hz = core_rate_hz;
            }
        }
        let short_frames = bits.take(1)? == 1;
        let core_samples = match (core_type, short_frames) {
            (AOT_LOW_DELAY | AOT_ENHANCED_LOW_DELAY, false) => 512,
            (AOT_LOW_DELAY | AOT_ENHANCED_LOW_DELAY, true) => 480,
            (_, false) => 1024,
            (_, true) => 960,
        };
        let frame_samples =
            u64::from(rate_hz) * u64::from(core_samples as u32) / u64::from(core_rate_hz);
        Ok(Self {
            object_type,
            rate_hz,
            channels,
            frame_samples: frame_samples as u32,
        })
    }

    /// How long one frame sounds.
    pub fn frame_ns(&self) -> i64 {
        i64::from(self.frame_samples) * 1_000_000_000 / i64::from(self.rate_hz)
    }
}

fn object_type_of(bits: &mut Bits<'_>) -> Result<u8, CodecError> {
    match bits.take(5)? {
        0 => Err(CodecError::Invalid("audio object type")),
        31 => Ok(32 + bits.take(6)? as u8),
        n => Ok(n as u8),
    }
}

fn rate_of(bits: &mut Bits<'_>) -> Result<u32, CodecError> {
    const RATES_HZ: [u32; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025,
        8_000, 7_350,
    ];
    let index = bits.take(4)?;
    let rate_hz = match index {
        15 => bits.take(24)?,
        _ => RATES_HZ.get(index as usize).copied().unwrap_or(0),
    };
    match rate_hz {
        4_000..=192_000 => Ok(rate_hz),
        _ => Err(CodecError::Invalid("sample rate")),
    }
}

// === impl VideoConfig ===

impl VideoConfig {
    /// Reads an `AVCDecoderConfigurationRecord` and the first SPS in it.
    pub fn parse(header: &[u8]) -> Result<Self, CodecError> {
        let [version, profile, _, level, _, sps_count, rest @ ..] = header else {
            return Err(CodecError::Truncated);
        };
        if *version != 1 {
            return Err(CodecError::Invalid("configuration version"));
        }
        if sps_count & 0x1f == 0 {
            return Err(CodecError::Invalid("sequence parameter set"));
        }
        let [len1, len0, rest @ ..] = rest else {
            return Err(CodecError::Truncated);
        };
        let len = usize::from(u16::from_be_bytes([*len1, *len0]));
        let unit = rest.get(..len).ok_or(CodecError::Truncated)?;
        let shape = sps::picture_shape(unit)?;
        Ok(Self {
            profile: *profile,
            level: *level,
            width: shape.width,
            height: shape.height,
            progressive: shape.frames_only,
        })
    }
}

#[cfg(test)]
mod tests;
