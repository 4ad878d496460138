//! The ports that the system chooses from for those who do not bind to one.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};

/// Whether the system may choose that port by itself. Where it does not tell, it may choose any.
pub fn may_be_chosen(port: u16) -> bool {
    // Read once for the process: a range that is changed later is a matter of the machine's start. No lock guards it:
    // a child of fork would wait for ever for a thread that has stayed with its parent.
    static RANGE: AtomicU32 = AtomicU32::new(0);
    let mut range = RANGE.load(Ordering::Relaxed);
    if range == 0 {
        let told = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        let told = told.ok().and_then(|told| range_of(&told));
        let (first, last) = told.unwrap_or(1..=u16::MAX).into_inner();
        range = u32::from(first) << 16 | u32::from(last);
        RANGE.store(range, Ordering::Relaxed);
    }
    ((range >> 16) as u16..=range as u16).contains(&port)
}

fn range_of(told: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = told.split_ascii_whitespace().map(str::parse::<u16>);
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last)), None) => Some(first..=last),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    //! The file's form, and the range of this machine against a port that the system has just chosen.

    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_range_is_two_numbers() {
        assert_eq!(range_of("32768\t60999\n"), Some(32768..=60999));
        for odd in ["", "32768", "1 2 3", "1 65536", "one two"] {
            assert_eq!(range_of(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_chosen_port_may_be_chosen() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let port = listener.local_addr().expect("has one").port();
        assert!(may_be_chosen(port));
    }
}
