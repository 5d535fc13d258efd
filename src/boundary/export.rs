//! The macros that make exported C functions; nothing else exports.
//!
//! `export!` turns one signature into the exported function, the type of the real one, and the call
//! through `entry::route`, so that no entry function can forget the panic guard, the re-entrancy mark, the
//! verdict or the unchanged native path. `refused!` makes the jump for a function without a host
//! implementation.

/// A [`Slot`](crate::native::find::Slot) for a symbol.
#[macro_export]
#[doc(hidden)]
macro_rules! slot {
    ($library:ident, $symbol:ident) => {
        $crate::native::find::Slot::new(
            $crate::native::find::Library::$library,
            match ::std::ffi::CStr::from_bytes_with_nul(concat!(stringify!($symbol), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => unreachable!(),
            },
        )
    };
}

/// Exports one C function; the words after the arguments name its way through `entry::route`:
///
/// * `compute(ours, types) serve`: the policy decides; `serve` is evaluated only on the host's way. `ours`
///   says whether an object of ours is among the arguments, `types` tells apart the element types of one
///   function; `judging(f)` turns a native status that hides a failure into one that shows it.
/// * `by_owner(handle)`: our handles get the expression, all others the real function.
/// * `managed(native)`: the expression manages handles itself; `native` is the real call, if there is one.
/// * `watched(expression)`: always passed on, after the expression was evaluated; nothing is returned.
/// * `text(status)`: a function from a status to a text; the expression gets the function's slot.
/// * `legacy serve`: as `compute`, for the interface without handles, whose functions return nothing.
/// * `-> Type legacy(place) serve`: the same for those that return a number, which `serve` writes to `place`; 0 where the
///   call fails.
#[macro_export]
#[doc(hidden)]
macro_rules! export {
    ($symbol:ident of $library:ident ($($arg:ident: $ty:ty),* $(,)?) compute($ours:expr, $types:expr) $(judging($judge:expr))? serve $serve:expr) => {
        /// Intercepted; its arguments are those of NVIDIA's page of this name.
        ///
        /// # Safety
        /// The caller owes what NVIDIA's page asks: pointers that are valid for what the sizes say.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $symbol($($arg: $ty),*) -> ::std::ffi::c_int {
            type Real = unsafe extern "C" fn($($ty),*) -> ::std::ffi::c_int;
            static SLOT: $crate::native::find::Slot = $crate::slot!($library, $symbol);
            $crate::entry::route::route(
                &SLOT,
                $ours,
                || $types,
                |real| {
                    // SAFETY: `real` is the native definition of this very symbol, called with the caller's
                    // own arguments, whose types restate NVIDIA's declaration (cudarc has it as well).
                    let status = unsafe { ::std::mem::transmute::<*mut ::std::ffi::c_void, Real>(real)($($arg),*) };
                    $(let status = $judge(status);)?
                    status
                },
                || $serve,
            )
        }
    };
    ($symbol:ident of $library:ident ($($arg:ident: $ty:ty),* $(,)?) by_owner($handle:expr) $ours:expr) => {
        /// Intercepted; its arguments are those of NVIDIA's page of this name.
        ///
        /// # Safety
        /// The caller owes what NVIDIA's page asks.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $symbol($($arg: $ty),*) -> ::std::ffi::c_int {
            type Real = unsafe extern "C" fn($($ty),*) -> ::std::ffi::c_int;
            static SLOT: $crate::native::find::Slot = $crate::slot!($library, $symbol);
            $crate::entry::route::by_owner(
                &SLOT,
                $handle,
                // SAFETY: as for `compute`.
                |real| unsafe { ::std::mem::transmute::<*mut ::std::ffi::c_void, Real>(real)($($arg),*) },
                || $ours,
            )
        }
    };
    ($symbol:ident of $library:ident ($($arg:ident: $ty:ty),* $(,)?) managed($native:ident) $body:expr) => {
        /// Intercepted; its arguments are those of NVIDIA's page of this name.
        ///
        /// # Safety
        /// The caller owes what NVIDIA's page asks.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $symbol($($arg: $ty),*) -> ::std::ffi::c_int {
            type Real = unsafe extern "C" fn($($ty),*) -> ::std::ffi::c_int;
            static SLOT: $crate::native::find::Slot = $crate::slot!($library, $symbol);
            $crate::entry::route::managed(
                &SLOT,
                // SAFETY: as for `compute`.
                |real| unsafe { ::std::mem::transmute::<*mut ::std::ffi::c_void, Real>(real)($($arg),*) },
                |$native| $body,
            )
        }
    };
    ($symbol:ident of $library:ident ($($arg:ident: $ty:ty),* $(,)?) watched($note:expr)) => {
        /// Watched and passed on; its arguments are those of NVIDIA's function of this name.
        ///
        /// # Safety
        /// The caller owes what the real function asks.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $symbol($($arg: $ty),*) {
            type Real = unsafe extern "C" fn($($ty),*);
            static SLOT: $crate::native::find::Slot = $crate::slot!($library, $symbol);
            $note;
            if let Some(real) = SLOT.real() {
                // SAFETY: as for `compute`.
                unsafe { ::std::mem::transmute::<*mut ::std::ffi::c_void, Real>(real)($($arg),*) };
            }
        }
    };
    ($symbol:ident of $library:ident text($status:ident) $text:expr) => {
        /// Intercepted; the text of a status.
        #[unsafe(no_mangle)]
        pub extern "C" fn $symbol($status: ::std::ffi::c_int) -> *const ::std::ffi::c_char {
            static SLOT: $crate::native::find::Slot = $crate::slot!($library, $symbol);
            $text(&SLOT, $status)
        }
    };
    ($symbol:ident of $library:ident ($($arg:ident: $ty:ty),* $(,)?) legacy serve $serve:expr) => {
        /// Intercepted; its arguments are those of NVIDIA's legacy page of this name.
        ///
        /// # Safety
        /// The caller owes what NVIDIA's page asks: pointers that are valid for what the sizes say.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $symbol($($arg: $ty),*) {
            type Real = unsafe extern "C" fn($($ty),*);
            static SLOT: $crate::native::find::Slot = $crate::slot!($library, $symbol);
            $crate::entry::cublas::legacy::keep_error($crate::entry::route::route(
                &SLOT,
                false,
                || 0,
                |real| {
                    // SAFETY: as for `compute`.
                    unsafe { ::std::mem::transmute::<*mut ::std::ffi::c_void, Real>(real)($($arg),*) };
                    $crate::entry::cublas::legacy::native_error()
                },
                || $serve,
            ));
        }
    };
    ($symbol:ident of $library:ident ($($arg:ident: $ty:ty),* $(,)?) -> $result:ty, legacy($place:ident) serve $serve:expr) => {
        /// Intercepted; its arguments are those of NVIDIA's legacy page of this name.
        ///
        /// # Safety
        /// The caller owes what NVIDIA's page asks: pointers that are valid for what the sizes say.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $symbol($($arg: $ty),*) -> $result {
            type Real = unsafe extern "C" fn($($ty),*) -> $result;
            static SLOT: $crate::native::find::Slot = $crate::slot!($library, $symbol);
            let result = $crate::entry::cublas::legacy::Returned::<$result>::zero();
            $crate::entry::cublas::legacy::keep_error($crate::entry::route::route(
                &SLOT,
                false,
                || 0,
                |real| {
                    // SAFETY: as for `compute`.
                    result.set(unsafe { ::std::mem::transmute::<*mut ::std::ffi::c_void, Real>(real)($($arg),*) });
                    $crate::entry::cublas::legacy::native_error()
                },
                || {
                    let $place = result.place();
                    $serve
                },
            ));
            result.get()
        }
    };
}

/// A handle-taking function that is not served: our handles get NOT_SUPPORTED, all others go straight on.
#[macro_export]
#[doc(hidden)]
macro_rules! refused {
    ($library:ident, $symbol:ident) => {
        const _: () = {
            static SLOT: $crate::native::find::Slot = $crate::slot!($library, $symbol);
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $symbol() {
                core::arch::naked_asm!(
                    "lea r11, [rip + {slot}]",
                    "jmp {jump}",
                    slot = sym SLOT,
                    jump = sym $crate::boundary::forward_x86_64::refused_jump,
                )
            }
        };
    };
}
