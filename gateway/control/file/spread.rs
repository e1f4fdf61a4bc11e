//! Pieces of work that are done by several threads at once.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// So many threads at most: those that answer requests need the cores too.
const MOST: usize = 4;

/// Calls `work` for each number below `pieces`; returns when all is done.
pub(super) fn spread(pieces: usize, work: &(dyn Fn(usize) + Sync)) {
    let next = AtomicUsize::new(0);
    let take = || {
        loop {
            let piece = next.fetch_add(1, Ordering::Relaxed);
            if piece >= pieces {
                return;
            }
            work(piece);
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MOST).min(pieces);
    thread::scope(|scope| {
        for _ in 1..threads {
            // What no thread can be made for is done by this one.
            let named = thread::Builder::new().name("weir-file".to_owned());
            let _ = named.spawn_scoped(scope, take);
        }
        take();
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn every_piece_is_done_once() {
        for pieces in [0, 1, 2, 1_000] {
            let done = Mutex::new(Vec::new());
            spread(pieces, &|piece| done.lock().unwrap().push(piece));
            let mut done = done.into_inner().unwrap();
            done.sort_unstable();
            assert_eq!(done, (0..pieces).collect::<Vec<_>>());
        }
    }
}
