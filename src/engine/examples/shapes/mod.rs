//! The products that benchmarks measure: shapes that models are made of.

/// m, n, k.
pub const PRODUCTS: [(usize, usize, usize); 9] = [
    (1, 4096, 4096),
    (8, 4096, 4096),
    (32, 1024, 1024),
    (128, 1024, 1024),
    (512, 512, 512),
    (2048, 2048, 2048),
    (64, 12544, 147),
    (256, 3136, 1152),
    (4096, 77, 64),
];
