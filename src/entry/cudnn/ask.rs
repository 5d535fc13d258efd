//! Questions put to the real cuDNN about descriptors that are its own.
//!
//! The legacy API's descriptors are host objects that the real library makes and reads on any machine, with or
//! without a device; what a program has set on one is what the real library says it holds.

/// Calls a function of the real library; its failure is `INVALID_VALUE` of the named argument.
macro_rules! ask {
    ($symbol:ident for $argument:expr, $($value:expr => $ty:ty),+ $(,)?) => {{
        static SLOT: $crate::native::find::Slot = $crate::slot!(Cudnn, $symbol);
        type Real = unsafe extern "C" fn($($ty),+) -> ::std::ffi::c_int;
        match SLOT.real() {
            None => Err($crate::boundary::status::Error::NotInitialized),
            Some(real) => {
                // SAFETY: the slot names cuDNN's function, whose prototype the types restate; out-pointers are to
                // locals of the caller, and a descriptor is what the program gave, as the real library would
                // get it.
                let status = $crate::native::inside::calling_native(|| unsafe {
                    ::std::mem::transmute::<*mut ::std::ffi::c_void, Real>(real)($($value),+)
                });
                if status == $crate::boundary::status::SUCCESS {
                    Ok(())
                } else {
                    Err($crate::boundary::status::Error::InvalidValue($argument))
                }
            }
        }
    }};
}
