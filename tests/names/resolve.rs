//! `asock_begin_resolve`: what it writes, how much of it, and in which order.

use super::common::*;
use super::server::Answer;
use super::world::{within, Setup};
use super::{address_text, assert_exactly_once, at_once, text};
use asock::*;
use std::ffi::CString;
use std::ptr::null_mut;

/// No byte of an address that is written.
const UNTOUCHED: u8 = 0xa5;

/// Begins a look-up with room for so many addresses, and gives the room too.
pub fn begin(
    runtime: &Runtime,
    recorder: &Recorder,
    host: &str,
    port: u16,
    capacity: usize,
) -> (asock_op, Memory) {
    let room = Memory::filled(capacity * size_of::<asock_address>(), UNTOUCHED);
    recorder.keep(&room);
    let host = CString::new(host).expect("no zero inside");
    let array = match capacity {
        0 => null_mut(),
        _ => room.pointer().cast(),
    };
    // SAFETY: room and recorder outlive the operation.
    let op = begun(|op| unsafe {
        let (runtime, host) = (runtime.handle(), host.as_ptr());
        let user_data = recorder.user_data();
        asock_begin_resolve(
            runtime,
            host,
            port,
            array,
            capacity,
            Some(record),
            user_data,
            op,
        )
    });
    (op, room)
}

/// The addresses that were written into the room, as texts.
pub fn texts(room: &Memory) -> Vec<String> {
    let bytes = room.bytes();
    let written = bytes
        .chunks_exact(size_of::<asock_address>())
        .take_while(|chunk| chunk.iter().any(|byte| *byte != UNTOUCHED));
    // SAFETY: as many bytes as an address has, and any bytes are one.
    let read = |chunk: &[u8]| unsafe { chunk.as_ptr().cast::<asock_address>().read_unaligned() };
    written.map(|chunk| text(&read(chunk))).collect()
}

/// A look-up of a host that is there.
fn found(runtime: &Runtime, host: &str, capacity: usize) -> (Completion, Memory) {
    let recorder = runtime.recorder();
    let (op, room) = begin(runtime, &recorder, host, 4711, capacity);
    let completion = recorder.completion_of(op);
    completion.expect(ASOCK_KIND_RESOLVE, ASOCK_OK);
    assert_eq!((completion.socket, completion.os_error), (0, 0));
    assert_eq!(completion.user_data, recorder.user_data());
    let array = match capacity {
        0 => null_mut(),
        _ => room.pointer(),
    };
    assert_eq!(completion.buffer, array);
    (completion, room)
}

#[test]
fn literal_addresses_are_themselves() {
    within(Setup::default(), |_| {
        on_both(|runtime| {
            let cases = [
                ("127.0.0.1", "127.0.0.1:4711"),
                ("203.0.113.9", "203.0.113.9:4711"),
                ("::1", "[::1]:4711"),
                ("unix:/nowhere/at/all", "unix:/nowhere/at/all"),
            ];
            for (host, expected) in cases {
                let (completion, room) = found(&runtime, host, 2);
                assert_eq!((completion.value, completion.flags), (1, 0));
                assert_eq!(texts(&room), [expected]);
            }
        });
    });
}

#[test]
fn names_give_all_their_addresses_best_first_as_far_as_there_is_room() {
    within(Setup::default(), |world| {
        let known = ["127.0.0.1", "::1", "127.0.0.7"];
        world.answers("three.test", Answer::addresses(&known));
        on_both(|runtime| {
            let (completion, room) = found(&runtime, "three.test", 5);
            assert_eq!((completion.value, completion.flags), (3, 0));
            let all = texts(&room);
            let [best, rest @ ..] = &all[..] else {
                panic!("there are three");
            };
            assert_eq!(best, "[::1]:4711");
            let mut rest = rest.to_vec();
            rest.sort();
            assert_eq!(rest, ["127.0.0.1:4711", "127.0.0.7:4711"]);

            // What does not fit is counted, and nothing is written behind the room.
            for capacity in [0, 1, 2] {
                let (completion, room) = found(&runtime, "three.test", capacity);
                let expected = (3, ASOCK_RESULT_TRUNCATED);
                assert_eq!((completion.value, completion.flags), expected);
                assert_eq!(texts(&room), all[..capacity]);
            }
            let (completion, _) = found(&runtime, "three.test", 3);
            assert_eq!((completion.value, completion.flags), (3, 0));
        });
    });
}

#[test]
fn a_host_may_have_many_addresses() {
    within(Setup::default(), |world| {
        let many: Vec<String> = (1..=40).map(|last| format!("127.0.1.{last}")).collect();
        let addresses: Vec<&str> = many.iter().map(String::as_str).collect();
        world.answers("many.test", Answer::addresses(&addresses));
        on_both(|runtime| {
            let (completion, room) = found(&runtime, "many.test", 64);
            assert_eq!((completion.value, completion.flags), (40, 0));
            let mut all = texts(&room);
            all.sort();
            let mut expected: Vec<String> =
                many.iter().map(|one| address_text(one, 4711)).collect();
            expected.sort();
            assert_eq!(all, expected);
        });
    });
}

#[test]
fn failures_leave_the_room_alone() {
    within(Setup::default(), |world| {
        world.answers("broken.test", Answer::Failure);
        world.answers("empty.test", Answer::Addresses(Vec::new()));
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let cases = [
                ("missing.test", ASOCK_HOST_NOT_FOUND),
                ("empty.test", ASOCK_HOST_NOT_FOUND),
                ("broken.test", ASOCK_NAME_SERVER_FAILED),
            ];
            for (host, status) in cases {
                let (op, room) = begin(&runtime, &recorder, host, 80, 3);
                let completion = recorder.completion_of(op);
                completion.expect(ASOCK_KIND_RESOLVE, status);
                assert_eq!((completion.value, completion.flags), (0, 0));
                assert!(room.bytes().iter().all(|byte| *byte == UNTOUCHED));
            }
            assert_exactly_once(&runtime, &recorder, cases.len());
        });
    });
}

#[test]
fn a_look_up_that_hangs_may_be_ended() {
    within(Setup::default(), |world| {
        world.answers("hangs.test", Answer::Silence);
        type Meet = fn(&Runtime, asock_op);
        let cancel: Meet = |_, op| assert_eq!(asock_cancel(op), ASOCK_OK);
        let deadline: Meet = |_, op| assert_eq!(asock_set_deadline(op, 50), ASOCK_OK);
        let drain: Meet = |runtime, _| {
            assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_OK);
        };
        let stop: Meet = |runtime, _| runtime.stop();
        let cases = [
            (cancel, ASOCK_CANCELED),
            (deadline, ASOCK_TIMED_OUT),
            (drain, ASOCK_STOPPED),
            (stop, ASOCK_STOPPED),
        ];
        for (meet, status) in cases {
            on_both(|runtime| {
                let recorder = runtime.recorder();
                let (op, room) = begin(&runtime, &recorder, "hangs.test", 80, 3);
                at_once("what ends it", || {
                    meet(&runtime, op);
                    let completion = recorder.completion_of(op);
                    completion.expect(ASOCK_KIND_RESOLVE, status);
                    drop(runtime);
                });
                assert_eq!(recorder.count(), 1);
                assert!(room.bytes().iter().all(|byte| *byte == UNTOUCHED));
            });
        }
    });
}

#[test]
fn an_answer_that_comes_too_late_is_nobodys() {
    within(Setup::default(), |world| {
        on_both(|runtime| {
            world.answers("late.test", Answer::Held);
            let recorder = runtime.recorder();
            let (first, room) = begin(&runtime, &recorder, "late.test", 80, 1);
            assert_eq!(asock_cancel(first), ASOCK_OK);
            recorder
                .completion_of(first)
                .expect(ASOCK_KIND_RESOLVE, ASOCK_CANCELED);
            // The second takes the place of the first, and asks for the same name.
            let (second, second_room) = begin(&runtime, &recorder, "late.test", 81, 1);
            world.answers("late.test", Answer::addresses(&["127.0.0.1"]));
            recorder
                .completion_of(second)
                .expect(ASOCK_KIND_RESOLVE, ASOCK_OK);
            assert_eq!(texts(&second_room), ["127.0.0.1:81"]);
            assert!(room.bytes().iter().all(|byte| *byte == UNTOUCHED));
            assert_exactly_once(&runtime, &recorder, 2);
        });
    });
}

#[test]
fn it_may_be_waited_for_and_ended() {
    within(Setup::default(), |world| {
        world.answers("slow.test", Answer::Held);
        let runtime = Runtime::on_worker();
        let room = Memory::filled(size_of::<asock_address>(), UNTOUCHED);
        // SAFETY: the room outlives the operation, which is ended below.
        let op = begun(|op| unsafe {
            let array = room.pointer().cast();
            let host = c"slow.test".as_ptr();
            asock_begin_resolve(runtime.handle(), host, 7, array, 1, None, null_mut(), op)
        });
        assert_eq!(asock_wait(op, 0), ASOCK_TIMED_OUT);
        world.answers("slow.test", Answer::addresses(&["127.0.0.1"]));
        assert_eq!(asock_wait(op, -1), ASOCK_OK);
        let result = end(op);
        assert_eq!((result.kind, result.status), (ASOCK_KIND_RESOLVE, ASOCK_OK));
        assert_eq!((result.value, result.flags), (1, 0));
        assert_eq!(texts(&room), ["127.0.0.1:7"]);
    });
}

#[test]
fn bad_arguments_are_answered_at_once() {
    let runtime = Runtime::on_worker();
    let mut room = [0; size_of::<asock_address>() / 8].map(|_: i32| 0u64);
    let long = CString::new("n".repeat(254)).expect("no zero inside");
    let array = room.as_mut_ptr().cast();
    let cases = [
        (c"name.test".as_ptr(), 0, array, 1),
        (c"name.test".as_ptr(), 80, null_mut(), 1),
        (c"".as_ptr(), 80, array, 1),
        (long.as_ptr(), 80, array, 1),
        (c"\xff\xfe".as_ptr(), 80, array, 1),
        (std::ptr::null(), 80, array, 1),
    ];
    let mut op = 0;
    for (host, port, array, capacity) in cases {
        let handle = runtime.handle();
        // SAFETY: what is not NULL is a text with its zero, or room enough.
        let status = unsafe {
            asock_begin_resolve(
                handle,
                host,
                port,
                array,
                capacity,
                None,
                null_mut(),
                &raw mut op,
            )
        };
        assert_eq!((status, op), (ASOCK_INVALID_ARGUMENT, 0));
    }
    let host = c"name.test".as_ptr();
    // SAFETY: as above.
    let status =
        unsafe { asock_begin_resolve(77, host, 0, array, 1, None, null_mut(), &raw mut op) };
    assert_eq!((status, op), (ASOCK_BAD_HANDLE, 0));
    assert_eq!(runtime.stats().operations_begun, 0);
}
