//! The same computation in processes with different numbers of threads.

use gpucompat_engine::set_threads;

const THREADS: &str = "GPUCOMPAT_TEST_THREADS";
const OUT: &str = "GPUCOMPAT_TEST_OUT";

/// Panics unless `fingerprint` gives the same numbers with 1, 2 and 3 threads. `test` is the name of the
/// test that calls this: it is run again, alone, once for each.
pub fn same_with_any_number_of_threads(test: &str, fingerprint: impl Fn() -> Vec<f64>) {
    if let Ok(threads) = std::env::var(THREADS) {
        set_threads(threads.parse().unwrap());
        let bytes: Vec<u8> = fingerprint().iter().flat_map(|number| number.to_bits().to_le_bytes()).collect();
        std::fs::write(std::env::var(OUT).unwrap(), bytes).unwrap();
        return;
    }
    let run = |threads: usize| {
        let out = std::env::temp_dir().join(format!("gpucompat-{test}-{}-{threads}", std::process::id()));
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env(THREADS, threads.to_string())
            .env(OUT, &out)
            .status()
            .unwrap();
        assert!(status.success());
        let bytes = std::fs::read(&out).unwrap();
        std::fs::remove_file(out).unwrap();
        bytes
    };
    let one = run(1);
    assert!(!one.is_empty());
    assert!(one == run(2), "two threads give other bits than one");
    assert!(one == run(3), "three threads give other bits than one");
}
