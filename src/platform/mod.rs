//! What differs between systems: finding loaded libraries, writing a line, noting the load, how much memory
//! there is.
//!
//! Who calls it: `native`, `memory` and `log`. It knows nothing of CUDA beyond file names.

mod linux;
mod memory;
pub use linux::{
    LoadedLibrary, append_to_file, find_loaded, global_symbol, image_is, next_symbol, own_image_contains,
    read_own_memory, write_stderr,
};
pub use memory::{Memory, keep_freed, memory};
