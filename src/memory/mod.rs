//! Device memory that is served as page-locked host memory: both sides reach it by one address, so what is computed on
//! the host is computed in place.
//!
//! What lives here: [`hosted`], the allocations and what is left for more. Who calls it: `entry::cudart`, which serves the
//! runtime's allocations from it; `operators`, which asks what lies in it. It decides nothing: `policy::placement` does.

pub mod hosted;
