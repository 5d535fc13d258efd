//! Python's C interface, found in the process: no link-time dependency, nothing in a process without Python.
//!
//! Source: <https://docs.python.org/3/c-api/>; every function is part of the stable interface. All but
//! [`Python::find`] and [`Python::holds_lock`] need Python's lock to be held by this thread: whoever has a
//! [`Namespace`] or a [`Ref`], or is called by Python, holds it.

#![allow(unsafe_code)]
// Objects are Python's to judge; whoever has the table owes live ones (see above).
#![allow(clippy::not_unsafe_ptr_arg_deref)]

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::sync::OnceLock;

use crate::platform;

/// A `PyObject*`.
pub type Object = *mut c_void;

/// `Py_file_input` and `Py_eval_input`.
const FILE_INPUT: c_int = 257;
const EVAL_INPUT: c_int = 258;

/// `METH_FASTCALL | METH_KEYWORDS`.
const FAST_CALL: c_int = 0x80 | 0x02;

/// A function that Python calls with `count` positional arguments, then one for each name in `names`.
pub type FastFunction = unsafe extern "C" fn(Object, *const Object, isize, Object) -> Object;

/// `PyMethodDef`, which must live as long as the function made of it.
#[repr(C)]
pub struct Method {
    name: *const c_char,
    function: FastFunction,
    flags: c_int,
    doc: *const c_char,
}

// SAFETY: never changed after it was made; the pointers are to static texts.
unsafe impl Sync for Method {}

impl Method {
    /// A function called `name`.
    pub const fn new(name: &'static CStr, function: FastFunction) -> Method {
        Method { name: name.as_ptr(), function, flags: FAST_CALL, doc: std::ptr::null() }
    }
}

/// Stamps the table's struct and its loader out of one list of `field: "symbol" (types) -> type` rows.
macro_rules! python_table {
    ($($(#[$doc:meta])* $field:ident: $symbol:literal ($($arg:ty),*) $(-> $ret:ty)?;)*) => {
        /// Addresses of the interpreter's functions; every one takes what Python's page of that name says.
        pub struct Python {
            $($(#[$doc])* pub $field: unsafe extern "C" fn($($arg),*) $(-> $ret)?,)*
        }

        impl Python {
            fn load() -> Option<Python> {
                Some(Python {
                    $($field: {
                        let address = platform::global_symbol($symbol)?;
                        // SAFETY: the interpreter's function of this name has this prototype in every Python 3.
                        unsafe {
                            std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($arg),*) $(-> $ret)?>(address)
                        }
                    },)*
                })
            }
        }
    };
}

python_table! {
    /// Whether there is a running interpreter.
    is_initialized: c"Py_IsInitialized" () -> c_int;
    /// Whether this thread holds the lock.
    lock_held: c"PyGILState_Check" () -> c_int;
    /// Lets go of the lock.
    save_thread: c"PyEval_SaveThread" () -> Object;
    /// Takes it again.
    restore_thread: c"PyEval_RestoreThread" (Object);
    /// A borrowed module.
    add_module: c"PyImport_AddModule" (*const c_char) -> Object;
    /// A module's borrowed dictionary.
    module_dict: c"PyModule_GetDict" (Object) -> Object;
    /// The borrowed dictionary of built-in functions.
    builtins: c"PyEval_GetBuiltins" () -> Object;
    /// Source text to code.
    compile: c"Py_CompileString" (*const c_char, *const c_char, c_int) -> Object;
    /// Runs code with globals and locals.
    eval_code: c"PyEval_EvalCode" (Object, Object, Object) -> Object;
    /// Counts a reference.
    increase: c"Py_IncRef" (Object);
    /// Gives a reference back; null does nothing.
    decrease: c"Py_DecRef" (Object);
    /// Takes the pending exception.
    fetch_error: c"PyErr_Fetch" (*mut Object, *mut Object, *mut Object);
    /// Sets the pending exception again; takes the references.
    restore_error: c"PyErr_Restore" (Object, Object, Object);
    /// Drops the pending exception.
    clear_error: c"PyErr_Clear" ();
    /// Whether an exception is pending (borrowed).
    error_occurred: c"PyErr_Occurred" () -> Object;
    /// Sets an exception from a class and a text.
    set_error: c"PyErr_SetString" (Object, *const c_char);
    /// `str(object)`.
    to_text: c"PyObject_Str" (Object) -> Object;
    /// The type of an object.
    type_of: c"PyObject_Type" (Object) -> Object;
    /// An attribute by an interned name.
    attribute: c"PyObject_GetAttr" (Object, Object) -> Object;
    /// Calls with a tuple and a dictionary or null.
    call: c"PyObject_Call" (Object, Object, Object) -> Object;
    /// The UTF-8 bytes of a text, owned by it.
    text_bytes: c"PyUnicode_AsUTF8" (Object) -> *const c_char;
    /// A text that is the same object for the same characters.
    intern: c"PyUnicode_InternFromString" (*const c_char) -> Object;
    /// A C `long`; −1 with an exception pending for what is none.
    long_value: c"PyLong_AsLong" (Object) -> c_long;
    /// A C `double`; −1 with an exception pending for what is none.
    double_value: c"PyFloat_AsDouble" (Object) -> f64;
    /// An address; null with an exception pending for what is none.
    address_value: c"PyLong_AsVoidPtr" (Object) -> *mut c_void;
    /// An integer.
    long_from: c"PyLong_FromLong" (c_long) -> Object;
    /// A tuple of so many places, to be filled.
    tuple_new: c"PyTuple_New" (isize) -> Object;
    /// Fills a place; takes the reference.
    tuple_set: c"PyTuple_SetItem" (Object, isize, Object) -> c_int;
    /// A borrowed item.
    tuple_get: c"PyTuple_GetItem" (Object, isize) -> Object;
    /// How many items; −1 with an exception pending for what is no tuple.
    tuple_size: c"PyTuple_Size" (Object) -> isize;
    /// A list of so many places, to be filled.
    list_new: c"PyList_New" (isize) -> Object;
    /// Fills a place; takes the reference.
    list_set: c"PyList_SetItem" (Object, isize, Object) -> c_int;
    /// A borrowed item.
    list_get: c"PyList_GetItem" (Object, isize) -> Object;
    /// How many items.
    list_size: c"PyList_Size" (Object) -> isize;
    /// An empty dictionary.
    dict_new: c"PyDict_New" () -> Object;
    /// Sets an item; takes no reference.
    dict_set: c"PyDict_SetItem" (Object, Object, Object) -> c_int;
    /// The same by a C text.
    dict_set_text: c"PyDict_SetItemString" (Object, *const c_char, Object) -> c_int;
    /// A borrowed item, or null with nothing pending.
    dict_get_text: c"PyDict_GetItemString" (Object, *const c_char) -> Object;
    /// An object that stands for an address.
    capsule_new: c"PyCapsule_New" (*mut c_void, *const c_char, *mut c_void) -> Object;
    /// The address that a capsule stands for.
    capsule_address: c"PyCapsule_GetPointer" (Object, *const c_char) -> *mut c_void;
    /// A function object of a method and what it gets as its first argument.
    function_new: c"PyCFunction_NewEx" (*const Method, Object, Object) -> Object;
}

impl Python {
    /// The interpreter of this process, if there is a running one.
    pub fn find() -> Option<&'static Python> {
        static PYTHON: OnceLock<Python> = OnceLock::new();
        let python = if let Some(python) = PYTHON.get() {
            python
        } else {
            let loaded = Python::load()?;
            PYTHON.get_or_init(|| loaded)
        };
        // SAFETY: may be called at any time.
        (unsafe { (python.is_initialized)() } != 0).then_some(python)
    }

    /// Whether this thread holds Python's lock.
    pub fn holds_lock(&self) -> bool {
        // SAFETY: may be called by any thread of an initialised interpreter.
        unsafe { (self.lock_held)() == 1 }
    }

    /// Runs `work` without Python's lock: whatever waits for a stream must not keep Python waiting.
    pub fn unlocked<R>(&self, work: impl FnOnce() -> R) -> R {
        struct Retake<'p>(&'p Python, Object);
        impl Drop for Retake<'_> {
            fn drop(&mut self) {
                // SAFETY: the state that `save_thread` gave this thread.
                unsafe { (self.0.restore_thread)(self.1) };
            }
        }
        // SAFETY: the lock is held.
        let _retake = Retake(self, unsafe { (self.save_thread)() });
        work()
    }

    /// The namespace `name`, made if it is new; the caller holds the lock.
    pub fn namespace(&'static self, name: &CStr) -> Option<Namespace> {
        // SAFETY: the lock is held; a borrowed reference that `sys.modules` keeps alive.
        let module = unsafe { (self.add_module)(name.as_ptr()) };
        if module.is_null() {
            return None;
        }
        // SAFETY: a module object; its dictionary is borrowed and lives as long.
        let globals = unsafe { (self.module_dict)(module) };
        let builtins = c"__builtins__".as_ptr();
        // SAFETY: a live dictionary and a borrowed one.
        let _ = unsafe { (self.dict_set_text)(globals, builtins, (self.builtins)()) };
        Some(Namespace { python: self, globals })
    }

    /// A name that attribute look-ups take; lives for good.
    pub fn name(&self, text: &CStr) -> Object {
        // SAFETY: the lock is held; the text ends with its zero byte.
        unsafe { (self.intern)(text.as_ptr()) }
    }

    /// Sets a RuntimeError, unless an exception is pending already.
    pub fn raise(&self, text: &CStr) {
        // SAFETY: the lock is held.
        if !unsafe { (self.error_occurred)() }.is_null() {
            return;
        }
        if let Some(class) = platform::global_symbol(c"PyExc_RuntimeError") {
            // SAFETY: the interpreter's variable of that name holds a live class; the text is a C string.
            unsafe { (self.set_error)(*class.cast::<Object>(), text.as_ptr()) };
        }
    }

    /// The borrowed items of a tuple.
    pub fn items(&self, tuple: Object) -> Vec<Object> {
        // SAFETY: the lock is held; −1 with an exception for what is no tuple, which our own code does not pass.
        let count = unsafe { (self.tuple_size)(tuple) };
        // SAFETY: positions inside the tuple.
        (0..count.max(0)).map(|position| unsafe { (self.tuple_get)(tuple, position) }).collect()
    }

    /// An integer that our own code passed.
    pub fn number(&self, object: Object) -> i64 {
        // SAFETY: the lock is held.
        unsafe { (self.long_value)(object) }
    }

    /// An integer of 64 bits; `None`, and no exception, for one that is longer.
    pub fn whole_number(&self, object: Object) -> Option<i64> {
        let number = self.number(object);
        // SAFETY: the lock is held.
        if number == -1 && !unsafe { (self.error_occurred)() }.is_null() {
            // SAFETY: as above.
            unsafe { (self.clear_error)() };
            return None;
        }
        Some(number)
    }

    /// Calls with references that are the callee's to give back; `None` with an exception pending.
    pub fn call_with(
        &'static self,
        function: Object,
        positional: Vec<Object>,
        named: Vec<(Object, Object)>,
    ) -> Option<Ref> {
        // SAFETY: the lock is held.
        let tuple = Ref::take(self, unsafe { (self.tuple_new)(positional.len() as isize) })?;
        for (position, object) in positional.into_iter().enumerate() {
            // SAFETY: a place of the new tuple, which takes the reference.
            unsafe { (self.tuple_set)(tuple.object(), position as isize, object) };
        }
        let names = if named.is_empty() {
            None
        } else {
            // SAFETY: the lock is held.
            let names = Ref::take(self, unsafe { (self.dict_new)() })?;
            for (name, object) in named {
                // SAFETY: a live dictionary, name and object; the dictionary takes references of its own.
                unsafe {
                    (self.dict_set)(names.object(), name, object);
                    (self.decrease)(object);
                }
            }
            Some(names)
        };
        let names = names.as_ref().map_or(std::ptr::null_mut(), Ref::object);
        // SAFETY: a live function, a tuple, a dictionary or null.
        Ref::take(self, unsafe { (self.call)(function, tuple.object(), names) })
    }

    /// The interned text of the same characters, which lives as long as the interpreter holds one elsewhere: names of
    /// arguments do. A borrowed reference.
    pub fn interned(&self, text: Object) -> Object {
        // SAFETY: the lock is held; null for what is no text.
        let bytes = unsafe { (self.text_bytes)(text) };
        if bytes.is_null() {
            // SAFETY: the lock is held.
            unsafe { (self.clear_error)() };
            return text;
        }
        // SAFETY: the characters of a live text.
        let interned = unsafe { (self.intern)(bytes) };
        if interned.is_null() {
            // SAFETY: the lock is held.
            unsafe { (self.clear_error)() };
            return text;
        }
        // SAFETY: a reference that we own; the plan's own keeps a known name alive, an unknown one is not used.
        unsafe { (self.decrease)(interned) };
        interned
    }

    /// A new reference to `object`.
    pub fn share(&self, object: Object) -> Object {
        // SAFETY: the lock is held; a live object.
        unsafe { (self.increase)(object) };
        object
    }

    /// Drops the pending exception if its text contains one of `parts`; whether it did.
    pub fn forgive(&self, parts: &[&str]) -> bool {
        let (mut kind, mut value, mut trace) =
            (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the lock is held; the out-pointers are writable.
        unsafe { (self.fetch_error)(&raw mut kind, &raw mut value, &raw mut trace) };
        let forgiven = self.text_of(value).is_some_and(|text| parts.iter().any(|part| text.contains(part)));
        if forgiven {
            for object in [kind, value, trace] {
                // SAFETY: each is null or a reference that we own.
                unsafe { (self.decrease)(object) };
            }
        } else {
            // SAFETY: the three as they were fetched.
            unsafe { (self.restore_error)(kind, value, trace) };
        }
        forgiven
    }

    /// `str(object)`; `None` for null or what has no text, with nothing pending.
    fn text_of(&self, object: Object) -> Option<String> {
        if object.is_null() {
            return None;
        }
        // SAFETY: the lock is held; any object may be asked for its text.
        let text = unsafe { (self.to_text)(object) };
        let mut message = None;
        if !text.is_null() {
            // SAFETY: a text object; the bytes live as long as it does.
            let bytes = unsafe { (self.text_bytes)(text) };
            if !bytes.is_null() {
                // SAFETY: a C string that the interpreter keeps until the text goes.
                message = Some(unsafe { CStr::from_ptr(bytes) }.to_string_lossy().into_owned());
            }
            // SAFETY: a reference that we own.
            unsafe { (self.decrease)(text) };
        }
        // SAFETY: the lock is held; a failed conversion to text must not stay pending.
        unsafe { (self.clear_error)() };
        message
    }

    /// The pending exception as text, cleared.
    pub fn take_error(&self) -> String {
        let (mut kind, mut value, mut trace) =
            (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the lock is held; the out-pointers are writable.
        unsafe { (self.fetch_error)(&raw mut kind, &raw mut value, &raw mut trace) };
        let message = self.text_of(value);
        for object in [kind, value, trace] {
            // SAFETY: each is null or a reference that we own.
            unsafe { (self.decrease)(object) };
        }
        message.unwrap_or_else(|| "unknown error".to_owned())
    }
}

/// A reference that is ours, given back when dropped; never null.
pub struct Ref {
    python: &'static Python,
    object: Object,
}

impl Ref {
    /// Takes a new reference over; `None` for null, which an exception explains.
    pub fn take(python: &'static Python, object: Object) -> Option<Ref> {
        (!object.is_null()).then_some(Ref { python, object })
    }

    /// The object, still ours.
    pub fn object(&self) -> Object {
        self.object
    }

    /// The object, now the receiver's.
    pub fn release(self) -> Object {
        std::mem::ManuallyDrop::new(self).object
    }
}

impl Drop for Ref {
    fn drop(&mut self) {
        // SAFETY: the lock is held wherever references live; this one is ours.
        unsafe { (self.python.decrease)(self.object) };
    }
}

/// A namespace to run Python code in: a module of its own, which lives as long as the interpreter.
#[derive(Clone, Copy)]
pub struct Namespace {
    python: &'static Python,
    globals: Object,
}

impl Namespace {
    /// Runs the statements of `file`; the exception's text if they raise one.
    pub fn run(&self, file: &CStr, code: &str) -> Result<(), String> {
        self.evaluate(file, code, FILE_INPUT).map(drop)
    }

    /// Evaluates an expression that gives an integer or a truth value.
    pub fn integer(&self, expression: &str) -> Result<i64, String> {
        let result = self.evaluate(c"gpucompat", expression, EVAL_INPUT)?;
        // SAFETY: the lock is held; −1 with an exception pending for what is no integer.
        let value = unsafe { (self.python.long_value)(result.object()) };
        // SAFETY: the lock is held.
        unsafe { (self.python.clear_error)() };
        Ok(value)
    }

    /// A borrowed object of the namespace.
    pub fn get(&self, name: &CStr) -> Option<Object> {
        // SAFETY: the lock is held; the dictionary is a live module's.
        let object = unsafe { (self.python.dict_get_text)(self.globals, name.as_ptr()) };
        (!object.is_null()).then_some(object)
    }

    /// Makes a function of ours callable under `name`.
    pub fn define(&self, name: &CStr, method: &'static Method) -> Option<()> {
        // SAFETY: the lock is held; the method is static.
        let made = unsafe { (self.python.function_new)(method, std::ptr::null_mut(), std::ptr::null_mut()) };
        let function = Ref::take(self.python, made)?;
        // SAFETY: the lock is held; the dictionary takes a reference of its own.
        let status = unsafe { (self.python.dict_set_text)(self.globals, name.as_ptr(), function.object()) };
        (status == 0).then_some(())
    }

    fn evaluate(&self, file: &CStr, code: &str, start: c_int) -> Result<Ref, String> {
        let text = CString::new(code).map_err(|_| "a zero byte in the code".to_owned())?;
        let python = self.python;
        // SAFETY: the lock is held; both texts end with their zero byte.
        let code = unsafe { (python.compile)(text.as_ptr(), file.as_ptr(), start) };
        let code = Ref::take(python, code).ok_or_else(|| python.take_error())?;
        // SAFETY: the lock is held; the dictionary is a live module's and serves as globals and locals.
        let result = unsafe { (python.eval_code)(code.object(), self.globals, self.globals) };
        Ref::take(python, result).ok_or_else(|| python.take_error())
    }
}
