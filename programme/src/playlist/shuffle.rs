//! A shuffle that does not notice what it shuffles: every object's rank depends on itself alone.

/// Rank of the `occurrence`-th object named `key` in `round`.
pub(crate) fn rank(seed: u64, round: u64, key: &str, occurrence: u64) -> u64 {
    let start = mixed(mixed(seed) ^ round) ^ occurrence;
    key.as_bytes().chunks(8).fold(mixed(start), |state, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mixed(state ^ u64::from_le_bytes(word))
    })
}

/// Indices in the order of their ranks.
pub(super) fn by_rank(ranks: &[u64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ranks.len()).collect();
    order.sort_by_key(|index| (ranks[*index], *index));
    order
}

/// The output function of `SplitMix64` (Steele, Lea, Flood 2014), as public code has it.
fn mixed(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
