//! Level 3 of BLAS beside the general product, and the factorisations, against references in double precision.

mod factor;
mod operand;
#[path = "../processes/mod.rs"]
mod processes;
mod products;
mod solutions;
