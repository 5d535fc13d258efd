//! The operator layer: PyTorch's own operators on a device whose kernels for them are missing.
//!
//! What lives here: [`attach`], when and whether; `fallback/`, the layer itself, in Python; [`fast`], its path for
//! plain tensors without Python code, with [`ground`], what it knows of Python and PyTorch, [`operands`], a call's
//! arguments on their way to the host, [`products`], which matrix products it takes, [`results`], those that are computed
//! where they belong, [`torch`], PyTorch's C interface, and [`rooms`], host tensors that stand by; [`python`], the functions
//! of Python's C interface that this takes; [`copies`] and [`functions`], what `fallback/` is given. Who calls it: `entry::cudart`. It knows PyTorch; it knows no entry point.

pub mod attach;
pub mod copies;
pub mod fast;
pub mod functions;
pub mod ground;
pub mod operands;
pub mod products;
pub mod python;
pub mod results;
pub mod rooms;
pub mod torch;
