//! All kinds of operations, for as long as one likes, on each driver, against peers in the same process: that each begin
//! has exactly one completion, that no byte is lost, doubled or misplaced, that no buffer is touched when it is back, and
//! that neither memory nor descriptors grow.
//!
//! ```text
//! cargo bench --bench soak -- --seconds 60
//! cargo bench --bench soak -- --seconds 60 --seed 7 --backend io_uring
//! ```
//!
//! It prints a line for each driver, and fails when anything is wrong. The tests run it for two seconds.
#![allow(unsafe_code, reason = "the C functions take pointers")]
#![allow(clippy::print_stdout, reason = "it prints what it has found")]

mod drive;

use asock::*;
use std::time::Duration;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // Cargo says `--bench` where figures are wanted, and nothing of the kind when it runs tests.
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("soak: run it with `cargo bench`");
        return;
    }
    let value_of = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).map(String::as_str)
    };
    let number = |name, default| match value_of(name) {
        None => default,
        Some(text) => text.parse::<u64>().expect("a number"),
    };
    let (seconds, seed) = (number("--seconds", 60), number("--seed", 1));
    let all = [
        ("epoll", ASOCK_BACKEND_EPOLL),
        ("io_uring", ASOCK_BACKEND_IO_URING),
    ];
    for (name, backend) in all {
        if value_of("--backend").is_none_or(|wanted| wanted == name) {
            match drive::run(backend, Duration::from_secs(seconds), seed) {
                Some(report) => println!("{name:9} {report}"),
                None => println!("{name:9} not on this machine"),
            }
        }
    }
}
