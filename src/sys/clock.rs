//! The clock that deadlines are measured by.

/// Nanoseconds of the clock that never goes back, since a moment that is the same for all threads.
pub fn now_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a local that the call may write.
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    debug_assert_eq!(answer, 0, "every Linux has this clock");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Measures short stretches of time. Reading the clock costs as much as a short callback takes, so
/// where the processor's own counter runs evenly that is read.
pub struct Stopwatch {
    has_counter: bool,
    /// The same moment by the stopwatch and by the clock.
    start: u64,
    start_ns: u64,
}

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch::with(has_even_counter())
    }

    fn with(has_counter: bool) -> Stopwatch {
        let mut stopwatch = Stopwatch {
            has_counter,
            start: 0,
            start_ns: 0,
        };
        (stopwatch.start, stopwatch.start_ns) = stopwatch.both();
        stopwatch
    }

    /// The present moment by the stopwatch and by the clock. Of several readings it is the one with
    /// the least between the two, since a thread may be stopped at any place.
    fn both(&self) -> (u64, u64) {
        let readings = (0..4).map(|_| {
            let (before, ns, after) = (self.read(), now_ns(), self.read());
            (after.saturating_sub(before), before, ns)
        });
        readings
            .min()
            .map_or((0, 0), |(_, moment, ns)| (moment, ns))
    }

    /// The present moment, in a unit of the stopwatch's own.
    #[inline(always)]
    pub fn read(&self) -> u64 {
        match self.has_counter {
            true => counter(),
            false => now_ns(),
        }
    }

    /// The nanoseconds of a stretch that lies between the start and now.
    pub fn ns(&self, stretch: u64) -> u64 {
        let (now, now_ns) = self.both();
        let all = u128::from(now.saturating_sub(self.start)).max(1);
        let all_ns = u128::from(now_ns.saturating_sub(self.start_ns));
        (u128::from(stretch) * all_ns / all) as u64
    }
}

#[cfg(target_arch = "x86_64")]
fn counter() -> u64 {
    // SAFETY: every processor of this kind has the instruction.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn counter() -> u64 {
    now_ns()
}

/// Whether the counter runs at one pace, whatever the processor saves power with.
#[cfg(target_arch = "x86_64")]
#[allow(unused_unsafe, reason = "older compilers ask for it")]
fn has_even_counter() -> bool {
    const LEAVES: u32 = 0x8000_0000;
    const POWER: u32 = 0x8000_0007;
    const INVARIANT: u32 = 1 << 8;
    // SAFETY: every processor of this kind has the instruction, and the first leaf.
    let leaves = unsafe { std::arch::x86_64::__cpuid(LEAVES) }.eax;
    // SAFETY: as above.
    leaves >= POWER && unsafe { std::arch::x86_64::__cpuid(POWER) }.edx & INVARIANT != 0
}

#[cfg(not(target_arch = "x86_64"))]
fn has_even_counter() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// Between two readings of the clock lies what the stopwatch says, with the counter and without.
    #[test]
    fn a_stopwatch_agrees_with_the_clock() {
        for stopwatch in [Stopwatch::start(), Stopwatch::with(false)] {
            let outer = Instant::now();
            let from = stopwatch.read();
            let inner = Instant::now();
            while inner.elapsed() < Duration::from_millis(20) {}
            let least = inner.elapsed().as_nanos() as f64;
            let stretch = stopwatch.read() - from;
            let most = outer.elapsed().as_nanos() as f64;
            let ns = stopwatch.ns(stretch) as f64;
            assert!(ns > least * 0.98 && ns < most * 1.02, "{least} {ns} {most}");
        }
    }

    #[test]
    fn it_never_goes_back() {
        let mut last = now_ns();
        assert_ne!(last, 0);
        for _ in 0..1_000 {
            let now = now_ns();
            assert!(now >= last);
            last = now;
        }
    }
}
