//! The picture's shape from an H.264 sequence parameter set.

use super::CodecError;
use super::bits::Bits;

/// Level 6.2 allows 139 264 macroblocks in a picture and eight times its square root on a side.
const MAX_SIDE_MACROBLOCKS: u32 = 1056;

/// What is shown.
pub(super) struct Shape {
    /// Pixels.
    pub(super) width: u32,
    /// Pixels.
    pub(super) height: u32,
    /// Never a field, nor a pair of them.
    pub(super) frames_only: bool,
}

/// Reads a whole NAL unit.
pub(super) fn picture_shape(unit: &[u8]) -> Result<Shape, CodecError> {
    let payload = unescaped(unit);
    let mut bits = Bits::new(&payload);
    if bits.take(8)? & 0x1f != 7 {
        return Err(CodecError::Invalid("sequence parameter set"));
    }
    let profile = bits.take(8)?;
    bits.take(16)?; // constraint flags, level
    bits.unsigned()?; // seq_parameter_set_id
    let chroma = chroma_format(profile, &mut bits)?;
    bits.unsigned()?; // log2_max_frame_num_minus4
    skip_picture_order(&mut bits)?;
    bits.unsigned()?; // max_num_ref_frames
    bits.flag()?; // gaps_in_frame_num_value_allowed_flag
    let columns = side(&mut bits)?;
    let map_rows = side(&mut bits)?;
    let frames_only = bits.flag()?;
    if !frames_only {
        bits.flag()?; // mb_adaptive_frame_field_flag
    }
    bits.flag()?; // direct_8x8_inference_flag
    // Field pairs: a map unit is two macroblocks high, and cropping counts in lines of a field.
    let field_factor = if frames_only { 1 } else { 2 };
    let (mut width, mut height) = (columns * 16, map_rows * 16 * field_factor);
    if bits.flag()? {
        let (unit_x, unit_y) = (chroma.step_x, chroma.step_y * field_factor);
        let (left, right) = (bits.unsigned()?, bits.unsigned()?);
        let (top, bottom) = (bits.unsigned()?, bits.unsigned()?);
        width = cropped(width, left, right, unit_x)?;
        height = cropped(height, top, bottom, unit_y)?;
    }
    Ok(Shape {
        width,
        height,
        frames_only,
    })
}

/// Luma samples per step of the cropping fields.
struct Chroma {
    step_x: u32,
    step_y: u32,
}

fn chroma_format(profile: u32, bits: &mut Bits<'_>) -> Result<Chroma, CodecError> {
    const WITH_CHROMA_FORMAT: [u32; 13] =
        [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
    if !WITH_CHROMA_FORMAT.contains(&profile) {
        return Ok(Chroma {
            step_x: 2,
            step_y: 2,
        });
    }
    let format = bits.unsigned()?;
    if format == 3 {
        bits.flag()?; // separate_colour_plane_flag
    }
    bits.unsigned()?; // bit_depth_luma_minus8
    bits.unsigned()?; // bit_depth_chroma_minus8
    bits.flag()?; // qpprime_y_zero_transform_bypass_flag
    if bits.flag()? {
        let lists = if format == 3 { 12 } else { 8 };
        for list in 0..lists {
            if bits.flag()? {
                skip_scaling_list(if list < 6 { 16 } else { 64 }, bits)?;
            }
        }
    }
    match format {
        0 | 3 => Ok(Chroma {
            step_x: 1,
            step_y: 1,
        }),
        1 => Ok(Chroma {
            step_x: 2,
            step_y: 2,
        }),
        2 => Ok(Chroma {
            step_x: 2,
            step_y: 1,
        }),
        _ => Err(CodecError::Invalid("chroma format")),
    }
}

fn skip_scaling_list(entries: u32, bits: &mut Bits<'_>) -> Result<(), CodecError> {
    let (mut last, mut next) = (8_i64, 8_i64);
    for _ in 0..entries {
        if next != 0 {
            next = (last + i64::from(bits.signed()?)).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Ok(())
}

fn skip_picture_order(bits: &mut Bits<'_>) -> Result<(), CodecError> {
    match bits.unsigned()? {
        0 => {
            bits.unsigned()?; // log2_max_pic_order_cnt_lsb_minus4
        }
        1 => {
            bits.flag()?; // delta_pic_order_always_zero_flag
            bits.signed()?; // offset_for_non_ref_pic
            bits.signed()?; // offset_for_top_to_bottom_field
            let cycle = bits.unsigned()?;
            if cycle > 255 {
                return Err(CodecError::Invalid("picture order count cycle"));
            }
            for _ in 0..cycle {
                bits.signed()?; // offset_for_ref_frame
            }
        }
        2 => {}
        _ => return Err(CodecError::Invalid("picture order count type")),
    }
    Ok(())
}

/// A side in macroblocks (or map units).
fn side(bits: &mut Bits<'_>) -> Result<u32, CodecError> {
    match bits.unsigned()? {
        minus_1 if minus_1 < MAX_SIDE_MACROBLOCKS => Ok(minus_1 + 1),
        _ => Err(CodecError::Invalid("picture size")),
    }
}

fn cropped(full: u32, before: u32, after: u32, step: u32) -> Result<u32, CodecError> {
    let cut = (u64::from(before) + u64::from(after)) * u64::from(step);
    match u64::from(full).checked_sub(cut) {
        Some(rest) if rest > 0 => Ok(rest as u32),
        _ => Err(CodecError::Invalid("cropping")),
    }
}

/// Without the `03` that keeps `00 00 0x` from looking like a start code.
fn unescaped(unit: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for &byte in unit {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}
