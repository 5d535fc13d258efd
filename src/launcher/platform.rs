//! What is Linux here: the dynamic linker's variables, names of libraries, processes, the shell.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The library that is preloaded.
pub const LIBRARY: &str = "libgpucompat.so";
/// The one that reaches programs which open the CUDA libraries themselves.
pub const AUDIT_LIBRARY: &str = "libgpucompat_audit.so";
/// NVIDIA's driver.
pub const DRIVER: &str = "libcuda.so.1";
/// How the names of the CUDA runtime begin, the simulated GPU's included.
pub const RUNTIME_PREFIX: &str = "libcudart.so.";
/// The variable with the libraries to preload, separated by spaces or colons.
pub const PRELOAD: &str = "LD_PRELOAD";
/// The variable with the audit libraries, separated by colons.
pub const AUDIT: &str = "LD_AUDIT";
/// The variable with the folders to look for libraries in, separated by colons or semicolons.
pub const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// Replaces this process by the command; returns only if that failed.
pub fn exec(mut command: Command) -> io::Error {
    command.exec()
}

/// What a list becomes with `first` in front: libraries of the same file names are dropped from the rest, because
/// two copies of one library in a process would each do half of the work.
pub fn prepend_libraries(variable: &str, first: &[&Path], list: Option<&OsStr>) -> OsString {
    let mut entries: Vec<&[u8]> = first.iter().map(|path| path.as_os_str().as_bytes()).collect();
    let names: Vec<Option<&OsStr>> = first.iter().map(|path| path.file_name()).collect();
    entries.extend(
        entries_of(variable, list.unwrap_or_default())
            .filter(|entry| !names.contains(&Path::new(OsStr::from_bytes(entry)).file_name())),
    );
    joined(variable, &entries)
}

/// A list of libraries without those of one file name.
pub fn without_library(variable: &str, name: &str, list: &OsStr) -> OsString {
    let kept: Vec<&[u8]> = entries_of(variable, list)
        .filter(|entry| Path::new(OsStr::from_bytes(entry)).file_name() != Some(OsStr::new(name)))
        .collect();
    joined(variable, &kept)
}

/// A list of folders with `first` in front. Nothing else is touched: an empty entry means the working directory.
pub fn prepend_folder(first: &Path, list: Option<&OsStr>) -> OsString {
    let mut folders = first.as_os_str().to_owned();
    if let Some(list) = list.filter(|list| !list.is_empty()) {
        folders.push(":");
        folders.push(list);
    }
    folders
}

/// The character that separates the variable's paths and occurs in this one, which therefore cannot stand in it.
pub fn separator_in(variable: &str, path: &Path) -> Option<char> {
    path.as_os_str().as_bytes().iter().find(|byte| separates(variable, **byte)).map(|byte| *byte as char)
}

fn separates(variable: &str, byte: u8) -> bool {
    byte == b':'
        || match variable {
            PRELOAD => byte.is_ascii_whitespace(),
            LIBRARY_PATH => byte == b';',
            _ => false,
        }
}

fn entries_of<'a>(variable: &'a str, list: &'a OsStr) -> impl Iterator<Item = &'a [u8]> {
    list.as_bytes().split(|byte| separates(variable, *byte)).filter(|entry| !entry.is_empty())
}

fn joined(variable: &str, entries: &[&[u8]]) -> OsString {
    let separator: &[u8] = if variable == PRELOAD { b" " } else { b":" };
    OsString::from_vec(entries.join(separator))
}

/// A word as the shell reads it back unchanged.
pub fn quoted(word: &OsStr) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./-,+@%:".contains(byte);
    let bytes = word.as_bytes();
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return bytes.to_vec();
    }
    let mut quoted = vec![b'\''];
    for &byte in bytes {
        if byte == b'\'' {
            quoted.extend(b"'\\''");
        } else {
            quoted.push(byte);
        }
    }
    quoted.push(b'\'');
    quoted
}

/// How a process ended that did not end well.
pub fn how_it_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(libc::SIGSEGV)) => "killed by signal 11 (segmentation fault)".to_owned(),
        (None, Some(libc::SIGABRT)) => "killed by signal 6 (aborted)".to_owned(),
        (None, Some(libc::SIGKILL)) => "killed by signal 9, perhaps for want of memory".to_owned(),
        (None, signal) => format!("killed by signal {}", signal.unwrap_or_default()),
    }
}

/// A file for one child to write to, which only this user may read; removed when dropped.
pub struct TemporaryFile {
    /// Where it is.
    pub path: PathBuf,
    file: File,
}

impl TemporaryFile {
    /// A new, empty one in the folder for temporary files.
    pub fn new() -> io::Result<TemporaryFile> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            let nanoseconds =
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("gpucompat-{}-{count}-{nanoseconds:09}", std::process::id());
            let path = std::env::temp_dir().join(name);
            // O_EXCL, which create_new is, follows no link that somebody else has put there.
            match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok(TemporaryFile { path, file }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Another handle, for a child's output.
    pub fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// What was written, as far as it is text.
    pub fn text(&self) -> String {
        fs::read(&self.path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn libraries_go_in_front_and_none_comes_twice() {
        let shim = Path::new("/new/libgpucompat.so");
        let list = |text: &str| prepend_libraries(PRELOAD, &[shim], Some(OsStr::new(text)));
        assert_eq!(prepend_libraries(PRELOAD, &[shim], None), "/new/libgpucompat.so");
        assert_eq!(list("/a/libx.so:/b/liby.so"), "/new/libgpucompat.so /a/libx.so /b/liby.so");
        assert_eq!(list("/old/libgpucompat.so /a/libx.so"), "/new/libgpucompat.so /a/libx.so");
        assert_eq!(
            prepend_libraries(AUDIT, &[Path::new("/a/libaudit.so")], Some(OsStr::new("/b c/other.so"))),
            "/a/libaudit.so:/b c/other.so"
        );
        assert_eq!(
            without_library(PRELOAD, LIBRARY, OsStr::new("/x/libgpucompat.so /a/libx.so")),
            "/a/libx.so"
        );
    }

    #[test]
    fn folders_keep_what_was_there() {
        let sim = Path::new("/sim");
        assert_eq!(prepend_folder(sim, None), "/sim");
        assert_eq!(prepend_folder(sim, Some(OsStr::new(""))), "/sim");
        assert_eq!(prepend_folder(sim, Some(OsStr::new("/a::/b"))), "/sim:/a::/b");
    }

    #[test]
    fn separators_are_found() {
        assert_eq!(separator_in(PRELOAD, Path::new("/a b/c.so")), Some(' '));
        assert_eq!(separator_in(PRELOAD, Path::new("/a:b/c.so")), Some(':'));
        assert_eq!(separator_in(AUDIT, Path::new("/a b/c.so")), None);
        assert_eq!(separator_in(LIBRARY_PATH, Path::new("/a;b")), Some(';'));
        assert_eq!(separator_in(PRELOAD, Path::new("/a/c.so")), None);
    }

    #[test]
    fn the_shell_reads_words_back() {
        let words = ["plain/word-1.0", "", "two words", "it's", "$HOME", "a=b", "*", "line\nline", "\"", "é"];
        for word in words {
            let mut line = b"printf %s ".to_vec();
            line.extend(quoted(OsStr::new(word)));
            let output = Command::new("sh").arg("-c").arg(OsString::from_vec(line)).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
        assert_eq!(quoted(OsStr::new("plain")), b"plain");
    }

    #[test]
    fn temporary_files_are_private_and_go_away() {
        let file = TemporaryFile::new().unwrap();
        let path = file.path.clone();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(file);
        assert!(!path.exists());
    }
}
