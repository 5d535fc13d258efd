//! How many threads compute, and the pool they live in.
//!
//! The pool belongs to the engine, so that it neither takes the threads of the program's own rayon pool
//! nor is sized by it, and is made at the first product that wants more than one thread.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::{ThreadPool, ThreadPoolBuilder};

static WANTED: AtomicUsize = AtomicUsize::new(0);
static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();

/// Sets how many threads compute (at least 1); counts only before the first large product.
pub fn set_threads(threads: usize) {
    WANTED.store(threads.max(1), Ordering::Relaxed);
}

/// How many threads compute: what was set, or the cores this process may use.
pub fn threads() -> usize {
    match WANTED.load(Ordering::Relaxed) {
        0 => std::thread::available_parallelism().map_or(1, Into::into),
        wanted => wanted,
    }
}

/// Runs `body(i)` for every `i < count`, spread over the pool; in order on this thread where one thread is
/// enough or no more can be made.
pub fn for_each(count: usize, body: impl Fn(usize) + Send + Sync) {
    use rayon::prelude::*;
    let pool = if count < 2 || threads() < 2 { None } else { pool() };
    match pool {
        Some(pool) => pool.install(|| (0..count).into_par_iter().with_max_len(1).for_each(body)),
        None => (0..count).for_each(body),
    }
}

/// Runs `body(start, chunk)` for consecutive chunks of `data`, `start` being the chunk's first index.
pub fn for_each_chunk<T: Send>(data: &mut [T], length: usize, body: impl Fn(usize, &mut [T]) + Send + Sync) {
    use rayon::prelude::*;
    let pool = if data.len() <= length || threads() < 2 { None } else { pool() };
    let chunk = |(index, chunk): (usize, &mut [T])| body(index * length, chunk);
    match pool {
        Some(pool) => pool.install(|| data.par_chunks_mut(length).enumerate().for_each(chunk)),
        None => data.chunks_mut(length).enumerate().for_each(chunk),
    }
}

fn pool() -> Option<&'static ThreadPool> {
    let make = || {
        ThreadPoolBuilder::new()
            .num_threads(threads())
            .thread_name(|index| format!("gpucompat-{index}"))
            .build()
            .ok()
    };
    POOL.get_or_init(make).as_ref()
}
