//! The only place that decides whether a call runs natively or on the host.
//!
//! What lives here: [`verdict`], the answer with its reason; [`probe`], a tiny real product whose result
//! is compared; [`learn`], what a failed native call taught us; [`placement`], where device memory is placed.
//! Who calls it: `entry::route`, handle creation, and for placement `entry::cudart`. It computes nothing for the
//! program, stages nothing and exports nothing.

pub mod learn;
pub mod placement;
pub mod probe;
mod probe_convolution;
pub mod verdict;
