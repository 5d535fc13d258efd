//! Scales of 8-bit matrices: `cublasLtMatmulMatrixScale_t`.
//!
//! With L blocks of a row of op(A) (or a column of op(B)) along k, M the number of those rows (columns), i
//! such a row and b such a block:
//!
//! | mode              | a number for             | lies at                                                    |
//! |-------------------|--------------------------|------------------------------------------------------------|
//! | `SCALAR_32F`      | the matrix               | 0                                                          |
//! | `OUTER_VEC_32F`   | each i                   | i                                                          |
//! | `VEC128_32F`      | each i, 128 along k      | b·M + i                                                    |
//! | `BLK128x128_32F`  | 128 of i, 128 along k    | ⌊i/128⌋·(L rounded up to 4) + b                            |
//! | `VEC32_UE8M0`     | each i, 32 along k       | tiles of 128 rows and 4 blocks, row by row; within a tile (i mod 32)·16 + ⌊(i mod 128)/32⌋·4 + b mod 4 |
//!
//! Source: <https://docs.nvidia.com/cuda/cublas/#narrow-precision-data-types-usage>.

use std::ffi::c_int;

use cudarc::cublaslt::sys::cublasLtMatmulMatrixScale_t as CScale;

use crate::boundary::args::DataType;
use crate::boundary::status::Error;

/// How a scale pointer is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleMode {
    /// One number.
    Scalar,
    /// One number a row of op(A) or a column of op(B).
    OuterVector,
    /// One number for 128 elements along k.
    Vector128,
    /// One number for 128×128 elements.
    Block128,
    /// One power of two for 32 elements along k.
    Vector32,
}

impl ScaleMode {
    /// From a `cublasLtMatmulMatrixScale_t`.
    pub fn from_c(value: c_int) -> Result<ScaleMode, Error> {
        if value == CScale::CUBLASLT_MATMUL_MATRIX_SCALE_VEC16_UE4M3 as c_int {
            return Err(Error::NotSupported("scale mode VEC16_UE4M3"));
        }
        [
            (CScale::CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F, ScaleMode::Scalar),
            (CScale::CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F, ScaleMode::OuterVector),
            (CScale::CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F, ScaleMode::Vector128),
            (CScale::CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F, ScaleMode::Block128),
            (CScale::CUBLASLT_MATMUL_MATRIX_SCALE_VEC32_UE8M0, ScaleMode::Vector32),
        ]
        .into_iter()
        .find_map(|(c, mode)| (c as c_int == value).then_some(mode))
        .ok_or(Error::NotSupported("scale mode"))
    }

    /// Whether numbers are shared by blocks along k.
    pub fn is_blocked(self) -> bool {
        matches!(self, ScaleMode::Vector128 | ScaleMode::Block128 | ScaleMode::Vector32)
    }
}

/// A scale pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Where the numbers lie; 0: there are none, the scale is 1.
    pub address: u64,
    /// How they lie.
    pub mode: ScaleMode,
}

impl Scale {
    fn is_default(self) -> bool {
        self.address == 0 && self.mode == ScaleMode::Scalar
    }
}

/// All scales of a product, and where its largest magnitudes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaling {
    /// Of A.
    pub a: Scale,
    /// Of B.
    pub b: Scale,
    /// Of C.
    pub c: Scale,
    /// Of D.
    pub d: Scale,
    /// Written with D where blocks of it are scaled.
    pub d_out: Scale,
    /// Of the auxiliary matrix.
    pub aux: Scale,
    /// Gets the largest magnitude in D before it is scaled; 0: nothing.
    pub amax_d: u64,
    /// The same for the auxiliary matrix.
    pub amax_aux: u64,
}

/// Element types that scales are judged by.
#[derive(Clone, Copy, Debug)]
pub struct ScaledTypes {
    /// Of A and B.
    pub ab: [DataType; 2],
    /// Of C.
    pub c: DataType,
    /// Of D.
    pub d: DataType,
    /// Of the auxiliary matrix that is written, if one is.
    pub aux: Option<DataType>,
}

impl Scaling {
    /// Whether nothing is scaled and no magnitude asked for.
    pub fn is_none(&self) -> bool {
        let scales = [self.a, self.b, self.c, self.d, self.d_out, self.aux];
        scales.iter().all(|scale| scale.is_default()) && self.amax_d == 0 && self.amax_aux == 0
    }

    /// Errors: `INVALID_VALUE` for a scale or a magnitude of a matrix that is not of an 8-bit floating type, or
    /// blocks without scales; `NOT_SUPPORTED` for modes that do not go together, and blocks in a batch or a
    /// result, for which NVIDIA documents no layout that could be checked here.
    pub fn check(&self, types: ScaledTypes, batch: usize) -> Result<(), Error> {
        let aux8 = types.aux.is_some_and(DataType::is_float8);
        let d8 = types.d.is_float8();
        let rows = [
            (self.a.address, types.ab[0].is_float8(), "scale of A"),
            (self.b.address, types.ab[1].is_float8(), "scale of B"),
            (self.c.address, types.c.is_float8(), "scale of C"),
            (self.d.address, d8, "scale of D"),
            (self.amax_d, d8, "largest magnitude of D"),
            (self.aux.address, aux8, "scale of the auxiliary matrix"),
            (self.amax_aux, aux8, "largest magnitude of the auxiliary matrix"),
        ];
        if let Some(row) = rows.iter().find(|(address, applies, _)| *address != 0 && !applies) {
            return Err(Error::InvalidValue(row.2));
        }
        if [self.c, self.d, self.aux].iter().any(|scale| scale.mode != ScaleMode::Scalar)
            || !self.d_out.is_default()
        {
            return Err(Error::NotSupported("scale mode of a result"));
        }
        let modes = (self.a.mode, self.b.mode);
        let together = match modes {
            (ScaleMode::Scalar, ScaleMode::Scalar) => return Ok(()),
            (ScaleMode::Block128, other) | (other, ScaleMode::Block128) => other == ScaleMode::Vector128,
            (a, b) => a == b,
        };
        if !together {
            return Err(Error::NotSupported("scale modes of A and B that differ"));
        }
        if self.a.address == 0 || self.b.address == 0 {
            return Err(Error::InvalidValue("scales of A and B"));
        }
        if d8 || !types.ab.iter().all(|element| element.is_float8()) {
            return Err(Error::NotSupported("scale mode for these types"));
        }
        if batch > 1 { Err(Error::NotSupported("scale mode in a batch")) } else { Ok(()) }
    }
}

/// How the numbers of a blocked mode lie.
#[derive(Clone, Copy, Debug)]
pub struct Blocks {
    mode: ScaleMode,
    outer: usize,
    across: usize,
}

impl Blocks {
    /// For `outer` rows of op(A), or columns of op(B), of `k` elements.
    pub fn new(mode: ScaleMode, outer: usize, k: usize) -> Blocks {
        let across = match mode {
            ScaleMode::Vector32 => k.div_ceil(32).next_multiple_of(4),
            ScaleMode::Block128 => k.div_ceil(128).next_multiple_of(4),
            _ => k.div_ceil(128),
        };
        Blocks { mode, outer, across }
    }

    /// Whether the numbers are powers of two, a byte each.
    pub fn are_powers(&self) -> bool {
        self.mode == ScaleMode::Vector32
    }

    /// How many numbers there are.
    pub fn count(&self) -> usize {
        match self.mode {
            ScaleMode::Vector32 => self.outer.next_multiple_of(128) * self.across,
            ScaleMode::Block128 => self.outer.div_ceil(128) * self.across,
            _ => self.outer * self.across,
        }
    }

    /// Where the number for row (column) `i` and element `l` along k lies.
    pub fn index(&self, i: usize, l: usize) -> usize {
        match self.mode {
            ScaleMode::Vector32 => {
                let block = l / 32;
                let tile = i / 128 * (self.across / 4) + block / 4;
                tile * 512 + i % 32 * 16 + i % 128 / 32 * 4 + block % 4
            }
            ScaleMode::Block128 => i / 128 * self.across + l / 128,
            _ => l / 128 * self.outer + i,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_has_a_place_of_its_own() {
        for (mode, deep, wide) in
            [(ScaleMode::Vector32, 32, 1), (ScaleMode::Vector128, 128, 1), (ScaleMode::Block128, 128, 128)]
        {
            let (outer, k) = (300, 700);
            let blocks = Blocks::new(mode, outer, k);
            let mut seen = std::collections::HashMap::new();
            for i in 0..outer {
                for l in 0..k {
                    let place = blocks.index(i, l);
                    assert!(place < blocks.count(), "{mode:?}");
                    assert_eq!(*seen.entry(place).or_insert((i / wide, l / deep)), (i / wide, l / deep));
                }
            }
            assert_eq!(seen.len(), outer.div_ceil(wide) * k.div_ceil(deep));
        }
    }

    #[test]
    fn scales_of_other_types_are_invalid_and_other_modes_not_supported() {
        let none = Scale { address: 0, mode: ScaleMode::Scalar };
        let scaling =
            Scaling { a: none, b: none, c: none, d: none, d_out: none, aux: none, amax_d: 0, amax_aux: 0 };
        let types = ScaledTypes { ab: [DataType::E4m3; 2], c: DataType::Bf16, d: DataType::Bf16, aux: None };
        let at = |mode| Scale { address: 64, mode };
        assert_eq!(scaling.check(types, 3), Ok(()));
        let bad = Scaling { d: at(ScaleMode::Scalar), ..scaling };
        assert_eq!(bad.check(types, 1), Err(Error::InvalidValue("scale of D")));
        let bad = Scaling { amax_d: 64, ..scaling };
        assert!(matches!(bad.check(types, 1), Err(Error::InvalidValue(_))));
        let rows = Scaling { a: at(ScaleMode::OuterVector), b: at(ScaleMode::OuterVector), ..scaling };
        assert_eq!(rows.check(types, 1), Ok(()));
        assert!(matches!(rows.check(types, 2), Err(Error::NotSupported(_))));
        let blocks = Scaling { a: at(ScaleMode::Block128), b: at(ScaleMode::Block128), ..scaling };
        assert!(matches!(blocks.check(types, 1), Err(Error::NotSupported(_))));
        assert_eq!(ScaleMode::from_c(1), Err(Error::NotSupported("scale mode VEC16_UE4M3")));
        assert_eq!(ScaleMode::from_c(6), Err(Error::NotSupported("scale mode")));
    }
}
