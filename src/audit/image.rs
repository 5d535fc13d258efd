//! Looking a symbol up in a loaded object's own tables, as the dynamic linker does.
//!
//! `dlsym` of this namespace cannot see the program's objects. Source: the System V ABI (dynamic section), and the GNU
//! hash table as glibc and binutils lay it out.

use std::ffi::{CStr, c_char};

/// `struct link_map` of `<link.h>`, whose first members are public.
#[repr(C)]
#[derive(Debug)]
pub struct LinkMap {
    /// How far the object lies from the addresses in its file.
    pub base: usize,
    /// Its path; empty for the program.
    pub name: *const c_char,
    /// Its dynamic section, up to an entry with tag 0.
    pub dynamic: *const Dynamic,
    /// The next object.
    pub next: *mut LinkMap,
    /// The one before.
    pub previous: *mut LinkMap,
}

/// `Elf64_Dyn`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Dynamic {
    /// What the value is.
    pub tag: i64,
    /// An address or a number.
    pub value: usize,
}

const STRING_TABLE: i64 = 5;
const SYMBOL_TABLE: i64 = 6;
const GNU_HASH: i64 = 0x6fff_fef5;
/// `STT_FUNC` in the low half of `st_info`.
const FUNCTION: u8 = 2;

/// The address of the function `name` that the object exports.
///
/// # Safety
/// `map` is a loaded object's, and the object stays loaded meanwhile.
pub unsafe fn exported(map: *const LinkMap, name: &CStr) -> Option<usize> {
    // SAFETY: the caller's promise: the map is live and its dynamic section ends with tag 0.
    let tables = unsafe { Tables::of(map) }?;
    // SAFETY: the tables are those of a loaded object.
    let symbol = unsafe { tables.find(name) }?;
    (symbol.st_info & 15 == FUNCTION && symbol.st_shndx != 0).then(|| tables.base + symbol.st_value as usize)
}

/// Where an object's symbols, their names and their hash table lie.
struct Tables {
    base: usize,
    symbols: *const libc::Elf64_Sym,
    names: *const c_char,
    hash: *const u32,
}

impl Tables {
    /// # Safety
    /// `map` is a loaded object's.
    unsafe fn of(map: *const LinkMap) -> Option<Tables> {
        // SAFETY: the caller's promise.
        let (base, mut entry) = unsafe { ((*map).base, (*map).dynamic) };
        let (mut symbols, mut names, mut hash) = (None, None, None);
        loop {
            // SAFETY: the section ends with tag 0, where this loop ends.
            let Dynamic { tag, value } = unsafe { *entry };
            // glibc makes the values absolute where it may write to the section, which on x86-64 is always.
            let address = if value < base { base + value } else { value };
            match tag {
                0 => break,
                SYMBOL_TABLE => symbols = Some(address),
                STRING_TABLE => names = Some(address),
                GNU_HASH => hash = Some(address),
                _ => {}
            }
            entry = entry.wrapping_add(1);
        }
        let (symbols, names, hash) = (symbols?, names?, hash?);
        Some(Tables {
            base,
            symbols: std::ptr::with_exposed_provenance(symbols),
            names: std::ptr::with_exposed_provenance(names),
            hash: std::ptr::with_exposed_provenance(hash),
        })
    }

    /// Header: buckets, index of the first hashed symbol, words of the Bloom filter, its shift. Then the filter
    /// (64 bits a word), one chain start a bucket, one hash a symbol whose lowest bit ends the chain.
    ///
    /// # Safety
    /// The tables are those of a loaded object.
    unsafe fn find(&self, name: &CStr) -> Option<libc::Elf64_Sym> {
        // SAFETY: the caller's promise: the header is four words, and what follows is as long as they say.
        let word = |index: usize| unsafe { *self.hash.wrapping_add(index) };
        let (buckets, first, filter_words) = (word(0) as usize, word(1) as usize, word(2) as usize);
        if buckets == 0 {
            return None;
        }
        let hash = gnu_hash(name.to_bytes());
        let starts = 4 + 2 * filter_words;
        let mut index = word(starts + hash as usize % buckets) as usize;
        if index < first {
            return None;
        }
        loop {
            let chained = word(starts + buckets + index - first);
            if chained | 1 == hash | 1 {
                // SAFETY: the chains name symbols of the table, and those name strings.
                let symbol = unsafe { *self.symbols.wrapping_add(index) };
                // SAFETY: as above; every name ends with a zero byte.
                let known = unsafe { CStr::from_ptr(self.names.wrapping_add(symbol.st_name as usize)) };
                if known == name {
                    return Some(symbol);
                }
            }
            if chained & 1 == 1 {
                return None;
            }
            index += 1;
        }
    }
}

fn gnu_hash(name: &[u8]) -> u32 {
    name.iter().fold(5381, |hash: u32, &byte| hash.wrapping_mul(33).wrapping_add(byte.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The C library's map in this process, and what its own `dlsym` says.
    fn libc_map() -> (*const LinkMap, *mut std::ffi::c_void) {
        // SAFETY: looks up a library that is loaded.
        let library = unsafe { libc::dlopen(c"libc.so.6".as_ptr(), libc::RTLD_NOLOAD | libc::RTLD_LAZY) };
        assert!(!library.is_null());
        (library.cast_const().cast(), library)
    }

    #[test]
    fn functions_are_found_where_dlsym_finds_them() {
        let (map, library) = libc_map();
        for name in [c"getpid", c"qsort", c"open", c"strtoul", c"pthread_create"] {
            // SAFETY: a live library.
            let (found, known) = unsafe { (exported(map, name), libc::dlsym(library, name.as_ptr())) };
            assert_eq!(found, Some(known as usize), "{name:?}");
        }
    }

    #[test]
    fn absent_names_and_data_are_not_found() {
        let (map, _) = libc_map();
        for name in [c"cublasSgemm_v2", c"", c"environ"] {
            // SAFETY: a live library.
            assert_eq!(unsafe { exported(map, name) }, None, "{name:?}");
        }
    }
}
