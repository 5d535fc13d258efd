//! Python's C interface, found in the process: no link-time dependency, nothing in a process without Python.
//!
//! Source: <https://docs.python.org/3/c-api/>. Every function here but [`Python::find`] needs Python's lock
//! to be held by this thread, which [`Python::holds_lock`] tells.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};

use crate::platform;

type Object = *mut c_void;

/// `Py_file_input` and `Py_eval_input`.
const FILE_INPUT: c_int = 257;
const EVAL_INPUT: c_int = 258;

/// The functions, all of the stable interface but `PyRun_String`.
pub struct Python {
    is_initialized: unsafe extern "C" fn() -> c_int,
    lock_held: unsafe extern "C" fn() -> c_int,
    add_module: unsafe extern "C" fn(*const c_char) -> Object,
    module_dict: unsafe extern "C" fn(Object) -> Object,
    run_string: unsafe extern "C" fn(*const c_char, c_int, Object, Object) -> Object,
    long_value: unsafe extern "C" fn(Object) -> c_long,
    decrease: unsafe extern "C" fn(Object),
    fetch_error: unsafe extern "C" fn(*mut Object, *mut Object, *mut Object),
    to_text: unsafe extern "C" fn(Object) -> Object,
    text_bytes: unsafe extern "C" fn(Object) -> *const c_char,
    clear_error: unsafe extern "C" fn(),
}

/// A namespace to run Python code in: a module of its own, which lives as long as the interpreter.
pub struct Namespace<'p> {
    python: &'p Python,
    globals: Object,
}

/// The symbol as a function of the type that the field asks for.
fn function<F>(name: &CStr) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    let address = platform::global_symbol(name)?;
    // SAFETY: `F` is a function pointer (its size is asserted, its type the field's), and the interpreter's
    // function of this name has that prototype in every Python 3.
    Some(unsafe { std::mem::transmute_copy::<*mut c_void, F>(&address) })
}

impl Python {
    /// The interpreter of this process, if there is a running one.
    pub fn find() -> Option<Python> {
        let python = Python {
            is_initialized: function(c"Py_IsInitialized")?,
            lock_held: function(c"PyGILState_Check")?,
            add_module: function(c"PyImport_AddModule")?,
            module_dict: function(c"PyModule_GetDict")?,
            run_string: function(c"PyRun_String")?,
            long_value: function(c"PyLong_AsLong")?,
            decrease: function(c"Py_DecRef")?,
            fetch_error: function(c"PyErr_Fetch")?,
            to_text: function(c"PyObject_Str")?,
            text_bytes: function(c"PyUnicode_AsUTF8")?,
            clear_error: function(c"PyErr_Clear")?,
        };
        // SAFETY: may be called at any time.
        (unsafe { (python.is_initialized)() } != 0).then_some(python)
    }

    /// Whether this thread holds Python's lock.
    pub fn holds_lock(&self) -> bool {
        // SAFETY: may be called by any thread of an initialised interpreter.
        unsafe { (self.lock_held)() == 1 }
    }

    /// The namespace `name`, made if it is new; the caller holds the lock.
    pub fn namespace(&self, name: &CStr) -> Option<Namespace<'_>> {
        // SAFETY: the lock is held; a borrowed reference that `sys.modules` keeps alive.
        let module = unsafe { (self.add_module)(name.as_ptr()) };
        if module.is_null() {
            return None;
        }
        // SAFETY: a module object; its dictionary is borrowed and lives as long.
        let globals = unsafe { (self.module_dict)(module) };
        Some(Namespace { python: self, globals })
    }

    /// The pending exception as text, cleared.
    fn take_error(&self) -> String {
        let (mut kind, mut value, mut trace) =
            (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the lock is held; the out-pointers are writable.
        unsafe { (self.fetch_error)(&raw mut kind, &raw mut value, &raw mut trace) };
        // SAFETY: the lock is held; any object, or null, may be asked for its text.
        let text = if value.is_null() { value } else { unsafe { (self.to_text)(value) } };
        let mut message = String::from("unknown error");
        if !text.is_null() {
            // SAFETY: a text object; the bytes live as long as it does.
            let bytes = unsafe { (self.text_bytes)(text) };
            if !bytes.is_null() {
                // SAFETY: a C string that the interpreter keeps until the text goes.
                message = unsafe { CStr::from_ptr(bytes) }.to_string_lossy().into_owned();
            }
        }
        for object in [kind, value, trace, text] {
            // SAFETY: each is null or a reference that we own.
            unsafe { (self.decrease)(object) };
        }
        // SAFETY: the lock is held; a failed conversion to text must not stay pending.
        unsafe { (self.clear_error)() };
        message
    }
}

impl Namespace<'_> {
    /// Runs statements; the exception's text if they raise one.
    pub fn run(&self, code: &str) -> Result<(), String> {
        let result = self.evaluate(code, FILE_INPUT)?;
        // SAFETY: a reference that we own.
        unsafe { (self.python.decrease)(result) };
        Ok(())
    }

    /// Evaluates an expression that gives an integer or a truth value.
    pub fn integer(&self, expression: &str) -> Result<i64, String> {
        let result = self.evaluate(expression, EVAL_INPUT)?;
        // SAFETY: the lock is held; −1 with an exception pending for what is no integer.
        let value = unsafe { (self.python.long_value)(result) };
        // SAFETY: a reference that we own.
        unsafe { (self.python.decrease)(result) };
        // SAFETY: the lock is held.
        unsafe { (self.python.clear_error)() };
        Ok(value)
    }

    fn evaluate(&self, code: &str, start: c_int) -> Result<Object, String> {
        let text = CString::new(code).map_err(|_| "a zero byte in the code".to_owned())?;
        // SAFETY: the lock is held; the dictionary is a live module's and serves as globals and locals.
        let result = unsafe { (self.python.run_string)(text.as_ptr(), start, self.globals, self.globals) };
        if result.is_null() { Err(self.python.take_error()) } else { Ok(result) }
    }
}
