//! cublasSetVector and its kin, cublasAlloc and cublasFree.

use std::collections::BTreeSet;
use std::ffi::{c_int, c_void};

use crate::blas_lab::{Name, Rng, rounds};
use crate::call;
use crate::lab::{Device, INVALID_VALUE, SUCCESS, set_fault};

const MAPPING_ERROR: c_int = 11;

/// One copy: a matrix of elements with gaps on both sides.
struct Copy {
    name: Name,
    into_device: bool,
    vector: bool,
    stream: Option<*mut c_void>,
    rows: usize,
    cols: usize,
    element: usize,
    from_ld: usize,
    to_ld: usize,
}

fn noise(rng: &mut Rng, length: usize) -> Vec<u8> {
    (0..length).map(|_| rng.between(0, 255) as u8).collect()
}

impl Copy {
    fn call(&self, from: u64, to: u64) -> c_int {
        let int = |value: usize| self.name.int(value as i64);
        let mut arguments =
            if self.vector { vec![int(self.cols)] } else { vec![int(self.rows), int(self.cols)] };
        arguments.extend([int(self.element), from, int(self.from_ld), to, int(self.to_ld)]);
        arguments.extend(self.stream.map(|stream| stream as u64));
        self.name.call(&arguments)
    }

    /// Copies noise over noise, and compares every byte.
    fn check(&self, rng: &mut Rng) {
        let bytes = |ld: usize| (ld * self.cols + 3) * self.element;
        let (source, old) = (noise(rng, bytes(self.from_ld)), noise(rng, bytes(self.to_ld)));
        let mut want = old.clone();
        for col in 0..self.cols {
            let run = self.rows * self.element;
            let (from, to) = (col * self.from_ld * self.element, col * self.to_ld * self.element);
            want[to..to + run].copy_from_slice(&source[from..from + run]);
        }
        let what = format!(
            "{} {}x{} of {} bytes, {} to {}",
            self.name.symbol, self.rows, self.cols, self.element, self.from_ld, self.to_ld
        );
        let got = if self.into_device {
            let target = Device::holding(&old);
            assert_eq!(self.call(source.as_ptr() as u64, target.address), SUCCESS, "{what}");
            self.wait();
            target.get()
        } else {
            let (on_device, mut target) = (Device::holding(&source), old.clone());
            assert_eq!(self.call(on_device.address, target.as_mut_ptr() as u64), SUCCESS, "{what}");
            self.wait();
            target
        };
        assert_eq!(got, want, "{what}");
    }

    fn wait(&self) {
        if let Some(stream) = self.stream {
            assert_eq!(call!("cudaStreamSynchronize", stream => *mut c_void), SUCCESS);
        }
    }
}

fn every_function(stream: *mut c_void, run: &mut dyn FnMut(Name, bool, bool, Option<*mut c_void>)) {
    for (word, into_device, vector) in [
        ("SetVector", true, true),
        ("GetVector", false, true),
        ("SetMatrix", true, false),
        ("GetMatrix", false, false),
    ] {
        for on in [None, Some(stream)] {
            let form = if on.is_some() { "Async" } else { "" };
            for name in Name::both(&format!("cublas{word}{form}")) {
                run(name, into_device, vector, on);
            }
        }
    }
}

/// Every function over random sizes, element sizes and gaps; then what is refused, and what fails.
pub fn copies() {
    let (each, mut rng) = rounds();
    let mut stream: *mut c_void = std::ptr::null_mut();
    let place = &raw mut stream;
    assert_eq!(call!("cudaStreamCreateWithFlags", place => *mut *mut c_void, 1u32 => u32), SUCCESS);
    call!("simgpu_set_delay_us", 200 => u64);
    let mut called = BTreeSet::new();
    every_function(stream, &mut |name, into_device, vector, stream| {
        called.insert(name.symbol.clone());
        for _ in 0..each {
            let rows = if vector { 1 } else { rng.between(0, 9) };
            let cols = rng.between(0, 12);
            let element = rng.pick(&[1, 2, 3, 4, 8, 16]);
            let (from_ld, to_ld) = (rows.max(1) + rng.between(0, 2), rows.max(1) + rng.between(0, 2));
            let name = name.clone();
            Copy { name, into_device, vector, stream, rows, cols, element, from_ld, to_ld }.check(&mut rng);
        }
    });
    call!("simgpu_set_delay_us", 0 => u64);
    refusals(stream);
    allocation();
    println!("symbols {}", called.into_iter().collect::<Vec<_>>().join(" "));
}

fn refusals(stream: *mut c_void) {
    let mut rng = Rng::new(1);
    let memory = noise(&mut rng, 64);
    every_function(stream, &mut |name, into_device, vector, stream| {
        let device = Device::holding(&memory);
        let mut host = memory.clone();
        let good =
            Copy { name, into_device, vector, stream, rows: 1, cols: 4, element: 4, from_ld: 1, to_ld: 1 };
        let call = |copy: &Copy, host: u64, device: u64| {
            let status = if into_device { copy.call(host, device) } else { copy.call(device, host) };
            copy.wait();
            status
        };
        let host_at = host.as_mut_ptr() as u64;
        for wrong in [
            Copy { element: 0, name: good.name.clone(), ..good },
            Copy { from_ld: 0, name: good.name.clone(), ..good },
            Copy { to_ld: 0, name: good.name.clone(), ..good },
        ] {
            assert_eq!(call(&wrong, host_at, device.address), INVALID_VALUE, "{}", good.name.symbol);
        }
        assert_eq!(call(&good, 0, device.address), INVALID_VALUE, "{}", good.name.symbol);
        assert_eq!(call(&good, host_at, 0), INVALID_VALUE, "{}", good.name.symbol);
        // Not the device's memory.
        assert_eq!(call(&good, host_at, 0x1000), MAPPING_ERROR, "{}", good.name.symbol);
        set_fault(if into_device { "memcpy_h2d:1" } else { "memcpy_d2h:1" });
        assert_eq!(call(&good, host_at, device.address), MAPPING_ERROR, "{}", good.name.symbol);
        set_fault("");
        assert_eq!((device.get(), host.clone()), (memory.clone(), memory.clone()), "{}", good.name.symbol);
        assert_eq!(
            call(&good, host_at, device.address),
            SUCCESS,
            "{}: the next call works",
            good.name.symbol
        );
    });
}

fn allocation() {
    let mut address: *mut c_void = std::ptr::null_mut();
    let place = &raw mut address;
    assert_eq!(call!("cublasAlloc", 10 => c_int, 4 => c_int, place => *mut *mut c_void), SUCCESS);
    let source = noise(&mut Rng::new(2), 40);
    let mut back = vec![0u8; 40];
    let (from, to) = (source.as_ptr(), back.as_mut_ptr());
    let put = call!("cublasSetVector", 10 => c_int, 4 => c_int, from => *const u8, 1 => c_int, address => *mut c_void, 1 => c_int);
    let got = call!("cublasGetVector", 10 => c_int, 4 => c_int, address => *mut c_void, 1 => c_int, to => *mut u8, 1 => c_int);
    assert_eq!((put, got), (SUCCESS, SUCCESS));
    assert_eq!(back, source);
    assert_eq!(call!("cublasFree", address => *mut c_void), SUCCESS);
    assert_eq!(call!("cublasAlloc", 0 => c_int, 4 => c_int, place => *mut *mut c_void), INVALID_VALUE);
}
