//! Which architectures a library carries kernels for, read from the headers of its fat binaries.
//!
//! ```text
//! section   container, container, …            .nv_fatbin, __nv_relfatbin; zeros between containers
//! container magic u32, version u16, header size u16, size of all entries u64; entries
//! entry     kind u16, version u16, header size u32, payload size u64, …, at 28 architecture u32, …,
//!           at 40 flags u64, …; payload
//! ```
//!
//! Only headers are read, so a file of a gigabyte costs as many pages as it has entries. Any bytes may be given: what
//! does not look like a header ends the container or is skipped.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::{Advice, Mmap};
use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSection};
use serde::Serialize;

const MAGIC: u32 = 0xBA55_ED50;
const CONTAINER_HEADER: usize = 16;
/// The fields up to the flags; an entry's header is at least this long.
const ENTRY_HEADER: usize = 48;
const KIND_PTX: u16 = 1;
const KIND_ELF: u16 = 2;
/// Set for the architecture-specific variants, sm_90a.
const FLAG_SPECIFIC: u64 = 1 << 20;
/// Set for the family-specific variants, sm_100f.
const FLAG_FAMILY: u64 = 1 << 21;
/// Containers are aligned to this in their section.
const ALIGNMENT: usize = 8;

/// Machine code, or code that the driver compiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Machine code (`sm_90`).
    Sass,
    /// The driver compiles it when it is loaded (`compute_90`).
    Ptx,
}

/// Where else than on its own architecture code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    /// On newer ones too: machine code within the major version, PTX on all.
    Portable,
    /// `f`: on newer ones of its family, which is its major version.
    Family,
    /// `a`: nowhere else.
    Specific,
}

/// What one piece of code was compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Architecture {
    /// Machine code or PTX.
    pub kind: Kind,
    /// The compute capability without the dot, 120 for 12.0.
    pub sm: u32,
    /// Whether it is bound to it.
    pub variant: Variant,
}

impl Architecture {
    /// Reads `sm_90`, `compute_90`, `sm_90a`, as `torch.cuda.get_arch_list()` has them.
    pub fn parse(name: &str) -> Option<Architecture> {
        let (kind, rest) = match name.strip_prefix("sm_") {
            Some(rest) => (Kind::Sass, rest),
            None => (Kind::Ptx, name.strip_prefix("compute_")?),
        };
        let (number, variant) = match rest.as_bytes().last()? {
            b'a' => (&rest[..rest.len() - 1], Variant::Specific),
            b'f' => (&rest[..rest.len() - 1], Variant::Family),
            _ => (rest, Variant::Portable),
        };
        Some(Architecture { kind, sm: number.parse().ok()?, variant })
    }

    /// Whether such code can run on a device of compute capability `sm`.
    pub fn runs_on(self, sm: u32) -> bool {
        let same_major = self.sm / 10 == sm / 10;
        match (self.variant, self.kind) {
            (Variant::Specific, _) => self.sm == sm,
            (Variant::Family, _) | (Variant::Portable, Kind::Sass) => same_major && self.sm <= sm,
            (Variant::Portable, Kind::Ptx) => self.sm <= sm,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Sass => "sm",
            Kind::Ptx => "compute",
        };
        let variant = match self.variant {
            Variant::Portable => "",
            Variant::Family => "f",
            Variant::Specific => "a",
        };
        write!(f, "{kind}_{}{variant}", self.sm)
    }
}

/// How many pieces of code there are of each architecture.
pub type Counts = BTreeMap<Architecture, u64>;

/// What a library's fat binaries carry; empty if it has none.
pub fn of_library(path: &Path) -> io::Result<Counts> {
    let file = File::open(path)?;
    // SAFETY: the map is private and read-only. Its file is an installed library; whoever truncates one while processes
    // have it mapped ends them all, and every process that loads libraries runs under that condition.
    let map = unsafe { Mmap::map(&file)? };
    // Reading ahead would read the kernels, of which nothing is needed. It is advice: refused, it is only slower.
    let _ = map.advise(Advice::Random);
    let invalid = |error: object::read::Error| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    let elf = ElfFile64::<Endianness>::parse(&*map).map_err(invalid)?;
    let mut counts = Counts::new();
    for section in elf.sections() {
        if matches!(section.name(), Ok(".nv_fatbin" | "__nv_relfatbin")) {
            count(section.data().map_err(invalid)?, &mut counts);
        }
    }
    Ok(counts)
}

/// Adds what the containers in a section carry.
fn count(section: &[u8], counts: &mut Counts) {
    let mut at = 0;
    while at < section.len() {
        let rest = &section[at..];
        // Each turn goes on by at least the alignment, and a container's entries are read once, so the work is bounded
        // by the section's length.
        at = at.saturating_add(match container(rest) {
            Some((entries, length)) => {
                count_entries(entries, counts);
                length.next_multiple_of(ALIGNMENT)
            }
            None => ALIGNMENT,
        });
    }
}

/// The entries of the container that begins here, and its length, cut off where the section ends.
fn container(bytes: &[u8]) -> Option<(&[u8], usize)> {
    if u32_at(bytes, 0)? != MAGIC {
        return None;
    }
    let header = usize::from(u16_at(bytes, 6)?);
    let size = usize::try_from(u64_at(bytes, 8)?).unwrap_or(usize::MAX);
    if header < CONTAINER_HEADER {
        return None;
    }
    let end = header.saturating_add(size).min(bytes.len());
    Some((bytes.get(header..end)?, end))
}

fn count_entries(mut entries: &[u8], counts: &mut Counts) {
    while let Some((architecture, length)) = entry(entries) {
        if let Some(architecture) = architecture {
            *counts.entry(architecture).or_default() += 1;
        }
        let Some(rest) = entries.get(length..) else { return };
        entries = rest;
    }
}

/// What the entry that begins here was compiled for, and its length; nothing for kinds other than machine code
/// and PTX.
fn entry(bytes: &[u8]) -> Option<(Option<Architecture>, usize)> {
    let kind = match u16_at(bytes, 0)? {
        KIND_PTX => Some(Kind::Ptx),
        KIND_ELF => Some(Kind::Sass),
        _ => None,
    };
    let header = u32_at(bytes, 4)? as usize;
    if header < ENTRY_HEADER {
        return None;
    }
    let payload = usize::try_from(u64_at(bytes, 8)?).unwrap_or(usize::MAX);
    let sm = u32_at(bytes, 28)?;
    let flags = u64_at(bytes, 40)?;
    let variant = if flags & FLAG_SPECIFIC != 0 {
        Variant::Specific
    } else if flags & FLAG_FAMILY != 0 {
        Variant::Family
    } else {
        Variant::Portable
    };
    Some((kind.map(|kind| Architecture { kind, sm, variant }), header.saturating_add(payload)))
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn an_entry(kind: u16, sm: u32, flags: u64, payload: usize) -> Vec<u8> {
        let mut bytes = vec![0; 64 + payload];
        bytes[0..2].copy_from_slice(&kind.to_le_bytes());
        bytes[4..8].copy_from_slice(&64u32.to_le_bytes());
        bytes[8..16].copy_from_slice(&(payload as u64).to_le_bytes());
        bytes[28..32].copy_from_slice(&sm.to_le_bytes());
        bytes[40..48].copy_from_slice(&flags.to_le_bytes());
        bytes
    }

    fn a_container(entries: &[Vec<u8>]) -> Vec<u8> {
        let entries = entries.concat();
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        bytes.extend(1u16.to_le_bytes());
        bytes.extend(16u16.to_le_bytes());
        bytes.extend((entries.len() as u64).to_le_bytes());
        bytes.extend(entries);
        bytes
    }

    fn names(section: &[u8]) -> Vec<(String, u64)> {
        let mut counts = Counts::new();
        count(section, &mut counts);
        counts.into_iter().map(|(architecture, count)| (architecture.to_string(), count)).collect()
    }

    fn row(name: &str, count: u64) -> (String, u64) {
        (name.to_owned(), count)
    }

    #[test]
    fn machine_code_and_ptx_are_told_apart() {
        let entries = [
            an_entry(2, 90, 0x2011, 24),
            an_entry(1, 90, 0x2011, 8),
            an_entry(2, 120, 0, 0),
            an_entry(2, 90, FLAG_SPECIFIC | 0x2011, 16),
            an_entry(2, 100, FLAG_FAMILY, 16),
            an_entry(8, 75, 0, 16),
        ];
        let expected =
            [row("sm_90", 1), row("sm_90a", 1), row("sm_100f", 1), row("sm_120", 1), row("compute_90", 1)];
        assert_eq!(names(&a_container(&entries)), expected);
    }

    #[test]
    fn containers_in_a_row_with_padding_are_all_read() {
        let mut section = vec![0; 24];
        section.extend(a_container(&[an_entry(2, 50, 0, 8)]));
        section.extend([0; 40]);
        section.extend(a_container(&[an_entry(2, 50, 0, 8), an_entry(2, 60, 0, 8)]));
        section.extend(a_container(&[an_entry(2, 50, 0, 8)]));
        section.extend([0xff; 16]);
        assert_eq!(names(&section), [row("sm_50", 3), row("sm_60", 1)]);
    }

    #[test]
    fn a_container_whose_length_is_odd_does_not_hide_the_next() {
        let mut section = a_container(&[an_entry(2, 50, 0, 3)]);
        section.resize(section.len().next_multiple_of(ALIGNMENT), 0);
        section.extend(a_container(&[an_entry(2, 60, 0, 8)]));
        assert_eq!(names(&section), [row("sm_50", 1), row("sm_60", 1)]);
    }

    #[test]
    fn truncated_anywhere_it_says_what_was_there() {
        let whole = a_container(&[an_entry(2, 50, 0, 8), an_entry(2, 60, 0, 8)]);
        for length in 0..whole.len() {
            let read = names(&whole[..length]);
            assert!(read.len() <= 2 && read.iter().all(|(_, count)| *count == 1), "{length}: {read:?}");
        }
        assert_eq!(names(&whole[..whole.len() - 8]).len(), 2);
    }

    #[test]
    fn huge_and_zero_sizes_end_it() {
        let mut huge_container = a_container(&[an_entry(2, 50, 0, 8)]);
        huge_container[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(names(&huge_container), [row("sm_50", 1)]);

        let mut huge_payload = a_container(&[an_entry(2, 50, 0, 8), an_entry(2, 60, 0, 8)]);
        huge_payload[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(names(&huge_payload), [row("sm_50", 1)]);

        let mut no_header = a_container(&[an_entry(2, 50, 0, 8)]);
        no_header[20..24].copy_from_slice(&0u32.to_le_bytes());
        assert_eq!(names(&no_header), []);

        let mut no_container_header = a_container(&[an_entry(2, 50, 0, 8)]);
        no_container_header[6..8].copy_from_slice(&0u16.to_le_bytes());
        assert_eq!(names(&no_container_header), []);

        let mut empty = a_container(&[]);
        empty.extend(a_container(&[an_entry(2, 70, 0, 0)]));
        assert_eq!(names(&empty), [row("sm_70", 1)]);
    }

    /// Random bytes with magic numbers, small and huge sizes strewn in, so that headers are met and lie.
    #[test]
    fn any_bytes_are_read_without_panic_and_in_bounded_time() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..4000 {
            let mut bytes: Vec<u8> = (0..random() % 512).map(|_| random() as u8).collect();
            for _ in 0..random() % 8 {
                if bytes.len() < 24 {
                    break;
                }
                let at = (random() as usize % (bytes.len() - 16)) & !7;
                let size =
                    [0, 1, 48, 64, u64::from(u32::MAX), u64::MAX, random() % 600][random() as usize % 7];
                bytes[at..at + 4].copy_from_slice(&MAGIC.to_le_bytes());
                bytes[at + 6..at + 8].copy_from_slice(&16u16.to_le_bytes());
                bytes[at + 8..at + 16].copy_from_slice(&size.to_le_bytes());
            }
            let counted: u64 = names(&bytes).iter().map(|(_, count)| count).sum();
            assert!(counted <= (bytes.len() / ENTRY_HEADER) as u64);
        }
    }

    #[test]
    fn names_are_read_and_written_the_same() {
        for name in ["sm_50", "sm_90a", "sm_120f", "compute_120", "compute_90a"] {
            assert_eq!(Architecture::parse(name).unwrap().to_string(), name);
        }
        for name in ["", "sm_", "sm_a", "gfx90a", "sm_12é", "sm_90b"] {
            assert_eq!(Architecture::parse(name), None);
        }
    }

    #[test]
    fn code_runs_where_cuda_says() {
        let runs = |name: &str, sm| Architecture::parse(name).unwrap().runs_on(sm);
        assert!(runs("sm_80", 86) && runs("sm_80", 89) && !runs("sm_86", 80) && !runs("sm_90", 120));
        assert!(runs("sm_120", 121) && !runs("sm_100", 120));
        assert!(runs("sm_90a", 90) && !runs("sm_100a", 103) && runs("sm_100f", 103) && !runs("sm_120f", 110));
        assert!(runs("compute_90", 120) && !runs("compute_90a", 120) && !runs("compute_120", 90));
    }

    #[test]
    fn a_file_that_is_no_library_is_an_error() {
        assert!(of_library(Path::new("/dev/null")).is_err());
        assert!(of_library(Path::new("/nowhere")).is_err());
    }
}
