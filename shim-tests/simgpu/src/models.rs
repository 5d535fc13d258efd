//! The GPUs that can be simulated, a row each; `SIMGPU_MODEL` chooses, the first is the default.

/// One model, as the driver would describe it.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// What `SIMGPU_MODEL` calls it.
    pub key: &'static str,
    /// What the driver calls it.
    pub name: &'static str,
    /// Compute capability.
    pub capability: (i32, i32),
    /// Streaming multiprocessors.
    pub multiprocessors: i32,
    /// Memory it reports, MiB.
    pub memory_mib: u64,
}

/// All models.
pub const MODELS: &[Model] = &[
    Model {
        key: "rtx5090",
        name: "NVIDIA GeForce RTX 5090",
        capability: (12, 0),
        multiprocessors: 170,
        memory_mib: 32_607,
    },
    Model {
        key: "rtx5060",
        name: "NVIDIA GeForce RTX 5060",
        capability: (12, 0),
        multiprocessors: 30,
        memory_mib: 8_151,
    },
    Model {
        key: "rtx4090",
        name: "NVIDIA GeForce RTX 4090",
        capability: (8, 9),
        multiprocessors: 128,
        memory_mib: 24_564,
    },
    Model {
        key: "h100",
        name: "NVIDIA H100 80GB HBM3",
        capability: (9, 0),
        multiprocessors: 132,
        memory_mib: 81_559,
    },
    Model {
        key: "gtx1080",
        name: "NVIDIA GeForce GTX 1080",
        capability: (6, 1),
        multiprocessors: 20,
        memory_mib: 8_192,
    },
    Model {
        key: "next",
        name: "NVIDIA GeForce RTX 6090 (hypothetical)",
        capability: (13, 0),
        multiprocessors: 192,
        memory_mib: 49_152,
    },
];

/// The model that the environment asks for: `SIMGPU_MODEL`, with `SIMGPU_SM=12.0` overriding its
/// capability and `SIMGPU_MEMORY_MB` its memory. An unknown key is said on standard error.
pub fn chosen() -> Model {
    let key = std::env::var("SIMGPU_MODEL").unwrap_or_default();
    let mut model = MODELS.iter().find(|model| model.key == key).copied().unwrap_or_else(|| {
        if !key.is_empty() {
            let known: Vec<_> = MODELS.iter().map(|model| model.key).collect();
            eprintln!("simgpu: SIMGPU_MODEL={key:?} is unknown; known: {}", known.join(" "));
        }
        MODELS[0]
    });
    if let Some((major, minor)) = std::env::var("SIMGPU_SM").ok().as_deref().and_then(parse_capability) {
        model.capability = (major, minor);
    }
    if let Some(memory) = std::env::var("SIMGPU_MEMORY_MB").ok().and_then(|value| value.parse().ok()) {
        model.memory_mib = memory;
    }
    model
}

fn parse_capability(text: &str) -> Option<(i32, i32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn capabilities_are_parsed_with_their_dot() {
        assert_eq!(super::parse_capability("12.1"), Some((12, 1)));
        assert_eq!(super::parse_capability("120"), None);
    }
}
