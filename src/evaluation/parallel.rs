//! Work on all cores.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Splits `count` items into ranges of `size`, and returns the result of each in their order.
pub(super) fn in_parallel<T: Send>(
    threads: usize,
    count: usize,
    size: usize,
    work: impl Fn(Range<usize>) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::new());
    let ranges = count.div_ceil(size);
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, ranges.max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= ranges {
                        break;
                    }
                    let result = work(at * size..((at + 1) * size).min(count));
                    // A panic of another thread ends the scope with a panic anyway.
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_ranges_on_any_number_of_threads() {
        for threads in [1, 3, 8] {
            let ranges = in_parallel(threads, 10, 4, |range| range);
            assert_eq!(ranges, [0..4, 4..8, 8..10], "{threads}");
        }
        assert!(in_parallel(2, 0, 4, |range| range).is_empty());
    }
}
