//! How a worker looks for work before it sleeps (`config.spin_us`).

/// Looks between two offers of the core to others; only then the clock is asked.
const LOOKS: u32 = 8;

/// Looks of a worker since it has found something.
pub struct Look {
    /// How long it looks; 0 is not at all.
    spin_ns: u64,
    in_vain: u32,
    /// When the first of them was over.
    since: u64,
}

impl Look {
    pub fn new(spin_ns: u64) -> Look {
        Look {
            spin_ns,
            in_vain: 0,
            since: 0,
        }
    }

    /// Whether the worker, if it has nothing to do, looks once more. `now` is asked for rarely.
    pub fn goes_on(&self, now: impl FnOnce() -> u64) -> bool {
        match self.in_vain {
            _ if self.spin_ns == 0 => false,
            count if count == 0 || count % LOOKS != 0 => true,
            _ => now().saturating_sub(self.since) < self.spin_ns,
        }
    }

    /// There was something to do.
    pub fn found(&mut self) {
        self.in_vain = 0;
    }

    /// A look has found nothing. Whether the core is to be offered to others.
    pub fn found_nothing(&mut self, now: impl FnOnce() -> u64) -> bool {
        if self.in_vain == 0 {
            self.since = now();
        }
        self.in_vain = self.in_vain.wrapping_add(1).max(1);
        self.in_vain % LOOKS == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The looks that a worker makes in vain, at so many nanoseconds each, and how often it offers
    /// the core.
    fn looks(spin_ns: u64, each_ns: u64) -> (u64, u64) {
        let mut look = Look::new(spin_ns);
        let (mut made, mut offers) = (0, 0);
        while look.goes_on(|| made * each_ns) {
            made += 1;
            offers += u64::from(look.found_nothing(|| made * each_ns));
        }
        (made, offers)
    }

    #[test]
    fn it_looks_as_long_as_is_wished() {
        assert_eq!(looks(0, 100), (0, 0));
        for spin_ns in [1, 1_000, 50_000, 1_000_000] {
            let (made, offers) = looks(spin_ns, 100);
            assert!(
                made * 100 >= spin_ns,
                "{made} looks of 100 ns in {spin_ns} ns"
            );
            assert!(made * 100 <= spin_ns + 100 * u64::from(LOOKS) * 2);
            assert_eq!(offers, made / u64::from(LOOKS));
        }
    }

    #[test]
    fn what_it_finds_begins_the_time_anew() {
        let mut look = Look::new(1_000);
        let mut now = 0;
        for _ in 0..100 {
            now += 900;
            assert!(look.goes_on(|| now));
            look.found_nothing(|| now);
            look.found();
        }
        while look.goes_on(|| now) {
            look.found_nothing(|| now);
            now += 100;
        }
        assert!(now > 90_900);
        look.found();
        assert!(look.goes_on(|| now));
    }
}
