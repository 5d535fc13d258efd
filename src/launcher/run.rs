//! `gpucompat run`: sets the environment and becomes the program.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;

use crate::platform::{self, AUDIT, AUDIT_LIBRARY, LIBRARY, LIBRARY_PATH, PRELOAD, RUNTIME_PREFIX};
use crate::{complain, failed, print};

/// This command's own failures, as `env` and `timeout` have it: the program's exit statuses stay its own.
const REFUSED: u8 = 125;
/// The program is there and cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// There is no such program.
const NOT_FOUND: u8 = 127;

/// The options of `gpucompat run`.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[expect(clippy::option_option, reason = "an option whose value is optional, as clap has it")]
pub struct Arguments {
    /// Compute everything supported on the host, whatever the device can do
    #[arg(long, conflicts_with = "off")]
    force: bool,
    /// Pass every call to the native libraries unchanged
    #[arg(long)]
    off: bool,
    /// Log every verdict and every served call to standard error
    #[arg(long)]
    debug: bool,
    /// Do not say that gpucompat is active
    #[arg(long)]
    quiet: bool,
    /// Append what --debug would say to a file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// At exit, say what was served: on standard error, or in a file
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    stats: Option<Option<PathBuf>>,
    /// Write a trace of the served calls to a file
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Run on the simulated GPU, which refuses every kernel, e.g. --sim rtx4090
    #[arg(long, value_name = "MODEL", num_args = 0..=1)]
    sim: Option<Option<OsString>>,
    /// Reach programs that open the CUDA libraries themselves (dlopen)
    #[arg(long)]
    audit: bool,
    /// Print the shell line that does the same, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// The library to preload, instead of the one that lies beside this command or in ../lib
    #[arg(long, value_name = "PATH")]
    library: Option<PathBuf>,
    /// The simulated GPU's folder, instead of simgpu-12 beside the library or one folder up
    #[arg(long, value_name = "DIR", requires = "sim")]
    simgpu: Option<PathBuf>,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
}

/// Why the program was not started.
#[derive(Debug)]
pub enum Refusal {
    /// No library in any of these places.
    NoLibrary(Vec<PathBuf>),
    /// The audit library is not beside the library.
    NoAuditLibrary(PathBuf),
    /// No simulated GPU in any of these folders.
    NoSimulator(Vec<PathBuf>),
    /// A path that cannot stand in the dynamic linker's variable.
    Separator {
        /// The variable.
        variable: &'static str,
        /// The path.
        path: PathBuf,
        /// The character in it that separates paths there.
        separator: char,
    },
    /// A report of a kind that there is none of.
    ReportKind(PathBuf),
    /// The system does not say where something is.
    Io(io::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |paths: &[PathBuf]| {
            let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            paths.join(", ")
        };
        match self {
            Refusal::NoLibrary(places) => {
                write!(f, "{LIBRARY} not found; looked for {}. Name it with --library PATH", list(places))
            }
            Refusal::NoAuditLibrary(place) => {
                write!(
                    f,
                    "{} not found: --audit needs it beside {LIBRARY} (cargo build --release -p gpucompat-audit)",
                    place.display()
                )
            }
            Refusal::NoSimulator(places) => write!(
                f,
                "no simulated GPU (a folder with {RUNTIME_PREFIX}*) in {}. Build it in gpucompat's sources with \
                 `bash shim-tests/simgpu/build.sh target/simgpu-12`, or name its folder with --simgpu DIR",
                list(places)
            ),
            Refusal::Separator { variable, path, separator } => write!(
                f,
                "{} cannot stand in {variable}, where {separator:?} separates paths: move it, or link it from a \
                 folder without spaces and colons in its path",
                path.display()
            ),
            Refusal::ReportKind(path) => {
                write!(f, "--stats={}: a report's name ends in .json or .html", path.display())
            }
            Refusal::Io(error) => write!(f, "{error}"),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Io(error)
    }
}

/// What is set, and what is run.
#[derive(Debug)]
struct Plan<'a> {
    variables: Vec<(&'static str, OsString)>,
    command: &'a [OsString],
}

/// Runs the program, or prints how.
pub fn main(arguments: &Arguments) -> ExitCode {
    let plan = match library(arguments.library.as_deref())
        .and_then(|library| plan(arguments, &library, &|name| std::env::var_os(name)))
    {
        Ok(plan) => plan,
        Err(refusal) => {
            complain(&refusal.to_string());
            return ExitCode::from(REFUSED);
        }
    };
    if arguments.dry_run {
        return print(&plan.shell_line()).map_or_else(failed, |()| ExitCode::SUCCESS);
    }
    let program = &plan.command[0];
    let mut command = Command::new(program);
    command.args(&plan.command[1..]).envs(plan.variables.iter().map(|(name, value)| (name, value)));
    let error = platform::exec(command);
    complain(&format!("cannot run {}: {error}", program.display()));
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE })
}

/// Where the library is: the given path, else beside this command, else in the `lib` folder next to its folder.
pub fn library(given: Option<&Path>) -> Result<PathBuf, Refusal> {
    let candidates = match given {
        Some(path) => vec![std::path::absolute(path)?],
        None => places(&std::env::current_exe()?),
    };
    first_file(candidates).map_err(Refusal::NoLibrary)
}

fn places(executable: &Path) -> Vec<PathBuf> {
    let Some(folder) = executable.parent() else { return Vec::new() };
    let mut places = vec![folder.join(LIBRARY)];
    if let Some(prefix) = folder.parent() {
        places.push(prefix.join("lib").join(LIBRARY));
        places.push(prefix.join("lib").join("gpucompat").join(LIBRARY));
    }
    places
}

fn first_file(candidates: Vec<PathBuf>) -> Result<PathBuf, Vec<PathBuf>> {
    candidates.iter().find(|path| path.is_file()).cloned().ok_or(candidates)
}

fn plan<'a>(
    arguments: &'a Arguments,
    library: &Path,
    lookup: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Plan<'a>, Refusal> {
    let mut preloaded = vec![library.to_owned()];
    let mut variables = Vec::new();
    if let Some(model) = &arguments.sim {
        let (folder, runtimes) = simulator(arguments.simgpu.as_deref(), library)?;
        check(LIBRARY_PATH, &folder)?;
        preloaded.extend(runtimes);
        variables.push((LIBRARY_PATH, platform::prepend_folder(&folder, lookup(LIBRARY_PATH).as_deref())));
        variables.extend(model.iter().map(|model| ("SIMGPU_MODEL", model.clone())));
    }
    for path in &preloaded {
        check(PRELOAD, path)?;
    }
    let first: Vec<&Path> = preloaded.iter().map(PathBuf::as_path).collect();
    variables.insert(0, (PRELOAD, platform::prepend_libraries(PRELOAD, &first, lookup(PRELOAD).as_deref())));
    if arguments.audit {
        let audit = library.with_file_name(AUDIT_LIBRARY);
        check(AUDIT, &audit)?;
        if !audit.is_file() {
            return Err(Refusal::NoAuditLibrary(audit));
        }
        variables.push((AUDIT, platform::prepend_libraries(AUDIT, &[&audit], lookup(AUDIT).as_deref())));
    }
    let flags = [
        (arguments.force, "FORCE_GPU_COMPAT_PATCHES", "1"),
        (arguments.off, "FORCE_GPU_COMPAT_PATCHES", "0"),
        (arguments.debug, "GPU_COMPAT_DEBUG", "1"),
        (arguments.quiet, "GPU_COMPAT_QUIET", "1"),
        (matches!(arguments.stats, Some(None)), "GPU_COMPAT_STATS", "1"),
    ];
    variables.extend(
        flags.iter().filter(|(given, ..)| *given).map(|(_, name, value)| (*name, OsString::from(value))),
    );
    if let Some(Some(report)) = &arguments.stats
        && !report
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("json") || ending.eq_ignore_ascii_case("html"))
    {
        return Err(Refusal::ReportKind(report.clone()));
    }
    let files = [
        (arguments.log.as_ref(), "GPU_COMPAT_LOG"),
        (arguments.stats.as_ref().and_then(Option::as_ref), "GPU_COMPAT_STATS"),
        (arguments.trace.as_ref(), "GPU_COMPAT_TRACE"),
    ];
    for (file, name) in files {
        if let Some(file) = file {
            // Absolute, so that a program that changes its folder first does not move the file, and 1 is a file's name.
            variables.push((name, std::path::absolute(file)?.into_os_string()));
        }
    }
    Ok(Plan { variables, command: &arguments.command })
}

/// Whether the path can stand in the variable.
pub fn check(variable: &'static str, path: &Path) -> Result<(), Refusal> {
    match platform::separator_in(variable, path) {
        Some(separator) => Err(Refusal::Separator { variable, path: path.to_owned(), separator }),
        None => Ok(()),
    }
}

/// The simulated GPU's folder and the runtimes in it.
fn simulator(given: Option<&Path>, library: &Path) -> Result<(PathBuf, Vec<PathBuf>), Refusal> {
    let folders: Vec<PathBuf> = if let Some(folder) = given {
        vec![std::path::absolute(folder)?]
    } else {
        library.ancestors().skip(1).take(2).map(|folder| folder.join("simgpu-12")).collect()
    };
    for folder in &folders {
        let mut runtimes: Vec<PathBuf> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(RUNTIME_PREFIX))
            .map(|entry| entry.path())
            .collect();
        if !runtimes.is_empty() {
            runtimes.sort();
            return Ok((folder.clone(), runtimes));
        }
    }
    Err(Refusal::NoSimulator(folders))
}

impl Plan<'_> {
    /// One line that a POSIX shell runs to the same effect.
    fn shell_line(&self) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> = Vec::new();
        for (name, value) in &self.variables {
            let mut word = format!("{name}=").into_bytes();
            word.extend(platform::quoted(value));
            words.push(word);
        }
        words.extend(self.command.iter().map(|word| platform::quoted(OsStr::new(word))));
        let mut line = words.join(&b' ');
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        run: Arguments,
    }

    fn parse(words: &[&str]) -> Arguments {
        Command::try_parse_from([&["run"], words].concat()).unwrap_or_else(|error| panic!("{error}")).run
    }

    fn variables(words: &[&str], environment: &[(&str, &str)]) -> Vec<(&'static str, String)> {
        let arguments = parse(words);
        let lookup = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        let plan = plan(&arguments, Path::new("/lib/libgpucompat.so"), &lookup).unwrap();
        plan.variables.into_iter().map(|(name, value)| (name, value.into_string().unwrap())).collect()
    }

    /// A folder with these empty files in it, removed when dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn with(name: &str, files: &[&str]) -> Folder {
            let folder = std::env::temp_dir().join(format!("gpucompat-run-{name}-{}", std::process::id()));
            for file in files {
                let file = folder.join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, "").unwrap();
            }
            Folder(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn every_flag_is_its_variable() {
        assert_eq!(variables(&["--", "p"], &[]), [(PRELOAD, "/lib/libgpucompat.so".to_owned())]);
        let set = variables(
            &["--force", "--debug", "--quiet", "--log", "/l", "--stats", "--trace", "/t", "--", "p"],
            &[],
        );
        let names = ["FORCE_GPU_COMPAT_PATCHES", "GPU_COMPAT_DEBUG", "GPU_COMPAT_QUIET", "GPU_COMPAT_STATS"];
        for name in names {
            assert!(set.contains(&(name, "1".to_owned())), "{name} in {set:?}");
        }
        assert!(set.contains(&("GPU_COMPAT_LOG", "/l".to_owned())));
        assert!(set.contains(&("GPU_COMPAT_TRACE", "/t".to_owned())));
        let set = variables(&["--off", "--stats=/s.json", "--", "p"], &[]);
        assert!(set.contains(&("FORCE_GPU_COMPAT_PATCHES", "0".to_owned())));
        assert!(set.contains(&("GPU_COMPAT_STATS", "/s.json".to_owned())));
    }

    #[test]
    fn force_and_off_contradict_each_other() {
        assert!(Command::try_parse_from(["run", "--force", "--off", "--", "p"]).is_err());
        assert!(Command::try_parse_from(["run"]).is_err());
    }

    #[test]
    fn the_users_preloads_stay() {
        let set = variables(&["--", "p"], &[(PRELOAD, "/a/libx.so")]);
        assert_eq!(set[0].1, "/lib/libgpucompat.so /a/libx.so");
    }

    #[test]
    fn the_simulated_gpu_is_found_beside_the_library_or_above() {
        for place in ["release/simgpu-12/libcudart.so.12", "simgpu-12/libcudart.so.12"] {
            let root = Folder::with(&place.replace('/', "-"), &["release/libgpucompat.so", place]);
            let arguments = parse(&["--sim", "rtx4090", "--", "p"]);
            let library = root.0.join("release/libgpucompat.so");
            let plan = plan(&arguments, &library, &|_| Some(OsString::from("/before"))).unwrap();
            let value =
                |name| plan.variables.iter().find(|row| row.0 == name).map(|row| row.1.to_str().unwrap());
            let runtime = root.0.join(place);
            let preload = format!("{} {} /before", library.display(), runtime.display());
            assert_eq!(value(PRELOAD), Some(preload.as_str()));
            let folders = format!("{}:/before", runtime.parent().unwrap().display());
            assert_eq!(value(LIBRARY_PATH), Some(folders.as_str()));
            assert_eq!(value("SIMGPU_MODEL"), Some("rtx4090"));
        }
    }

    #[test]
    fn a_missing_simulated_gpu_says_how_to_build_it() {
        let arguments = parse(&["--sim", "--", "p"]);
        let refusal = plan(&arguments, Path::new("/nowhere/libgpucompat.so"), &|_| None).unwrap_err();
        assert!(refusal.to_string().contains("bash shim-tests/simgpu/build.sh"), "{refusal}");
    }

    #[test]
    fn a_path_that_the_linker_would_split_is_refused() {
        let arguments = parse(&["--", "p"]);
        let refusal = plan(&arguments, Path::new("/my lib/libgpucompat.so"), &|_| None).unwrap_err();
        assert!(refusal.to_string().contains("LD_PRELOAD, where ' ' separates paths"), "{refusal}");
    }

    #[test]
    fn the_audit_library_lies_beside_the_library() {
        let root = Folder::with("audit", &["libgpucompat.so", AUDIT_LIBRARY]);
        let arguments = parse(&["--audit", "--", "p"]);
        let plan_ = plan(&arguments, &root.0.join(LIBRARY), &|_| None).unwrap();
        assert!(plan_.variables.contains(&(AUDIT, root.0.join(AUDIT_LIBRARY).into_os_string())));
        assert!(matches!(
            plan(&arguments, Path::new("/nowhere/libgpucompat.so"), &|_| None),
            Err(Refusal::NoAuditLibrary(_))
        ));
    }

    #[test]
    fn the_library_is_looked_for_beside_the_command_and_in_lib() {
        let names: Vec<String> =
            places(Path::new("/opt/bin/gpucompat")).iter().map(|path| path.display().to_string()).collect();
        assert_eq!(
            names,
            ["/opt/bin/libgpucompat.so", "/opt/lib/libgpucompat.so", "/opt/lib/gpucompat/libgpucompat.so"]
        );
        let refusal = library(Some(Path::new("/nowhere/x.so"))).unwrap_err();
        assert!(refusal.to_string().contains("/nowhere/x.so"), "{refusal}");
    }

    #[test]
    fn the_line_is_quoted() {
        let arguments = parse(&["--debug", "--", "python", "-c", "print('a b')"]);
        let plan = plan(&arguments, Path::new("/lib/libgpucompat.so"), &|_| None).unwrap();
        let line = String::from_utf8(plan.shell_line()).unwrap();
        assert_eq!(
            line,
            "LD_PRELOAD=/lib/libgpucompat.so GPU_COMPAT_DEBUG=1 python -c 'print('\\''a b'\\'')'\n"
        );
    }
}
