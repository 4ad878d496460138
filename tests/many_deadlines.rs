//! Very many deadlines that are changed while the worker is busy: each change costs the same, however many there are and in
//! whatever order they come.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::*;
use std::time::{Duration, Instant};

const MANY: usize = 50_000;

/// How long it takes until all have ended by deadlines of 0, set one after the other.
fn ends(limits: &[i64], order: impl FnOnce(&mut Vec<asock_op>)) -> Duration {
    let runtime = Runtime::on_worker();
    let held = Held::new(&runtime);
    let begin = |_| plain_timer(&runtime, 3_600_000);
    let mut ops: Vec<_> = (0..MANY).map(begin).collect();
    order(&mut ops);
    let start = Instant::now();
    for limit in limits {
        for &op in &ops {
            assert_eq!(asock_set_deadline(op, *limit), ASOCK_OK);
        }
    }
    held.release();
    for &op in &ops {
        assert_eq!(end(op).status, ASOCK_TIMED_OUT);
    }
    start.elapsed()
}

/// Where each change goes through those before it, that takes hundreds of times as long, tens of seconds.
#[test]
fn each_change_costs_the_same() {
    let once = ends(&[0], |_| ());
    let limit = once * 20 + Duration::from_secs(5); // A machine may stand still for a while.
    let other_way_round = ends(&[0], |ops| ops.reverse());
    assert!(other_way_round < limit, "{other_way_round:?} {once:?}");
    let twice = ends(&[3_600_000, 0], |_| ());
    assert!(twice < limit, "{twice:?} {once:?}");
}
