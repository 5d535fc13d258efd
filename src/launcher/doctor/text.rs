//! The page that people read: the conclusion first, then the facts in aligned rows.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::advice::Conclusion;
use super::device::State;
use super::fatbin::{Architecture, Kind};
use super::probe::{Run, Status};
use super::python::{Build, Torch};
use super::{Facts, family};

/// Where the second column begins.
const INDENT: usize = 12;
/// Code that is rarer than one piece in so many is not named: a few kernels do not make a library run.
const RARE: u64 = 20;

/// Rows of a label and lines; a label stands in front of its first line only.
struct Page(String);

impl Page {
    fn row(&mut self, label: &str, line: &str) {
        writeln!(self.0, "{label:INDENT$}{line}").expect("a string takes every byte");
    }

    fn rows<S: AsRef<str>>(&mut self, label: &str, lines: impl IntoIterator<Item = S>) {
        for (index, line) in lines.into_iter().enumerate() {
            self.row(if index == 0 { label } else { "" }, line.as_ref());
        }
    }
}

/// The whole page.
pub fn page(facts: &Facts, conclusion: &Conclusion) -> String {
    let mut page = Page(format!("{}.\n\n", conclusion.summary));
    page.row("next step", &conclusion.next_step);
    page.rows("", conclusion.commands.iter().map(|command| format!("    {command}")));
    page.rows("", conclusion.alternatives.iter().map(|alternative| format!("or  {alternative}")));
    page.rows("note", &conclusion.notes);
    page.0.push('\n');
    driver(facts, &mut page);
    python(facts, &mut page);
    page.rows("kernels", kernels(facts));
    if let Some(native) = &facts.native {
        page.rows("native", run(native));
    }
    if let Some(compat) = &facts.compat {
        page.rows("gpucompat", run(compat));
    }
    if let Some(forced) = &facts.forced {
        page.rows("--force", run(forced));
    }
    let library = &facts.library;
    page.rows("library", library.path.iter().chain(&library.error));
    page.rows("settings", facts.settings.iter().map(|(name, value)| format!("{name}={value}")));
    page.0
}

fn driver(facts: &Facts, page: &mut Page) {
    let driver = &facts.driver;
    match &driver.state {
        State::Ready => {
            let version = driver.version.as_ref().map_or_else(String::new, |version| format!("{version}, "));
            let cuda = driver.cuda.as_deref().unwrap_or("of unknown version");
            page.row("driver", &format!("{version}CUDA {cuda}"));
        }
        State::Missing { error } | State::Failed { error } => page.row("driver", error),
    }
    if driver.state == State::Ready && driver.gpus.is_empty() {
        page.row("GPU", "none");
    }
    for gpu in &driver.gpus {
        let gibibytes = gpu.memory as f64 / f64::from(1 << 30);
        page.row(&format!("GPU {}", gpu.device), &format!("{}, sm_{}, {gibibytes:.1} GiB", gpu.name, gpu.sm));
    }
}

fn python(facts: &Facts, page: &mut Page) {
    let Some(found) = &facts.python.found else {
        let error = facts.python.error.as_deref().unwrap_or_default();
        page.row("Python", &format!("{}: {error}", facts.python.command));
        return;
    };
    page.row("Python", &format!("{}, {}", found.version, found.executable));
    match &found.torch {
        Torch::Missing => page.row("PyTorch", "none"),
        Torch::Broken { error } => page.row("PyTorch", error),
        Torch::Found(torch) => page.rows("PyTorch", build(torch)),
    }
}

fn build(torch: &Build) -> Vec<String> {
    let mut first = torch.version.clone();
    if let Some(cuda) = &torch.cuda {
        write!(first, ", CUDA {cuda}").expect("a string takes every byte");
    }
    if let Some(cublas) = &torch.cublas {
        write!(first, ", cuBLAS {cublas}").expect("a string takes every byte");
    }
    if let Some(cudnn) = torch.cudnn {
        // From version 9 on, the minor version begins one digit higher up.
        let unit = if cudnn >= 90000 { 10000 } else { 1000 };
        write!(first, ", cuDNN {}.{}.{}", cudnn / unit, cudnn % unit / 100, cudnn % 100)
            .expect("a string takes every byte");
    }
    let mut lines = vec![first];
    if !torch.arch_list.is_empty() {
        lines.push(format!("built for {}", torch.arch_list.join(" ")));
    }
    lines
}

/// A line a family of libraries: whether the GPUs can run what it carries, and what that is.
fn kernels(facts: &Facts) -> Vec<String> {
    let mut families: BTreeMap<&str, BTreeMap<Architecture, u64>> = BTreeMap::new();
    let mut lines = Vec::new();
    for binary in &facts.binaries {
        if let Some(error) = &binary.error {
            lines.push(format!("{}: {error}", binary.path));
        }
        let Some(family) = family(&binary.file) else { continue };
        for carried in &binary.architectures {
            if let Some(architecture) = Architecture::parse(&carried.name) {
                *families.entry(family).or_default().entry(architecture).or_default() += carried.count;
            }
        }
    }
    let mut sms: Vec<u32> = facts.driver.gpus.iter().map(|gpu| gpu.sm).collect();
    sms.sort_unstable();
    sms.dedup();
    for (family, counts) in families {
        let most = counts.values().copied().max().unwrap_or_default();
        let carried: Vec<Architecture> = counts
            .iter()
            .filter(|(_, count)| **count * RARE >= most)
            .map(|(architecture, _)| *architecture)
            .collect();
        let names: Vec<String> = carried.iter().map(Architecture::to_string).collect();
        let mut line = format!("{family:<15}");
        for sm in &sms {
            let answer = match best(&carried, *sm) {
                None => "no code".to_owned(),
                Some(architecture) => architecture.to_string(),
            };
            write!(line, "for sm_{sm}: {answer:<13}").expect("a string takes every byte");
        }
        write!(line, "of {}", names.join(" ")).expect("a string takes every byte");
        lines.push(line);
    }
    lines
}

/// The code that a device would run: machine code before PTX, the nearest before older.
fn best(carried: &[Architecture], sm: u32) -> Option<&Architecture> {
    carried
        .iter()
        .filter(|architecture| architecture.runs_on(sm))
        .max_by_key(|architecture| (architecture.kind == Kind::Sass, architecture.sm))
}

fn run(run: &Run) -> Vec<String> {
    let names = |status: Status| {
        let mut names: Vec<&str> = Vec::new();
        for operation in run.operations.iter().filter(|operation| operation.status == status) {
            if !names.contains(&operation.name.as_str()) {
                names.push(&operation.name);
            }
        }
        names.join(", ")
    };
    let mut lines = vec![match &run.error {
        None => format!("works: {} agree with the CPU", names(Status::Right)),
        Some(error) => format!("fails: {error}"),
    }];
    for (status, what) in [(Status::Wrong, "wrong"), (Status::Error, "failed"), (Status::Right, "right")] {
        let names = names(status);
        if run.error.is_some() && !names.is_empty() {
            lines.push(format!("{what}: {names}"));
        }
    }
    lines.extend(run.verdicts.iter().map(|verdict| {
        let place = if verdict.device > 0 { format!(" (GPU {})", verdict.device) } else { String::new() };
        format!("{:<11}{:<8}{}{place}", verdict.library, verdict.mode, verdict.meaning)
    }));
    if let Some(memory) = &run.memory {
        lines.push(format!("PyTorch's device memory lies on the {memory}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::advice::conclude;
    use crate::doctor::tests::facts;

    #[test]
    fn the_conclusion_is_the_first_line() {
        let facts = facts();
        let page = page(&facts, &conclude(&facts));
        assert_eq!(
            page,
            "\
Programs work with gpucompat: the host computes what the GPU cannot.

next step   run programs with gpucompat
                gpucompat run -- python app.py
            or  LD_PRELOAD=/opt/lib/libgpucompat.so python app.py
            or  install PyTorch 2.7.0 or newer built for CUDA 12.8 or newer, whose wheels carry sm_120

driver      570.86.10, CUDA 12.8
GPU 0       NVIDIA GeForce RTX 5090, sm_120, 31.8 GiB
Python      3.11.7, /usr/bin/python3
PyTorch     2.5.1+cu124, CUDA 12.4, cuBLAS 12.4.5, cuDNN 9.1.0
            built for sm_80 sm_90
kernels     libtorch_cuda  for sm_120: no code      of sm_80 sm_90
native      fails: RuntimeError: CUDA error: no kernel image
            failed: add
gpucompat   works: add agree with the CPU
            operators  compat  PyTorch's own kernels hold no code that runs on sm_120
            PyTorch's device memory lies on the host
library     /opt/lib/libgpucompat.so
"
        );
    }

    #[test]
    fn the_nearest_machine_code_is_named() {
        let carried = |names: &[&str]| -> Vec<Architecture> {
            names.iter().filter_map(|name| Architecture::parse(name)).collect()
        };
        let best = |names: &[&str], sm| best(&carried(names), sm).map(ToString::to_string);
        assert_eq!(best(&["sm_80", "sm_86", "sm_90", "compute_89"], 89).as_deref(), Some("sm_86"));
        assert_eq!(best(&["sm_80", "compute_52", "compute_90"], 120).as_deref(), Some("compute_90"));
        assert_eq!(best(&["sm_80"], 120), None);
    }

    #[test]
    fn both_ways_of_numbering_cudnn_are_read() {
        let mut torch = Build {
            version: "2.1.2".to_owned(),
            cuda: Some("12.1".to_owned()),
            rocm: None,
            cublas: None,
            cudnn: Some(8902),
            arch_list: Vec::new(),
            folders: Vec::new(),
        };
        assert_eq!(build(&torch), ["2.1.2, CUDA 12.1, cuDNN 8.9.2"]);
        torch.cudnn = Some(91002);
        assert_eq!(build(&torch), ["2.1.2, CUDA 12.1, cuDNN 9.10.2"]);
    }
}
