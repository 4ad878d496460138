//! The ports that the system chooses from for those who do not bind to one.

use std::ops::RangeInclusive;
use std::sync::OnceLock;

/// Whether the system may choose that port by itself. Where it does not tell, it may choose any.
pub fn may_be_chosen(port: u16) -> bool {
    // Read once for the process: a range that is changed later is a matter of the machine's start.
    static RANGE: OnceLock<RangeInclusive<u16>> = OnceLock::new();
    let range = RANGE.get_or_init(|| {
        let told = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        told.ok()
            .and_then(|told| range_of(&told))
            .unwrap_or(1..=u16::MAX)
    });
    range.contains(&port)
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
