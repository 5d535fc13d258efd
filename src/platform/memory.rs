//! How much memory the system has for this process: the machine's, or its control group's where that is less.
//!
//! Sources: `proc(5)` for `/proc/meminfo`; <https://docs.kernel.org/admin-guide/cgroup-v2.html#memory> for the group.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Bytes of main memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What can be allocated without swapping.
    pub available: u64,
    /// What there is.
    pub total: u64,
}

/// The memory of this machine or control group; `None` where the system does not tell.
pub fn memory() -> Option<Memory> {
    let machine = of_machine(&read_to_string("/proc/meminfo").ok()?)?;
    let group = read_to_string("/proc/self/cgroup").ok().and_then(|text| of_group(&folder_of_group(&text)));
    Some(group.map_or(machine, |group| Memory {
        available: machine.available.min(group.available),
        total: machine.total.min(group.total),
    }))
}

fn of_machine(meminfo: &str) -> Option<Memory> {
    let kibibytes = |name: &str| {
        let row = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        row.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(Memory { available: kibibytes("MemAvailable")? << 10, total: kibibytes("MemTotal")? << 10 })
}

/// Where the group of `/proc/self/cgroup` has its files; the mount's root where a container hides the path.
fn folder_of_group(text: &str) -> PathBuf {
    let root = Path::new("/sys/fs/cgroup");
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or("");
    let folder = root.join(path);
    if folder.join("memory.max").exists() { folder } else { root.to_owned() }
}

/// What a group's limit leaves; `None` for a group without one.
fn of_group(folder: &Path) -> Option<Memory> {
    let number = |name: &str| read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    let (most, current) = (number("memory.max")?, number("memory.current")?);
    // Pages of files that nobody uses are given back before the limit is felt.
    let stat = read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let idle = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse::<u64>().ok());
    Some(Memory { available: most.saturating_sub(current.saturating_sub(idle.unwrap_or(0))), total: most })
}

/// Lets the C library's allocator keep up to `bytes` of freed memory, instead of giving the pages of each large block back
/// and taking fresh ones for the next. What the environment says of the allocator stands; 0 changes nothing.
///
/// Source: <https://man7.org/linux/man-pages/man3/mallopt.3.html>.
#[allow(unsafe_code)]
pub fn keep_freed(bytes: usize) {
    let asked = ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES"];
    if bytes == 0 || asked.iter().any(|name| std::env::var_os(name).is_some()) {
        return;
    }
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: glibc's own settings, which any thread may change; an allocator in its place has its own and ignores these.
    #[cfg(target_env = "gnu")]
    unsafe {
        // The most that older versions take is 32 MiB, to which a block beyond falls back.
        if libc::mallopt(libc::M_MMAP_THRESHOLD, bytes) == 0 {
            libc::mallopt(libc::M_MMAP_THRESHOLD, bytes.min(32 << 20));
        }
        libc::mallopt(libc::M_TRIM_THRESHOLD, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_tells_in_kibibytes() {
        let text = "MemTotal:       16307132 kB\nMemFree: 1 kB\nMemAvailable:   10 kB\n";
        assert_eq!(of_machine(text), Some(Memory { available: 10240, total: 16_307_132 << 10 }));
        assert_eq!(of_machine("MemTotal: 5 kB\n"), None);
        assert!(memory().is_some_and(|memory| memory.available <= memory.total && memory.total > 0));
    }

    #[test]
    fn a_group_counts_idle_files_as_available_and_no_limit_as_none() {
        let folder = std::env::temp_dir().join(format!("gpucompat-group-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        write("memory.max", "1000\n");
        write("memory.current", "700\n");
        write("memory.stat", "anon 1\ninactive_file 200\nactive_file 9\n");
        assert_eq!(of_group(&folder), Some(Memory { available: 500, total: 1000 }));
        write("memory.max", "max\n");
        assert_eq!(of_group(&folder), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
