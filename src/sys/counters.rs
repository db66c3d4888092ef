use std::sync::atomic::AtomicU64;

/// Counters at zero. Large memory the allocator mostly has from the system, which gives it zeroed, and page
/// by page as it is written to; what it had at hand it writes over.
pub fn zeroed_counters(len: usize) -> Box<[AtomicU64]> {
    // SAFETY: a counter is a `u64`, for which all bits zero are zero.
    unsafe { Box::new_zeroed_slice(len).assume_init() }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn all_are_zero_and_count() {
        for len in [0, 1, 100_000] {
            let counters = zeroed_counters(len);
            assert_eq!(counters.len(), len);
            assert!(counters.iter().all(|counter| counter.fetch_add(1, Ordering::Relaxed) == 0));
        }
    }
}
