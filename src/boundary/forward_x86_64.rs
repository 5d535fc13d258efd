//! The jump of a *refused* function, x86-64 System V.
//!
//! A refused function takes a handle and has no host implementation: one of our handles gets
//! `NOT_SUPPORTED`, the real library's own handle goes straight on. Its other arguments are unknown to us,
//! so every register that may carry one is kept, and the stack is left as the caller built it.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use super::status::Error;
use crate::handle::registry;
use crate::log;
use crate::native::find::{Event, Library, Slot};
use crate::native::inside::inside_native;

/// Expects the function's [`Slot`] in `r11`; asks [`target`] with the first argument and jumps there.
///
/// # Safety
/// Only jumped to from a `refused!` stub, with the C caller's registers and stack untouched.
#[unsafe(naked)]
pub unsafe extern "C" fn refused_jump() {
    core::arch::naked_asm!(
        "push rdi",
        "push rsi",
        "push rdx",
        "push rcx",
        "push r8",
        "push r9",
        "push rax",
        "sub rsp, 128",
        "movups [rsp], xmm0",
        "movups [rsp + 16], xmm1",
        "movups [rsp + 32], xmm2",
        "movups [rsp + 48], xmm3",
        "movups [rsp + 64], xmm4",
        "movups [rsp + 80], xmm5",
        "movups [rsp + 96], xmm6",
        "movups [rsp + 112], xmm7",
        "mov rsi, r11",
        "call {target}",
        "mov r11, rax",
        "movups xmm0, [rsp]",
        "movups xmm1, [rsp + 16]",
        "movups xmm2, [rsp + 32]",
        "movups xmm3, [rsp + 48]",
        "movups xmm4, [rsp + 64]",
        "movups xmm5, [rsp + 80]",
        "movups xmm6, [rsp + 96]",
        "movups xmm7, [rsp + 112]",
        "add rsp, 128",
        "pop rax",
        "pop r9",
        "pop r8",
        "pop rcx",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "jmp r11",
        target = sym target,
    )
}

/// Where a refused function's call goes on: the native function, or [`not_supported`]'s answer.
extern "C" fn target(first_argument: *const c_void, slot: &'static Slot) -> *const c_void {
    // Nothing below can panic on valid slots, but a panic here would cross the naked frame: guard it.
    super::panic::guard(slot.name(), || Ok(decide(first_argument, slot))).unwrap_or(not_supported(slot))
}

fn decide(first_argument: *const c_void, slot: &'static Slot) -> *const c_void {
    if inside_native() || !registry::is_ours(first_argument) && !registry::was_ours(first_argument) {
        if let Some(real) = slot.real() {
            return real;
        }
        if slot.first(Event::Absent) {
            log::debug(format_args!("refused fn={} reason=absent_in_native_library", slot.name()));
        }
        return not_supported(slot);
    }
    if slot.first(Event::Refused) {
        log::warn_once(format_args!(
            "fn={} is not served on the host and the native library cannot run on this device; the call returns \
             NOT_SUPPORTED, and a program that depends on it fails: have it do this part on the CPU, and please report the name",
            slot.name()
        ));
    }
    not_supported(slot)
}

/// The function that answers for a refused one: its status is that of the slot's library.
fn not_supported(slot: &'static Slot) -> *const c_void {
    match slot.library {
        Library::Cudnn => cudnn_not_supported as *const c_void,
        Library::Cublas | Library::CublasLt | Library::Cudart => cublas_not_supported as *const c_void,
    }
}

extern "C" fn cublas_not_supported(_first_argument: *const c_void) -> c_int {
    Error::NotSupported("function").status(Library::Cublas)
}

extern "C" fn cudnn_not_supported(_first_argument: *const c_void) -> c_int {
    Error::NotSupported("function").status(Library::Cudnn)
}
