//! Masks: one byte an element to compute with, one bit an element to keep.

/// Packs a mask, eight elements a byte, the first in the lowest bit.
///
/// # Panics
/// If `bits` has fewer than `mask.len().div_ceil(8)` bytes.
pub fn pack_bits(mask: &[u8], bits: &mut [u8]) {
    assert!(bits.len() >= mask.len().div_ceil(8), "a bit an element");
    for (byte, mask) in bits.iter_mut().zip(mask.chunks(8)) {
        *byte = mask.iter().enumerate().fold(0, |byte, (bit, &kept)| byte | u8::from(kept != 0) << bit);
    }
}

/// Unpacks what [`pack_bits`] packed.
///
/// # Panics
/// If `bits` has fewer than `mask.len().div_ceil(8)` bytes.
pub fn unpack_bits(bits: &[u8], mask: &mut [u8]) {
    assert!(bits.len() >= mask.len().div_ceil(8), "a bit an element");
    for (byte, mask) in bits.iter().zip(mask.chunks_mut(8)) {
        for (bit, kept) in mask.iter_mut().enumerate() {
            *kept = byte >> bit & 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_survives_packing() {
        let mask: Vec<u8> = (0..77).map(|i| u8::from(i * i % 3 == 1)).collect();
        let (mut bits, mut back) = ([0xff; 10], [9; 77]);
        pack_bits(&mask, &mut bits);
        unpack_bits(&bits, &mut back);
        assert_eq!(back[..], mask[..]);
        assert_eq!(bits[9] >> 5, 0, "bits beyond the mask are 0");
    }
}
