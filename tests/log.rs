//! The log function is the application's, like any callback: it may call every function, also of the runtime whose start it
//! hears of, and what would have to wait for it says so.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::*;
use std::ffi::{c_char, c_void, CStr};
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The log and the default runtime are the process's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What the log function has heard, and what calls of its own gave.
static HEARD: Mutex<Vec<(String, Vec<asock_status>)>> = Mutex::new(Vec::new());

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes calls with the runtime whose handle `user_data` is, and with the log itself.
unsafe extern "C" fn call_back(_: u32, message: *const c_char, user_data: *mut c_void) {
    let runtime = user_data as asock_runtime;
    let (mut socket, mut op) = (0, 0);
    // SAFETY: all places may be written, the message ends with a zero, and nothing has to outlive the operation.
    let (message, answers) = unsafe {
        let answers = vec![
            asock_open(runtime, ASOCK_STREAM, &raw mut socket),
            asock_begin_timer(runtime, 0, None, null_mut(), &raw mut op),
            asock_runtime_stop(runtime),
            asock_set_log(ASOCK_LOG_OFF, None, null_mut()),
        ];
        (CStr::from_ptr(message).to_string_lossy(), answers)
    };
    locked(&HEARD).push((message.into_owned(), answers));
}

/// Has the log function hear of what `body` does; it uses the runtime meanwhile.
fn heard(runtime: asock_runtime, body: impl FnOnce()) -> Vec<(String, Vec<asock_status>)> {
    let user_data = runtime as *mut c_void;
    // SAFETY: the user data is only a number.
    let set = unsafe { asock_set_log(ASOCK_LOG_TRACE, Some(call_back), user_data) };
    assert_eq!(set, ASOCK_OK);
    body();
    // SAFETY: nothing is given.
    let taken = unsafe { asock_set_log(ASOCK_LOG_OFF, None, null_mut()) };
    assert_eq!(taken, ASOCK_OK);
    std::mem::take(&mut *locked(&HEARD))
}

fn started(heard: &[(String, Vec<asock_status>)]) -> &[asock_status] {
    let mut starts = heard.iter().filter(|(text, _)| text.contains("started"));
    &starts.next().expect("it is told of a start").1
}

#[test]
fn the_log_may_use_the_default_runtime_whose_start_it_hears_of() {
    let _alone = locked(&ONE_AT_A_TIME);
    let _watchdog = Watchdog::new("a log function that uses runtime 0");
    let heard = heard(0, || {
        let mut socket = 0;
        // SAFETY: `socket` may be written.
        let opened = unsafe { asock_open(0, ASOCK_STREAM, &raw mut socket) };
        assert_eq!(opened, ASOCK_OK);
    });
    assert_eq!(started(&heard)[..2], [ASOCK_OK, ASOCK_OK], "{heard:?}");
    assert_eq!(asock_runtime_stop(0), ASOCK_OK);
}

/// A stop waits for the threads of its runtime, which may wait for the log function that is running to return: a thread that
/// is about to set another one keeps them waiting.
#[test]
fn what_would_have_to_wait_for_the_log_says_so() {
    let _alone = locked(&ONE_AT_A_TIME);
    let _watchdog = Watchdog::new("a log function that stops a runtime");
    let runtime = Runtime::on_worker();
    let heard = heard(runtime.handle(), || Runtime::on_poll().stop());
    assert!(heard.len() >= 2, "a start and a stop: {heard:?}");
    for (_, answers) in &heard {
        let expected = [
            ASOCK_OK,
            ASOCK_OK,
            ASOCK_WOULD_DEADLOCK,
            ASOCK_WOULD_DEADLOCK,
        ];
        assert_eq!(answers[..], expected, "{heard:?}");
    }
    runtime.stop();
}
