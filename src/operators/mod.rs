//! The operator layer: PyTorch's own operators on a device whose kernels for them are missing.
//!
//! What lives here: [`attach`], when and whether; [`python`], the few functions of Python's C interface that
//! takes; [`copies`], the copies that `fallback.py`, the layer itself, is given. Who calls it:
//! `entry::cudart`. It knows PyTorch; it knows no entry point.

pub mod attach;
pub mod copies;
pub mod python;
