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

/// Where the columns of masks lie that are kept as bits, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitColumns {
    /// Rows, a bit each; a column begins with a byte.
    pub rows: usize,
    /// Columns of a matrix.
    pub cols: usize,
    /// Bytes from column to column.
    pub col_stride: usize,
    /// Bytes from matrix to matrix.
    pub batch_stride: usize,
}

impl BitColumns {
    /// Bytes that hold a column.
    pub fn bytes(&self) -> usize {
        self.rows.div_ceil(8)
    }

    fn place(&self, number: usize) -> std::ops::Range<usize> {
        let start = number / self.cols * self.batch_stride + number % self.cols * self.col_stride;
        start..start + self.bytes()
    }

    /// Packs a mask that lies column after column.
    pub fn pack(&self, mask: &[u8], bits: &mut [u8]) {
        for (number, column) in mask.chunks_exact(self.rows.max(1)).enumerate() {
            pack_bits(column, &mut bits[self.place(number)]);
        }
    }

    /// Unpacks `mask.len() / rows` columns.
    pub fn unpack(&self, bits: &[u8], mask: &mut [u8]) {
        for (number, column) in mask.chunks_exact_mut(self.rows.max(1)).enumerate() {
            unpack_bits(&bits[self.place(number)], column);
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

    #[test]
    fn columns_of_bits_begin_with_a_byte_and_leave_the_gaps_alone() {
        let columns = BitColumns { rows: 11, cols: 3, col_stride: 16, batch_stride: 50 };
        let mask: Vec<u8> = (0..11 * 3 * 2).map(|i| u8::from(i % 5 < 2)).collect();
        let (mut bits, mut back) = (vec![0xaa; 100], vec![9; mask.len()]);
        columns.pack(&mask, &mut bits);
        columns.unpack(&bits, &mut back);
        assert_eq!(back, mask);
        assert_eq!(bits.iter().filter(|&&byte| byte != 0xaa).count(), 12, "two bytes a column");
        assert_eq!(bits[16] & 1, mask[11]);
    }
}
