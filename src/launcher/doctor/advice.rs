//! The conclusion: what the facts come to, and the one next step.

use serde::Serialize;

use super::device::State;
use super::fatbin::Architecture;
use super::probe::Run;
use super::python::{Build, Torch};
use super::{Facts, OwnLibrary};
use crate::platform;

/// What the facts come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Programs work without gpucompat.
    NativeWorks,
    /// They work with it.
    CompatWorks,
    /// They work with it where it is told to compute everything.
    ForcedWorks,
    /// There is no driver.
    NoDriver,
    /// The driver does not start.
    DriverFails,
    /// The driver has no GPU.
    NoGpu,
    /// The Python does not run.
    NoPython,
    /// It has no PyTorch.
    NoTorch,
    /// Its PyTorch cannot be imported.
    TorchBroken,
    /// Its PyTorch is not built for CUDA.
    TorchWithoutCuda,
    /// Programs fail, and there is no gpucompat to preload.
    NoLibrary,
    /// With gpucompat, results are not the CPU's.
    ResultsDiffer,
    /// With gpucompat, programs fail.
    CompatFails,
    /// Nothing was computed, because that was asked.
    NotProbed,
}

/// The outcome in words, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conclusion {
    /// What the facts come to.
    pub outcome: Outcome,
    /// Whether programs work, if need be with gpucompat.
    pub works: bool,
    /// One sentence.
    pub summary: String,
    /// What to do now.
    pub next_step: String,
    /// What to type for it.
    pub commands: Vec<String>,
    /// What to do instead, in words.
    pub alternatives: Vec<String>,
    /// What else is to be known.
    pub notes: Vec<String>,
}

/// The first PyTorch whose wheels carry sm_120, and the CUDA that they are built for.
const FIRST_TORCH_WITH_SM_120: ((u32, u32), (u32, u32)) = ((2, 7), (12, 8));

/// Draws the conclusion.
pub fn conclude(facts: &Facts) -> Conclusion {
    let mut conclusion = outcome(facts);
    if facts.settings.get("FORCE_GPU_COMPAT_PATCHES").is_some_and(|value| value.trim() == "0")
        && conclusion.outcome == Outcome::CompatWorks
    {
        conclusion.notes.push(
            "FORCE_GPU_COMPAT_PATCHES=0 is set in this environment and turns gpucompat off: unset it"
                .to_owned(),
        );
    }
    if differ(facts) && conclusion.outcome != Outcome::NativeWorks {
        conclusion.notes.push(
            "PyTorch's operators are judged once a process, on the GPU that it uses first: choose one of these GPUs with \
             CUDA_VISIBLE_DEVICES=0, =1, … and ask the doctor again for each"
                .to_owned(),
        );
    }
    conclusion
}

/// Whether the machine has GPUs of several compute capabilities.
fn differ(facts: &Facts) -> bool {
    facts.driver.gpus.windows(2).any(|pair| pair[0].sm != pair[1].sm)
}

fn outcome(facts: &Facts) -> Conclusion {
    without_a_driver(facts).or_else(|| without_a_gpu(facts)).unwrap_or_else(|| match with_pytorch(facts) {
        Ok(torch) => with_everything(facts, torch),
        Err(conclusion) => *conclusion,
    })
}

fn to_do(outcome: Outcome, summary: &str, next_step: &str, commands: &[&str]) -> Conclusion {
    Conclusion {
        outcome,
        works: false,
        summary: summary.to_owned(),
        next_step: next_step.to_owned(),
        commands: commands.iter().map(|&command| command.to_owned()).collect(),
        alternatives: Vec::new(),
        notes: Vec::new(),
    }
}

fn without_a_driver(facts: &Facts) -> Option<Conclusion> {
    match &facts.driver.state {
        State::Ready => None,
        State::Missing { .. } => {
            let mut conclusion = to_do(
                Outcome::NoDriver,
                "There is no NVIDIA driver: libcuda.so.1 cannot be loaded",
                "install NVIDIA's driver",
                &[],
            );
            conclusion.alternatives = vec![
                "Ubuntu: sudo ubuntu-drivers install; Debian: sudo apt install nvidia-driver".to_owned(),
                "in a container: give it the host's driver, docker run --gpus all".to_owned(),
            ];
            Some(conclusion)
        }
        State::Failed { error } => Some(to_do(
            Outcome::DriverFails,
            &format!("The NVIDIA driver does not work: {error}"),
            "repair the driver; it reports more with",
            &["nvidia-smi"],
        )),
    }
}

fn without_a_gpu(facts: &Facts) -> Option<Conclusion> {
    if !facts.driver.gpus.is_empty() {
        return None;
    }
    Some(match facts.settings.get("CUDA_VISIBLE_DEVICES") {
        Some(value) => to_do(
            Outcome::NoGpu,
            &format!("The driver shows no GPU, and CUDA_VISIBLE_DEVICES={value:?} may hide it"),
            "let the GPU be seen",
            &["unset CUDA_VISIBLE_DEVICES"],
        ),
        None => to_do(
            Outcome::NoGpu,
            "The driver shows no GPU",
            "see whether the system does, and whether this process may use it",
            &["lspci -d 10de:", "nvidia-smi"],
        ),
    })
}

fn with_pytorch(facts: &Facts) -> Result<&Build, Box<Conclusion>> {
    let python = &facts.python;
    let Some(found) = &python.found else {
        let error = python.error.as_deref().unwrap_or_default();
        return Err(Box::new(to_do(
            Outcome::NoPython,
            &format!("{} does not answer: {error}", python.command),
            "name the Python that your programs run with",
            &["gpucompat doctor --python PATH"],
        )));
    };
    match &found.torch {
        Torch::Missing => Err(Box::new(to_do(
            Outcome::NoTorch,
            &format!("There is no PyTorch in {}", found.executable),
            "name the Python that your programs run with",
            &["gpucompat doctor --python PATH"],
        ))),
        Torch::Broken { error } => Err(Box::new(to_do(
            Outcome::TorchBroken,
            &format!("PyTorch cannot be imported: {error}"),
            "reinstall the version of PyTorch that your programs need",
            &[&format!("{} -m pip install --force-reinstall torch==VERSION", word(&found.executable))],
        ))),
        Torch::Found(torch) if torch.cuda.is_none() => {
            let what = if torch.rocm.is_some() { "built for AMD's GPUs" } else { "a build without CUDA" };
            Err(Box::new(to_do(
                Outcome::TorchWithoutCuda,
                &format!("PyTorch {} is {what}", torch.version),
                "install a CUDA build of PyTorch (https://pytorch.org/get-started/locally)",
                &[],
            )))
        }
        Torch::Found(torch) => Ok(torch),
    }
}

fn with_everything(facts: &Facts, torch: &Build) -> Conclusion {
    let works = |run: &Option<Run>| run.as_ref().is_some_and(|run| run.works);
    if works(&facts.native) {
        let mut conclusion = to_do(
            Outcome::NativeWorks,
            "The GPU works natively: gpucompat is not needed",
            "remove gpucompat: run programs as they are",
            &["python app.py"],
        );
        conclusion.works = true;
        return conclusion;
    }
    let Some(native) = &facts.native else {
        return to_do(
            Outcome::NotProbed,
            &format!("Nothing was computed; by its headers, PyTorch {}", covers(facts, torch)),
            "let it compute",
            &["gpucompat doctor"],
        );
    };
    if let Some(error) = &facts.library.error {
        return to_do(
            Outcome::NoLibrary,
            &format!("The GPU does not work natively, and gpucompat is not to be had: {error}"),
            "name gpucompat's library",
            &["gpucompat doctor --library PATH"],
        );
    }
    if works(&facts.compat) {
        let mut conclusion = with_gpucompat(facts, torch, Outcome::CompatWorks, "");
        let why = if native.differs() { "computes wrongly" } else { "cannot" };
        conclusion.summary = format!("Programs work with gpucompat: the host computes what the GPU {why}");
        return conclusion;
    }
    if works(&facts.forced) {
        let mut conclusion = with_gpucompat(facts, torch, Outcome::ForcedWorks, "--force ");
        "Programs work if gpucompat computes everything: it took kernels to work that do not"
            .clone_into(&mut conclusion.summary);
        let trusted = facts.compat.as_ref().is_some_and(Run::trusted);
        // Of several GPUs another one may have been judged.
        if !differ(facts) {
            let note = if trusted {
                "the GPU is of an architecture that is not new: the driver or an installation may be damaged"
            } else {
                "gpucompat should have found this out by itself: please report it to its authors"
            };
            conclusion.notes.push(note.to_owned());
        }
        return conclusion;
    }
    let compat = facts.compat.clone().unwrap_or_default();
    let error = compat.error.as_deref().unwrap_or_default();
    let (outcome, summary) = if compat.differs() {
        (Outcome::ResultsDiffer, format!("With gpucompat, results are wrong: {error}"))
    } else {
        (Outcome::CompatFails, format!("Programs fail with gpucompat too: {error}"))
    };
    let debug = format!("{}--debug --log gpucompat.log ", library_option(&facts.library));
    to_do(
        outcome,
        &summary,
        "report it to gpucompat's authors, with what these write",
        &["gpucompat doctor --json > doctor.json", &format!("gpucompat run {debug}-- python app.py")],
    )
}

/// What is typed to run a program with gpucompat, and what would make it superfluous.
fn with_gpucompat(facts: &Facts, torch: &Build, outcome: Outcome, option: &str) -> Conclusion {
    let library = facts.library.path.as_deref().map(word).unwrap_or_default();
    let force = if option.is_empty() { "" } else { "FORCE_GPU_COMPAT_PATCHES=1 " };
    let run = format!("gpucompat run {}{option}-- python app.py", library_option(&facts.library));
    let mut conclusion = to_do(outcome, "", "run programs with gpucompat", &[&run]);
    conclusion.works = true;
    conclusion.alternatives.push(format!("{force}LD_PRELOAD={library} python app.py"));
    for sm in missing(facts, torch) {
        conclusion.alternatives.push(other_build(sm, torch));
    }
    conclusion
}

fn library_option(library: &OwnLibrary) -> String {
    match &library.path {
        Some(path) if library.named => format!("--library {} ", word(path)),
        _ => String::new(),
    }
}

/// The compute capabilities of the GPUs for which PyTorch carries nothing, each once.
fn missing(facts: &Facts, torch: &Build) -> Vec<u32> {
    let carried: Vec<Architecture> =
        torch.arch_list.iter().filter_map(|name| Architecture::parse(name)).collect();
    let mut missing: Vec<u32> = facts
        .driver
        .gpus
        .iter()
        .map(|gpu| gpu.sm)
        .filter(|sm| !carried.iter().any(|architecture| architecture.runs_on(*sm)))
        .collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

fn covers(facts: &Facts, torch: &Build) -> String {
    match missing(facts, torch).as_slice() {
        [] => "has kernels for this GPU".to_owned(),
        missing => {
            let names: Vec<String> = missing.iter().map(|sm| format!("sm_{sm}")).collect();
            format!("has no kernels for {}", names.join(", "))
        }
    }
}

/// A build of PyTorch that would have kernels for `sm`.
fn other_build(sm: u32, torch: &Build) -> String {
    let (first, first_cuda) = FIRST_TORCH_WITH_SM_120;
    let older = version(&torch.version).is_some_and(|version| version < first)
        || torch.cuda.as_deref().and_then(version).is_some_and(|cuda| cuda < first_cuda);
    if sm / 10 == 12 && older {
        "install PyTorch 2.7.0 or newer built for CUDA 12.8 or newer, whose wheels carry sm_120".to_owned()
    } else {
        format!("install a build of PyTorch whose torch.cuda.get_arch_list() has sm_{sm}")
    }
}

/// The first two numbers of a version.
fn version(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = text.split_once('.')?;
    let minor = rest.split(|other: char| !other.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn word(text: &str) -> String {
    String::from_utf8_lossy(&platform::quoted(text.as_ref())).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::tests::facts;

    fn run(works: bool, error: &str) -> Run {
        Run { works, error: (!works).then(|| error.to_owned()), ..Run::default() }
    }

    fn wrong() -> Run {
        let operation = crate::doctor::probe::Operation {
            device: 0,
            name: "matmul".to_owned(),
            status: crate::doctor::probe::Status::Wrong,
            error: None,
        };
        Run {
            error: Some("matmul differs from the CPU's result".to_owned()),
            operations: vec![operation],
            ..Run::default()
        }
    }

    fn torch(facts: &mut Facts) -> &mut Build {
        match &mut facts.python.found.as_mut().unwrap().torch {
            Torch::Found(build) => build,
            other => panic!("{other:?}"),
        }
    }

    fn concluded(facts: &Facts, outcome: Outcome, works: bool) -> Conclusion {
        let conclusion = conclude(facts);
        assert_eq!((conclusion.outcome, conclusion.works), (outcome, works), "{conclusion:?}");
        assert!(!conclusion.summary.is_empty() && !conclusion.next_step.is_empty());
        conclusion
    }

    #[test]
    fn native_works() {
        let mut facts = facts();
        facts.native = Some(run(true, ""));
        let conclusion = concluded(&facts, Outcome::NativeWorks, true);
        assert!(conclusion.next_step.starts_with("remove gpucompat"));
        facts.library.error = Some("not found".to_owned());
        concluded(&facts, Outcome::NativeWorks, true);
    }

    #[test]
    fn compat_works() {
        let conclusion = concluded(&facts(), Outcome::CompatWorks, true);
        assert_eq!(conclusion.commands, ["gpucompat run -- python app.py"]);
        assert_eq!(conclusion.alternatives[0], "LD_PRELOAD=/opt/lib/libgpucompat.so python app.py");
        assert!(conclusion.alternatives[1].contains("PyTorch 2.7.0"), "{conclusion:?}");
    }

    #[test]
    fn a_named_library_is_named_in_the_command() {
        let mut facts = facts();
        facts.library.named = true;
        let conclusion = concluded(&facts, Outcome::CompatWorks, true);
        assert_eq!(
            conclusion.commands,
            ["gpucompat run --library /opt/lib/libgpucompat.so -- python app.py"]
        );
    }

    #[test]
    fn wrong_native_results_are_named() {
        let mut facts = facts();
        facts.native = Some(wrong());
        assert!(concluded(&facts, Outcome::CompatWorks, true).summary.contains("computes wrongly"));
    }

    #[test]
    fn another_build_is_advised_only_where_this_one_lacks_the_architecture() {
        let mut facts = facts();
        "2.10.0+cu128".clone_into(&mut torch(&mut facts).version);
        torch(&mut facts).cuda = Some("12.8".to_owned());
        torch(&mut facts).arch_list.push("sm_120".to_owned());
        assert_eq!(concluded(&facts, Outcome::CompatWorks, true).alternatives.len(), 1);
        facts.driver.gpus[0].sm = 130;
        let conclusion = concluded(&facts, Outcome::CompatWorks, true);
        assert!(conclusion.alternatives[1].ends_with("has sm_130"), "{conclusion:?}");
    }

    #[test]
    fn turned_off_by_the_environment_is_noted() {
        let mut facts = facts();
        facts.settings.insert("FORCE_GPU_COMPAT_PATCHES".to_owned(), "0".to_owned());
        assert_eq!(concluded(&facts, Outcome::CompatWorks, true).notes.len(), 1);
    }

    #[test]
    fn what_fails_by_itself_and_works_by_force_says_so() {
        let mut facts = facts();
        facts.compat = Some(run(false, "no kernel image"));
        facts.forced = Some(run(true, ""));
        let conclusion = concluded(&facts, Outcome::ForcedWorks, true);
        assert_eq!(conclusion.commands, ["gpucompat run --force -- python app.py"]);
        assert!(conclusion.alternatives[0].starts_with("FORCE_GPU_COMPAT_PATCHES=1 LD_PRELOAD="));
        assert!(conclusion.notes[0].contains("please report it"));
        let verdict = crate::doctor::probe::Verdict {
            library: "operators".to_owned(),
            device: 0,
            mode: "native".to_owned(),
            reason: "trusted_sm_89".to_owned(),
            meaning: String::new(),
        };
        facts.compat.as_mut().unwrap().verdicts.push(verdict);
        assert!(
            concluded(&facts, Outcome::ForcedWorks, true).notes[0].contains("the driver or an installation")
        );
    }

    #[test]
    fn where_gpus_differ_one_is_to_be_chosen() {
        let mut facts = facts();
        let other = crate::doctor::device::Gpu { device: 1, sm: 89, ..facts.driver.gpus[0].clone() };
        facts.driver.gpus.push(other);
        facts.compat = Some(run(false, "no kernel image"));
        facts.forced = Some(run(true, ""));
        let notes = concluded(&facts, Outcome::ForcedWorks, true).notes;
        assert!(notes.len() == 1 && notes[0].contains("CUDA_VISIBLE_DEVICES"), "{notes:?}");
    }

    #[test]
    fn failing_and_differing_is_to_be_reported() {
        let mut facts = facts();
        facts.compat = Some(run(false, "killed by signal 11"));
        let conclusion = concluded(&facts, Outcome::CompatFails, false);
        assert!(conclusion.next_step.starts_with("report it") && conclusion.summary.contains("signal 11"));
        facts.compat = Some(wrong());
        concluded(&facts, Outcome::ResultsDiffer, false);
    }

    #[test]
    fn no_driver_a_failing_one_and_no_gpu() {
        let mut facts = facts();
        facts.driver.gpus.clear();
        concluded(&facts, Outcome::NoGpu, false);
        facts.settings.insert("CUDA_VISIBLE_DEVICES".to_owned(), String::new());
        assert!(concluded(&facts, Outcome::NoGpu, false).summary.contains("CUDA_VISIBLE_DEVICES=\"\""));
        facts.driver.state = State::Failed { error: "cuInit failed with 999".to_owned() };
        concluded(&facts, Outcome::DriverFails, false);
        facts.driver.state = State::Missing { error: "not found".to_owned() };
        concluded(&facts, Outcome::NoDriver, false);
    }

    #[test]
    fn no_python_no_torch_a_broken_one_and_one_without_cuda() {
        let mut facts = facts();
        torch(&mut facts).cuda = None;
        let conclusion = concluded(&facts, Outcome::TorchWithoutCuda, false);
        assert!(conclusion.next_step.starts_with("install a CUDA build"));
        facts.python.found.as_mut().unwrap().torch = Torch::Broken { error: "OSError: x".to_owned() };
        concluded(&facts, Outcome::TorchBroken, false);
        facts.python.found.as_mut().unwrap().torch = Torch::Missing;
        assert!(concluded(&facts, Outcome::NoTorch, false).commands[0].contains("--python"));
        facts.python.found = None;
        facts.python.error = Some("No such file".to_owned());
        concluded(&facts, Outcome::NoPython, false);
    }

    #[test]
    fn no_library_and_not_probed() {
        let mut facts = facts();
        facts.library.error = Some("not found".to_owned());
        facts.compat = None;
        concluded(&facts, Outcome::NoLibrary, false);
        facts.native = None;
        let conclusion = concluded(&facts, Outcome::NotProbed, false);
        assert!(conclusion.summary.ends_with("has no kernels for sm_120"), "{conclusion:?}");
    }
}
