// SPDX-License-Identifier: GPL-2.0

//! Contents that tell where they belong, so that a page or a sector that is swapped, stale or lost is
//! seen.

/// Fills `block` with what block number `n` has. Its length is a multiple of 8.
pub(crate) fn fill(block: &mut [u8], n: u64) {
    let mut state = n;
    for word in block.chunks_exact_mut(8) {
        state = next(state);
        word.copy_from_slice(&state.to_le_bytes());
    }
}

/// Whether `block` has what [`fill`] wrote for block `n`.
pub(crate) fn holds(block: &[u8], n: u64) -> bool {
    let mut state = n;
    block.chunks_exact(8).all(|word| {
        state = next(state);
        word == state.to_le_bytes()
    })
}

/// A linear congruential step: any constants do that mix all bits upwards.
fn next(state: u64) -> u64 {
    state
        .wrapping_mul(0x5851_f42d_4c95_7f2d)
        .wrapping_add(0x1405_7b7e_f767_814f)
}

#[cfg(test)]
mod tests {
    use super::{fill, holds};

    #[test]
    fn a_block_is_told_from_others() {
        let mut block = [0; 512];
        fill(&mut block, 7);
        assert!(holds(&block, 7));
        assert!(!holds(&block, 8));
        block[511] ^= 1;
        assert!(!holds(&block, 7));
        assert!(!holds(&[0; 512], 0));
    }
}
