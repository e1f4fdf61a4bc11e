//! Many rollouts of one world, over the processors, and what is counted of them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What comes of seeds 1 to `runs`, in their order.
pub(crate) fn each<T: Send>(runs: u64, threads: usize, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(1);
    let all = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > runs {
                        return;
                    }
                    let ran = run(seed);
                    all.lock().expect("no run panics while it holds the lock").push((seed, ran));
                }
            });
        }
    });
    let mut all = all.into_inner().expect("no run panics while it holds the lock");
    all.sort_by_key(|(seed, _)| *seed);
    all.into_iter().map(|(_, ran)| ran).collect()
}

/// The most rollouts that may go wrong where a part of `claimed` may: three standard deviations above.
pub(crate) fn most(claimed: f64, runs: u64) -> u64 {
    ((claimed + 3.0 * (claimed / runs as f64).sqrt()) * runs as f64).floor() as u64
}

/// The middle one; `None` when more than half are missing.
pub(crate) fn median(mut found: Vec<f64>, of: usize) -> Option<f64> {
    found.sort_by(f64::total_cmp);
    found.get(of.saturating_sub(1) / 2).copied()
}

/// The interval of a share, at 95 % (Wilson).
pub(crate) fn share(hits: u64, runs: u64) -> (f64, f64) {
    let (n, z) = (runs as f64, 1.96);
    let p = hits as f64 / n;
    let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

/// Holds false alarms to what is claimed.
pub(crate) fn hold(name: &str, claimed: f64, wrong: u64, runs: u64) -> Result<(), String> {
    let most = most(claimed, runs);
    if wrong <= most { Ok(()) } else { Err(format!("{name}: {wrong} of {runs}, at most {most} may be")) }
}
