//! Reads fields of bits, most significant first, and Exp-Golomb codes.

use super::CodecError;

/// A position in a slice, counted in bits.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The next `count` (≤ 32) bits as a number.
    pub(super) fn take(&mut self, count: u32) -> Result<u32, CodecError> {
        let mut value = 0_u64;
        for _ in 0..count {
            let byte = self
                .bytes
                .get(self.position / 8)
                .ok_or(CodecError::Truncated)?;
            let bit = (byte >> (7 - self.position % 8)) & 1;
            value = (value << 1) | u64::from(bit);
            self.position += 1;
        }
        Ok(value as u32)
    }

    pub(super) fn flag(&mut self) -> Result<bool, CodecError> {
        Ok(self.take(1)? == 1)
    }

    /// `ue(v)`: n zeros, a one, n bits.
    pub(super) fn unsigned(&mut self) -> Result<u32, CodecError> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros == 32 {
                return Err(CodecError::Invalid("Exp-Golomb code"));
            }
        }
        Ok(((1_u64 << zeros) - 1 + u64::from(self.take(zeros)?)) as u32)
    }

    /// `se(v)`: 0, 1, −1, 2, −2, …
    pub(super) fn signed(&mut self) -> Result<i32, CodecError> {
        let code = i64::from(self.unsigned()?);
        let magnitude = (code + 1) / 2;
        Ok((if code % 2 == 1 { magnitude } else { -magnitude }) as i32)
    }
}
