//! Our opaque objects and who owns which handle.
//!
//! What lives here: [`object`], what a handle of ours stands for, and [`registry`], which tells ours from
//! the real library's. Who calls it: `entry` and the refusal jump. Neither calls the real library with one
//! of ours.

pub mod object;
pub mod registry;
