//! What cuBLASLt adds to a product: memory orders, and the last steps of an epilogue.

use std::f64::consts::PI;

/// The places of a tile of `CUBLASLT_ORDER_COL4_4R2_8C` in the order of memory, as (row, column): four columns
/// of the four even rows, the next four, then the next eight columns; after 32 of them the odd rows.
pub fn tile_4r2_8c() -> Vec<(usize, usize)> {
    let mut places = Vec::new();
    for parity in 0..2 {
        for eight in 0..4 {
            for half in 0..2 {
                for row in 0..4 {
                    for col in 0..4 {
                        places.push((2 * row + parity, 8 * eight + 4 * half + col));
                    }
                }
            }
        }
    }
    places
}

/// The same for `CUBLASLT_ORDER_COL32_2R_4R4`: two neighbouring rows of 32 columns, then those 8, 16 and 24 rows
/// below, then the next two.
pub fn tile_2r_4r4() -> Vec<(usize, usize)> {
    let mut places = Vec::new();
    for pair in 0..4 {
        for eight in 0..4 {
            for row in 0..2 {
                for col in 0..32 {
                    places.push((8 * eight + 2 * pair + row, col));
                }
            }
        }
    }
    places
}

/// Where every element (row, column) of a matrix lies, by rows: the number of a `cublasLtOrder_t`, `ld` elements
/// from run to run.
pub fn places(order: i32, rows: usize, cols: usize, ld: usize) -> Vec<Vec<usize>> {
    let mut places = vec![vec![usize::MAX; cols]; rows];
    let tile = match order {
        2 => (0..32).map(|col| (0, col)).collect(),
        3 => tile_4r2_8c(),
        4 => tile_2r_4r4(),
        _ => vec![(0, 0)],
    };
    let height = tile.iter().map(|place| place.0 + 1).max().unwrap_or(1);
    for (row, line) in places.iter_mut().enumerate() {
        for (col, place) in line.iter_mut().enumerate() {
            *place = match order {
                0 => row + col * ld,
                1 => row * ld + col,
                _ => {
                    let inner = tile.iter().position(|&at| at == (row % height, col % 32));
                    col / 32 * ld + row / height * height * 32 + inner.expect("a tile has all its places")
                }
            };
        }
    }
    places
}

/// Length of a run and number of runs.
pub fn runs(order: i32, rows: usize, cols: usize) -> (usize, usize) {
    match order {
        0 => (rows, cols),
        1 => (cols, rows),
        2 => (rows * 32, cols.div_ceil(32)),
        3 => (rows.div_ceil(8) * 256, cols.div_ceil(32)),
        _ => (rows.div_ceil(32) * 1024, cols.div_ceil(32)),
    }
}

/// GELU, tanh approximation.
pub fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
}

/// Its derivative: ½(1 + tanh u) + ½·x·u′/cosh² u.
pub fn gelu_slope(x: f64) -> f64 {
    let u = (2.0 / PI).sqrt() * (x + 0.044_715 * x.powi(3));
    let slope = (2.0 / PI).sqrt() * (1.0 + 3.0 * 0.044_715 * x * x);
    0.5 * (1.0 + u.tanh()) + 0.5 * x * slope / u.cosh().powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_have_every_place_once() {
        for (tile, rows) in [(tile_4r2_8c(), 8), (tile_2r_4r4(), 32)] {
            let mut sorted = tile.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), rows * 32);
            assert_eq!(tile.len(), rows * 32);
        }
    }

    #[test]
    fn the_second_tile_is_the_formula_of_nvidias_page() {
        for (place, (row, col)) in tile_2r_4r4().into_iter().enumerate() {
            assert_eq!(place, (((row % 8) / 2 * 4 + row / 8) * 2 + row % 2) * 32 + col);
        }
    }

    #[test]
    fn the_slope_is_the_difference_quotient() {
        for x in [-3.0, -0.7, 0.0, 0.3, 2.5] {
            let quotient = (gelu(x + 1e-6) - gelu(x - 1e-6)) / 2e-6;
            assert!((gelu_slope(x) - quotient).abs() < 1e-8);
        }
    }
}
