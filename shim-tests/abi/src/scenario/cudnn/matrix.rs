//! Random convolutions, in every direction and type, through the legacy interface and as graphs.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};

use gpucompat_cases::conv::{ConvCase, Direction};
use gpucompat_cases::element::Element;

use super::operations::{IDS, convolution_of};
use super::{SUCCESS, create, destroy, graph, legacy};
use crate::lab::Device;

/// What is read and written, and how often it is drawn.
const TYPES: [(Element, Element, u64); 7] = [
    (Element::F32, Element::F32, 6),
    (Element::F16, Element::F16, 3),
    (Element::Bf16, Element::Bf16, 3),
    (Element::F64, Element::F64, 3),
    (Element::F16, Element::F32, 1),
    (Element::I8, Element::F32, 1),
    (Element::I8, Element::I8, 1),
];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The case of a number: direction, types and interface in turn, the rest random.
fn draw(seed: u64) -> (ConvCase, &'static str) {
    let direction = Direction::ALL[(seed % 3) as usize].0;
    let mut place = seed / 3 % TYPES.iter().map(|row| row.2).sum::<u64>();
    let (input, output, _) = *TYPES
        .iter()
        .find(|row| {
            let found = place < row.2;
            place = place.saturating_sub(row.2);
            found
        })
        .unwrap();
    let interface = if (seed / 54).is_multiple_of(2) { "graph" } else { "legacy" };
    // The library knows integers in forward convolutions only, and float filters of half tensors not at all.
    let (input, output) = match (interface, direction) {
        (_, Direction::Forward) if input == Element::I8 => (input, output),
        _ if input == Element::I8 => (Element::F32, Element::F32),
        ("legacy", _) if input != output => (input, input),
        _ => (input, output),
    };
    (ConvCase::random(input, output, direction, seed), interface)
}

/// A case as a graph of one operation.
pub fn run_graph(handle: *mut c_void, case: &ConvCase) -> Result<(), String> {
    let at = |step: &str, status: c_int| {
        if status == SUCCESS { Ok(()) } else { Err(format!("{case}: {step}: status {status}")) }
    };
    let operation = convolution_of(case);
    at("operation", operation.finalize())?;
    let plan =
        graph::plan(handle, &[&operation]).map_err(|status| format!("{case}: plan: status {status}"))?;
    drop(operation);
    let data = case.data();
    let tensors = data.tensors.each_ref().map(|bytes| Device::holding(bytes));
    let addresses = tensors.each_ref().map(|tensor| tensor.address);
    at("execute", graph::execute(handle, &plan, &IDS, &addresses))?;
    legacy::finish(case, &data, &tensors)
}

fn run(handle: *mut c_void, interface: &str, case: &ConvCase) -> Result<(), String> {
    if interface == "graph" {
        run_graph(handle, case)
    } else {
        legacy::run(handle, &case.symmetric().at_least_planar())
    }
}

/// `CONV_CASES` random convolutions from `CONV_SEED` on.
pub fn matrix() {
    let (cases, seed) = (number("CONV_CASES", 3000), number("CONV_SEED", 1));
    let handle = create();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for seed in seed..seed + cases {
        let (case, interface) = draw(seed);
        if let Err(message) = run(handle, interface, &case) {
            wrong.push(format!("conv_one {interface} {message}"));
        }
        let direction = Direction::ALL.iter().find(|row| row.0 == case.direction).map_or("?", |row| row.1);
        let types = format!("{}->{}", case.input.name(), case.output.name());
        *counts.entry(format!("{interface} {direction} {types}")).or_default() += 1;
    }
    destroy(handle);
    for (kind, count) in &counts {
        println!("{count} {kind}");
    }
    println!("cases {cases}");
    println!("kinds {}", counts.len());
    let shown: Vec<_> = wrong.iter().take(10).map(String::as_str).collect();
    assert!(
        wrong.is_empty(),
        "CONV_SEED={seed}: {} of {cases} are wrong:\n{}",
        wrong.len(),
        shown.join("\n")
    );
}

/// One case again: `scenario conv_one graph|legacy 'f32->f32 forward …'`.
pub fn one() {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let [interface, case @ ..] = &arguments[..] else { panic!("usage: scenario conv_one INTERFACE CASE") };
    let case: ConvCase = case.join(" ").parse().unwrap();
    run(create(), interface, &case).unwrap();
}
