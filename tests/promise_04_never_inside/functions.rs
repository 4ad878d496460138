//! From inside a callback every function may be called.

use crate::common::datagram::{open, try_bind};
use crate::common::handles::{self, Entry, Kind};
use crate::common::*;
use asock::*;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex};

/// What is called inside the callback of a timer, and what it must answer there.
struct Subjects {
    runtime: asock_runtime,
    on_poll: bool,
    connected: asock_socket,
    other: asock_socket,
    /// An operation that does not end by itself.
    pending: asock_op,
    /// An operation for `asock_end` that has ended.
    ended: Option<asock_op>,
    /// Another one that does not end by itself.
    endless: Option<asock_op>,
    port: u16,
    byte: Memory,
}

type Answers = Vec<(&'static str, asock_status, asock_status)>;

/// Calls the functions that tell, set and wait: name, answer, what it is to be.
fn call_small_ones(on: &Subjects) -> Answers {
    // SAFETY: structs of integers and pointers may be all zero.
    let (mut stats, mut address, mut result): (asock_stats, asock_address, asock_result) =
        unsafe { std::mem::zeroed() };
    stats.size = size_of::<asock_stats>();
    let (mut value, mut fd, mut count, mut another) = (0, 0, 0, 0);
    let mut text = [0; ASOCK_ADDRESS_TEXT_MAX];
    let socket = on.connected;
    let option = ASOCK_OPTION_NODELAY;
    let pull = if on.on_poll {
        ASOCK_WOULD_DEADLOCK
    } else {
        ASOCK_INVALID_STATE
    };
    let on_poll_only = if on.on_poll {
        ASOCK_OK
    } else {
        ASOCK_INVALID_STATE
    };
    assert!(asock_version() > 0 && !asock_version_string().is_null());
    assert!(!asock_status_name(0).is_null() && !asock_status_text(0).is_null());
    // SAFETY: all that is pointed to are locals of the right type and size.
    unsafe {
        let mut answers = vec![
            (
                "stats",
                asock_runtime_stats(on.runtime, &raw mut stats),
                ASOCK_OK,
            ),
            (
                "set_log",
                asock_set_log(ASOCK_LOG_OFF, None, null_mut()),
                ASOCK_OK,
            ),
            ("set_option", asock_set_option(socket, option, 1), ASOCK_OK),
            (
                "get_option",
                asock_get_option(socket, option, &raw mut value),
                ASOCK_OK,
            ),
            (
                "local_address",
                asock_local_address(socket, &raw mut address),
                ASOCK_OK,
            ),
            (
                "remote_address",
                asock_remote_address(socket, &raw mut address),
                ASOCK_OK,
            ),
            (
                "address_format",
                asock_address_format(&raw const address, text.as_mut_ptr(), text.len()),
                ASOCK_OK,
            ),
            (
                "address_parse",
                asock_address_parse(c"::1".as_ptr(), 1, &raw mut address),
                ASOCK_OK,
            ),
            (
                "poll",
                asock_poll(on.runtime, 0, &raw mut result, 1, &raw mut count),
                pull,
            ),
            (
                "dispatch",
                asock_dispatch(on.runtime, 0, 0, 0, &raw mut count),
                pull,
            ),
            (
                "poll_fd",
                asock_poll_fd(on.runtime, &raw mut fd),
                on_poll_only,
            ),
            ("wake", asock_wake(on.runtime), on_poll_only),
            ("stop", asock_runtime_stop(on.runtime), ASOCK_WOULD_DEADLOCK),
            (
                "start",
                asock_runtime_start(std::ptr::null(), &raw mut another),
                ASOCK_OK,
            ),
            (
                "stop of another",
                asock_runtime_stop(another),
                ASOCK_WOULD_DEADLOCK,
            ),
            ("drain of another", asock_runtime_drain(another), ASOCK_OK),
            ("wait, 0", asock_wait(on.pending, 0), ASOCK_TIMED_OUT),
            (
                "deadline",
                asock_set_deadline(on.pending, 3_600_000),
                ASOCK_OK,
            ),
            (
                "end with a callback",
                asock_end(on.pending, &raw mut result),
                ASOCK_INVALID_STATE,
            ),
            (
                "forget with a callback",
                asock_forget(on.pending),
                ASOCK_INVALID_STATE,
            ),
        ];
        LEFT_OVER
            .lock()
            .expect("nobody panics with it")
            .push(another);
        // On poll this thread is no worker, and may wait for one.
        let waited = if on.on_poll {
            ASOCK_TIMED_OUT
        } else {
            ASOCK_WOULD_DEADLOCK
        };
        answers.push(("wait, 1", asock_wait(on.pending, 1), waited));
        if let (Some(ended), Some(endless)) = (on.ended, on.endless) {
            answers.push((
                "end, pending",
                asock_end(endless, &raw mut result),
                ASOCK_WOULD_DEADLOCK,
            ));
            answers.push(("forget", asock_forget(endless), ASOCK_OK));
            answers.push(("wait, ended", asock_wait(ended, -1), ASOCK_OK));
            answers.push(("end, ended", asock_end(ended, &raw mut result), ASOCK_OK));
        }
        answers.push(("cancel", asock_cancel(on.pending), ASOCK_OK));
        answers
    }
}

/// Runtimes that were started inside a callback and cannot be stopped there.
static LEFT_OVER: Mutex<Vec<asock_runtime>> = Mutex::new(Vec::new());

/// Calls the functions that begin and close, and drains at last.
fn call_the_others(on: &Subjects, recorder: &Recorder) -> Answers {
    let (mut fresh, user_data) = (0, recorder.user_data());
    let address = loopback(on.port);
    let host = c"127.0.0.1".as_ptr();
    let byte = on.byte.pointer();
    let callback: asock_callback = Some(record);
    // SAFETY: recorder and memory outlive the operations; the rest are locals.
    unsafe {
        let open = asock_open(on.runtime, ASOCK_STREAM, &raw mut fresh);
        let mut op = 0;
        let op = &raw mut op;
        vec![
            ("open", open, ASOCK_OK),
            (
                "connect",
                asock_begin_connect(fresh, host, on.port, callback, user_data, op),
                ASOCK_OK,
            ),
            (
                "send",
                asock_begin_send(fresh, byte, 1, 0, callback, user_data, op),
                ASOCK_OK,
            ),
            (
                "shutdown",
                asock_shutdown(fresh, ASOCK_SHUTDOWN_SEND),
                ASOCK_OK,
            ),
            (
                "close, begin",
                asock_begin_close(fresh, ASOCK_CLOSE_DRAIN, callback, user_data, op),
                ASOCK_OK,
            ),
            (
                "connect, address",
                asock_begin_connect_address(on.other, &raw const address, callback, user_data, op),
                ASOCK_OK,
            ),
            (
                "receive",
                asock_begin_receive(on.connected, byte, 1, 0, callback, user_data, op),
                ASOCK_OK,
            ),
            (
                "timer",
                asock_begin_timer(on.runtime, 0, callback, user_data, op),
                ASOCK_OK,
            ),
            ("close", asock_close(on.connected), ASOCK_OK),
            ("close, again", asock_close(on.connected), ASOCK_BAD_HANDLE),
            ("drain", asock_runtime_drain(on.runtime), ASOCK_OK),
            (
                "timer, draining",
                asock_begin_timer(on.runtime, 0, callback, user_data, op),
                ASOCK_STOPPED,
            ),
        ]
    }
}

#[test]
fn every_function_may_be_called_inside_a_callback() {
    let listener = Listener::new();
    on_both(|runtime| {
        let on_poll = runtime.delivers_on_poll();
        let recorder = runtime.recorder();
        let connected = runtime.connected(listener.port());
        // SAFETY: nothing but the place for the handle is given.
        let begin = |delay_ms, op| unsafe {
            asock_begin_timer(runtime.handle(), delay_ms, None, null_mut(), op)
        };
        let unseen = |delay_ms| begun(|op| begin(delay_ms, op));
        let ended = (!on_poll).then(|| unseen(0));
        if let Some(ended) = ended {
            assert_eq!(asock_wait(ended, -1), ASOCK_OK);
        }
        let on = Subjects {
            runtime: runtime.handle(),
            on_poll,
            connected,
            other: runtime.open(),
            pending: recorder.receive(connected, &Memory::new(1), 0),
            ended,
            endless: (!on_poll).then(|| unseen(3_600_000)),
            port: listener.port(),
            byte: Memory::new(1),
        };
        recorder.keep(&on.byte);
        let answers = Arc::new(Mutex::new(Answers::new()));
        let (into, inner) = (Arc::clone(&answers), Arc::clone(&recorder));
        let caller = runtime.recorder_with(move |_| {
            let mut answers = call_small_ones(&on);
            answers.extend(call_the_others(&on, &inner));
            *into.lock().expect("nobody panics with it") = answers;
        });
        caller.timer(0);
        caller.wait_for(1);
        for (name, answer, expected) in answers.lock().expect("nobody panics with it").iter() {
            assert_eq!(answer, expected, "{name}");
        }
        // And what was begun there has come to its end: connect, send, close, connect, receive, timer, and `pending`.
        assert_eq!(recorder.wait_for(7).len(), 7);
        for another in LEFT_OVER.lock().expect("nobody panics with it").drain(..) {
            assert_eq!(asock_runtime_stop(another), ASOCK_OK);
        }
    });
}

/// One of the sorts of sockets, made inside a callback.
fn fresh(runtime: asock_runtime, sort: usize) -> asock_socket {
    let mut socket = 0;
    let type_ = match sort {
        0 | 1 => ASOCK_STREAM,
        _ => ASOCK_DATAGRAM,
    };
    // SAFETY: the handle may be written.
    let opened = unsafe { asock_open(runtime, type_, &raw mut socket) };
    assert_eq!(opened, ASOCK_OK);
    if sort > 0 {
        assert_eq!(try_bind(socket, Some("127.0.0.1"), 0), ASOCK_OK);
    }
    if sort == 1 {
        assert_eq!(asock_listen(socket, 0), ASOCK_OK);
    }
    socket
}

/// The functions that act on a socket, and those that make something of a runtime.
fn entries() -> impl Iterator<Item = &'static Entry> {
    let makes = ["asock_adopt", "asock_begin_resolve", "asock_begin_timer"];
    handles::all().filter(move |entry| entry.kind == Kind::Socket || makes.contains(&entry.name))
}

#[test]
fn every_function_of_sockets_may_be_called_inside_a_callback() {
    on_both(|runtime| {
        let watchdog = Watchdog::new("a call inside a callback");
        let handle = runtime.handle();
        let caller = runtime.recorder_with(move |_| {
            for sort in 0..3 {
                for entry in entries() {
                    let socket = fresh(handle, sort);
                    let on = match entry.kind {
                        Kind::Socket => socket,
                        _ => handle,
                    };
                    let status = (entry.good)(on);
                    let sane = ![
                        ASOCK_WOULD_DEADLOCK,
                        ASOCK_BAD_HANDLE,
                        ASOCK_INTERNAL,
                        ASOCK_STOPPED,
                    ]
                    .contains(&status);
                    assert!(sane, "{} answers {status}", entry.name);
                    let gone = ["asock_close", "asock_begin_close"].contains(&entry.name)
                        || entry.name == "asock_release" && status == ASOCK_OK;
                    let expected = if gone { ASOCK_BAD_HANDLE } else { ASOCK_OK };
                    assert_eq!(asock_close(socket), expected, "{}", entry.name);
                }
            }
        });
        caller.timer(0);
        caller.wait_for(1);
        until("all is closed", || {
            runtime.dispatch_if_polled();
            runtime.stats().sockets_open == 0
        });
        // The worker goes on.
        let recorder = runtime.recorder();
        let socket = open(&runtime);
        assert_eq!(try_bind(socket, Some("127.0.0.1"), 0), ASOCK_OK);
        let own = calls::local(socket).expect("it is bound");
        recorder.put_to(socket, b"alive", &own);
        recorder.expect_from(socket, b"alive", &own);
        runtime.stop();
        drop(watchdog);
    });
}
