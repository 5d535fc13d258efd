//! What differs between systems: finding loaded libraries, writing a line or a file, noting the load, how much memory
//! there is, what a process tells of itself.
//!
//! Who calls it: `native`, `memory`, `observe` and `log`. It knows nothing of CUDA beyond file names.

mod linux;
mod memory;
mod process;
pub use linux::{
    Load, LoadedLibrary, append_to_file, find_loaded, global_symbol, image_is, load, next_symbol,
    own_image_contains, read_own_memory, write_file, write_stderr,
};
pub use memory::{Memory, keep_freed, memory};
pub use process::{at_exit, command_line, peak_bytes, thread_number};
