//! Which file a process writes to.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::SystemTime;

use crate::log;
use crate::platform::{self, Load};

/// The file of this process: `%p` in its name is the process's number. Without that, a process whose file another one has
/// written since this one began, or which is a forked child, has its number before the ending: nobody takes another's place.
pub(super) fn own_file(path: &OsStr) -> OsString {
    let (process, load) = (std::process::id(), platform::load());
    let written = std::fs::symlink_metadata(Path::new(path)).and_then(|file| file.modified()).ok();
    name(path, process, load, written)
}

fn name(path: &OsStr, process: u32, load: &Load, written: Option<SystemTime>) -> OsString {
    let (bytes, number) = (path.as_bytes(), process.to_string());
    let file = bytes.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    if let Some(at) = bytes[file..].windows(2).position(|pair| pair == b"%p") {
        let at = file + at;
        return OsString::from_vec([&bytes[..at], number.as_bytes(), &bytes[at + 2..]].concat());
    }
    if process == load.process && written.is_none_or(|written| written < load.at) {
        return path.to_owned();
    }
    let dot = bytes.iter().rposition(|&byte| byte == b'.').filter(|&dot| dot > file).unwrap_or(bytes.len());
    OsString::from_vec([&bytes[..dot], b".", number.as_bytes(), &bytes[dot..]].concat())
}

/// Warns if a file that was asked for could not be written.
pub(super) fn note_outcome(path: &OsStr, outcome: std::io::Result<()>) {
    if let Err(error) = outcome {
        log::warn_once(format_args!(
            "{} could not be written: {error}; the report or trace is lost; name a file in a folder that this user may write, \
             which is no symbolic link",
            path.to_string_lossy()
        ));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_process_has_a_file_of_its_own() {
        let load = Load { process: 7, at: SystemTime::UNIX_EPOCH + Duration::from_secs(100) };
        let name = |path: &str, process, written: Option<u64>| {
            let written = written.map(|second| SystemTime::UNIX_EPOCH + Duration::from_secs(second));
            name(OsStr::new(path), process, &load, written).into_string().unwrap()
        };
        assert_eq!(name("a.d/report.json", 7, None), "a.d/report.json");
        assert_eq!(name("a.d/report.json", 7, Some(99)), "a.d/report.json");
        assert_eq!(name("a.d/report.json", 7, Some(101)), "a.d/report.7.json");
        assert_eq!(name("a.d/report.json", 8, None), "a.d/report.8.json");
        assert_eq!(name("a.d/report", 8, None), "a.d/report.8");
        assert_eq!(name("%p/%p.html", 7, None), "%p/7.html");
        assert_eq!(name("%p/r.html", 7, None), "%p/r.html");
    }
}
