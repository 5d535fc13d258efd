//! The world below us: the real libraries and the driver.
//!
//! What lives here: finding a native function ([`find`]), the guard that tells calls made *by* a native
//! library from calls made by the program ([`inside`]), the driver functions we call ([`driver`]), page-locked memory ([`locked`]), what
//! a capture of the program's would forbid ([`capture`]), the
//! kernels that the program's own binaries registered ([`kernels`]) and the few functions of the real
//! libraries that other layers ask ([`real`]).
//! Who calls it: `policy`, `handle`, `staging`, `entry::route`. It does not know that a host path exists.

pub mod capture;
pub mod context;
pub mod driver;
pub mod find;
pub mod inside;
pub mod kernels;
pub mod locked;
pub mod real;

pub use crate::platform::read_own_memory as read_host_memory;
