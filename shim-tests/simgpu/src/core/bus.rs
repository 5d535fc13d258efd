//! What a bus costs: with `SIMGPU_PCIE_GBPS` set, a copy between the host and the device takes a latency and its bytes
//! over the bandwidth, as it would on hardware; without, only the time of the memory copy that plays it.
//!
//! Each direction carries one copy at a time, as a GPU's two copy engines do; both at once do not slow each other down.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::memory::Side;

/// What a copy over PCI Express takes before its first byte, unless `SIMGPU_PCIE_LATENCY_US` says otherwise.
const LATENCY_US: f64 = 8.0;
/// Waits shorter than this are spent in a loop: sleeping is not that exact.
const SLEEP: Duration = Duration::from_micros(200);

struct Bus {
    bytes_per_second: f64,
    latency: Duration,
}

static BUS: LazyLock<Option<Bus>> = LazyLock::new(|| {
    let number = |name: &str| std::env::var(name).ok()?.parse::<f64>().ok().filter(|number| *number >= 0.0);
    let gigabytes = number("SIMGPU_PCIE_GBPS").filter(|number| *number > 0.0)?;
    let latency = number("SIMGPU_PCIE_LATENCY_US").unwrap_or(LATENCY_US);
    Some(Bus { bytes_per_second: gigabytes * 1e9, latency: Duration::from_secs_f64(latency * 1e-6) })
});

static TO_DEVICE: Mutex<()> = Mutex::new(());
static TO_HOST: Mutex<()> = Mutex::new(());

/// A direction over the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Host to device.
    ToDevice,
    /// Device to host.
    ToHost,
}

impl Way {
    /// The way that a copy takes, if it crosses the bus.
    pub fn of(source: Side, target: Side) -> Option<Way> {
        match (source.is_device(), target.is_device()) {
            (false, true) => Some(Way::ToDevice),
            (true, false) => Some(Way::ToHost),
            _ => None,
        }
    }

    /// Runs a copy of `bytes`, for as long as the bus would take.
    pub fn carry(self, bytes: usize, copy: impl FnOnce()) {
        let Some(bus) = BUS.as_ref() else { return copy() };
        self.take(bus.latency + Duration::from_secs_f64(bytes as f64 / bus.bytes_per_second), copy);
    }

    fn take(self, time: Duration, copy: impl FnOnce()) {
        let _alone = match self {
            Way::ToDevice => TO_DEVICE.lock(),
            Way::ToHost => TO_HOST.lock(),
        };
        let end = Instant::now() + time;
        copy();
        while let Some(rest) = end.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
            if rest > SLEEP { std::thread::sleep(rest.saturating_sub(SLEEP)) } else { std::hint::spin_loop() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_takes_its_time_and_one_direction_waits_for_itself_only() {
        let time = Duration::from_millis(5);
        let started = Instant::now();
        std::thread::scope(|scope| {
            for way in [Way::ToDevice, Way::ToDevice, Way::ToHost] {
                scope.spawn(move || way.take(time, || ()));
            }
        });
        let taken = started.elapsed();
        assert!(taken >= 2 * time, "{taken:?}: two copies in one direction overlapped");
    }
}
