//! The graph API: descriptors are recorded as they are set, and a graph whose native plan is missing is computed here.
//!
//! The real library makes and judges the descriptors that need no device (tensors, operations). What hangs on a handle
//! (operation graphs, heuristics, engines, plans) is ours where the handle is ours or the policy says compat: then the
//! real library is not told of it, and there is one engine, whose plan always exists. Every other descriptor is the
//! real library's and recorded beside it, so that a plan which cannot be made or run for want of a kernel becomes ours
//! after all.
//!
//! ```text
//!   api: six functions ── record ──▶ node: attributes ── finalize graph ──▶ lower: operations, sorted
//!     │ execute, compat                                                            │
//!     ▼                                                                            ▼
//!   variant pack: addresses ─────────────────────────────────────────────▶ run: the engine, pointwise chains fused
//! ```
//!
//! Source: <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-graph-library.html>.

#[macro_use]
pub mod api;
mod attributes;
mod fuse;
mod lower;
mod node;
mod operation;
mod own;
mod read;
mod read_pointwise;
mod read_windowed;
mod run;
