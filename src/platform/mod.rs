//! What differs between systems: finding loaded libraries, writing a line, noting the load.
//!
//! Who calls it: `native` and `log`. It knows nothing of CUDA beyond file names.

mod linux;
pub use linux::{
    LoadedLibrary, append_to_file, find_loaded, global_symbol, image_is, next_symbol, own_image_contains,
    read_own_memory, write_stderr,
};
