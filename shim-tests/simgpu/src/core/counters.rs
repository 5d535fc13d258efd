//! What happened, counted: tests read these to see that nothing more was moved than needed.

use std::sync::atomic::{AtomicI64, Ordering};

/// One counter.
pub struct Counter {
    /// Its name, for `simgpu_counter`.
    pub name: &'static str,
    value: AtomicI64,
}

macro_rules! counters {
    ($($ident:ident $name:literal $doc:literal;)*) => {
        $(#[doc = $doc] pub static $ident: Counter = Counter { name: $name, value: AtomicI64::new(0) };)*
        /// All counters.
        pub static ALL: &[&Counter] = &[$(&$ident),*];
    };
}

counters! {
    H2D_BYTES "h2d_bytes" "Bytes copied from host to device.";
    D2H_BYTES "d2h_bytes" "Bytes copied from device to host.";
    D2D_BYTES "d2d_bytes" "Bytes copied within and between devices.";
    H2D_CALLS "h2d_calls" "Copies from host to device.";
    D2H_CALLS "d2h_calls" "Copies from device to host.";
    D2D_CALLS "d2d_calls" "Copies within and between devices.";
    MEMSETS "memsets" "Memory fills.";
    LAUNCHES_REFUSED "launches_refused" "Kernel launches answered with \"no kernel image\".";
    LAUNCHES_ACCEPTED "launches_accepted" "Kernel launches that succeeded and did nothing.";
    ALLOCATIONS "allocations" "Device allocations made.";
    LIVE_BYTES "live_bytes" "Device bytes allocated now.";
    PINNED_BYTES "pinned_bytes" "Page-locked and managed host bytes allocated now.";
    SYNCHRONIZATIONS "synchronizations" "Waits for a stream, an event or the device.";
    STREAMS "streams" "Streams alive, made by the program.";
}

impl Counter {
    /// Adds to the counter.
    pub fn add(&self, amount: i64) {
        self.value.fetch_add(amount, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> i64 {
        self.value.load(Ordering::Relaxed)
    }

    /// Back to 0.
    pub fn reset(&self) {
        self.value.store(0, Ordering::Relaxed);
    }
}

/// All counters as one JSON object.
pub fn json() -> String {
    let rows: Vec<String> =
        ALL.iter().map(|counter| format!("\"{}\": {}", counter.name, counter.get())).collect();
    format!("{{{}}}\n", rows.join(", "))
}
