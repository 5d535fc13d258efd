//! Problems, their notation, and how their results are judged; shared by engine, ABI and fuzz tests.

pub mod conv;
pub mod element;
pub mod gemm;
pub mod judge;
