//! How a way of working learns of its completions, and the rounds that are counted. Nothing here allocates.

use crate::common::allocations::allocations;
use crate::common::{end, Runtime};
use asock::*;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Rounds until everything has grown to its size, and rounds that are counted.
const WARM_UP: usize = 40;
const COUNTED: usize = 40;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    Callback,
    End,
    Poll,
    ByDispatch,
}

pub const EACH: [Told; 4] = [Told::Callback, Told::End, Told::Poll, Told::ByDispatch];

/// Counts completions, and among them apart those that are not what they are to be.
static COMPLETIONS: AtomicUsize = AtomicUsize::new(0);
static FAILURES: AtomicUsize = AtomicUsize::new(0);

/// A way of working, whose completions come one at a time.
pub trait Work {
    /// Looks at a completion, and tells whether it is what it is to be.
    fn is_well(result: &asock_result) -> bool;
}

fn note<W: Work>(result: &asock_result) {
    FAILURES.fetch_add(usize::from(!W::is_well(result)), Ordering::SeqCst);
    COMPLETIONS.fetch_add(1, Ordering::SeqCst);
}

unsafe extern "C" fn call<W: Work>(result: *const asock_result, _: *mut c_void) {
    // SAFETY: the library gives a record that is valid during the call.
    note::<W>(unsafe { &*result });
}

/// How many have completed so far.
pub fn completions() -> usize {
    COMPLETIONS.load(Ordering::SeqCst)
}

impl Told {
    pub fn runtime(self) -> Runtime {
        match self {
            Told::Callback | Told::End => Runtime::on_worker(),
            Told::Poll | Told::ByDispatch => Runtime::on_poll(),
        }
    }

    /// What all operations of a way of working are begun with.
    pub fn callback<W: Work>(self) -> asock_callback {
        match self {
            Told::Callback | Told::ByDispatch => Some(call::<W>),
            Told::End | Told::Poll => None,
        }
    }

    /// Waits until all of these have been told, which are the only ones begun since `completions` gave `before`.
    pub fn finish<W: Work>(self, runtime: &Runtime, ops: &[asock_op], before: usize) {
        let told = || completions() - before;
        match self {
            Told::Callback => {
                while told() < ops.len() {
                    std::thread::yield_now();
                }
            }
            Told::End => ops.iter().for_each(|op| {
                // Asking first is free too.
                assert_eq!(asock_wait(*op, -1), ASOCK_OK);
                note::<W>(&end(*op));
            }),
            Told::Poll | Told::ByDispatch => {
                while told() < ops.len() {
                    self.pull::<W>(runtime);
                }
            }
        }
        assert_eq!(FAILURES.load(Ordering::SeqCst), 0);
    }

    fn pull<W: Work>(self, runtime: &Runtime) {
        let mut results = [const { MaybeUninit::<asock_result>::uninit() }; 5];
        let (runtime, mut count) = (runtime.handle(), 0);
        let room = results.as_mut_ptr().cast();
        // SAFETY: there is room for five records, and the count may be written.
        let status = unsafe {
            match self {
                Told::Poll => asock_poll(runtime, 1000, room, 5, &raw mut count),
                _ => asock_dispatch(runtime, 1000, 0, 0, &raw mut count),
            }
        };
        assert_eq!(status, ASOCK_OK);
        if self == Told::Poll {
            for result in &results[..count] {
                // SAFETY: so many were written.
                note::<W>(unsafe { result.assume_init_ref() });
            }
        }
    }
}

/// What the counted rounds of at most so many operations have allocated.
///
/// How many of them are pending at once depends on the machine. A round with more of them than any before may need memory,
/// which happens as often as there are operations at most; what allocates in its steady state does so each time.
pub fn allocated_by(operations: usize, mut round: impl FnMut()) -> usize {
    for _ in 0..WARM_UP {
        round();
    }
    let mut allocated = 0;
    for _ in 0..=operations {
        let before = allocations();
        for _ in 0..COUNTED {
            round();
        }
        allocated = allocations() - before;
        if allocated == 0 {
            break;
        }
    }
    allocated
}
