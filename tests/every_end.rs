//! Every kind of operation, ended in every way: one completion, one status for each way of ending, whatever the kind, and
//! stale handles afterwards; and a close that races the calls that begin operations.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::{narrow_pair, pair, BIG};
use common::datagram::{bound, full, open, Sender};
use common::files::{file_of, number_of};
use common::server::listener;
use common::*;
use std::any::Any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, OnceLock};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Connect,
    Send,
    SendVectored,
    SendFile,
    Receive,
    ReceiveAll,
    ReceiveVectored,
    Accept,
    SendTo,
    ReceiveFrom,
}

const ALL: [What; 10] = [
    What::Connect,
    What::Send,
    What::SendVectored,
    What::SendFile,
    What::Receive,
    What::ReceiveAll,
    What::ReceiveVectored,
    What::Accept,
    What::SendTo,
    What::ReceiveFrom,
];

impl What {
    fn kind(self) -> u32 {
        match self {
            What::Connect => ASOCK_KIND_CONNECT,
            What::Send | What::SendVectored | What::SendFile => ASOCK_KIND_SEND,
            What::Receive | What::ReceiveAll | What::ReceiveVectored => ASOCK_KIND_RECEIVE,
            What::Accept => ASOCK_KIND_ACCEPT,
            What::SendTo => ASOCK_KIND_SEND_TO,
            What::ReceiveFrom => ASOCK_KIND_RECEIVE_FROM,
        }
    }

    /// One that goes out over a stream may have left in part when it is ended.
    fn may_have_bytes(self) -> bool {
        self.kind() == ASOCK_KIND_SEND
    }
}

/// A socket on which operations of one kind are begun that do not end by themselves, and what they need.
struct Subject {
    what: What,
    socket: asock_socket,
    memory: Memory,
    from: Sender,
    to: asock_address,
    file: i64,
    _others: Box<dyn Any + Send + Sync>,
}

impl Subject {
    fn new(what: What, runtime: &Runtime) -> Subject {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let mut subject = Subject {
            what,
            socket: 0,
            memory: Memory::new(9),
            from: Sender::default(),
            to: calls::NO_ADDRESS,
            file: -1,
            _others: Box::new(()),
        };
        match what {
            What::Connect => {
                static HOLE: OnceLock<BlackHole> = OnceLock::new();
                subject.to = loopback(HOLE.get_or_init(BlackHole::new).port());
                subject.socket = runtime.open();
            }
            What::Send | What::SendVectored | What::SendFile => {
                let (socket, peer) = narrow_pair(runtime);
                subject.socket = socket;
                subject.memory = Memory::new(BIG);
                let file = file_of(&subject.memory.bytes());
                subject.file = number_of(&file);
                subject._others = Box::new((peer, file));
            }
            What::Receive | What::ReceiveAll | What::ReceiveVectored => {
                let (socket, peer) = pair(runtime);
                subject.socket = socket;
                subject._others = Box::new(peer);
            }
            What::Accept => subject.socket = listener(runtime),
            What::SendTo => {
                let (deaf, to) = full(&format!("every-end-{number}"));
                subject.to = to;
                subject.socket = open(runtime);
                subject._others = Box::new(deaf);
            }
            What::ReceiveFrom => subject.socket = bound(runtime, "127.0.0.1").0,
        }
        subject
    }

    /// Begins one, told by the recorder, or by `asock_end` if there is none.
    fn try_begin(&self, recorder: Option<&Recorder>) -> (asock_status, asock_op) {
        let (socket, length, file) = (self.socket, self.memory.len(), self.file);
        let room = self.memory.pointer();
        let data = room.cast_const();
        let (to, from) = (&raw const self.to, self.from.pointer());
        let half = length / 2;
        let pieces = [(0, half), (half, 0), (half, length - half)].map(|(at, length)| {
            let data = room.cast::<u8>().wrapping_add(at).cast();
            asock_buffer { data, length }
        });
        let (first, all) = (pieces.as_ptr(), ASOCK_RECEIVE_ALL);
        let call: asock_callback = recorder.map(|_| record as _);
        let me = recorder.map_or(NOTHING, |recorder| {
            recorder.keep(&self.memory);
            recorder.keep(self.from.memory());
            recorder.user_data()
        });
        let mut op = 0;
        let at = &raw mut op;
        // SAFETY: the recorder keeps what the operation refers to; without one it is ended while that is there.
        let status = unsafe {
            match self.what {
                What::Connect => asock_begin_connect_address(socket, to, call, me, at),
                What::Send => asock_begin_send(socket, data, length, 0, call, me, at),
                What::SendVectored => asock_begin_send_vectored(socket, first, 3, 0, call, me, at),
                What::SendFile => {
                    asock_begin_send_file(socket, file, 0, length as u64, call, me, at)
                }
                What::Receive => asock_begin_receive(socket, room, length, 0, call, me, at),
                What::ReceiveAll => asock_begin_receive(socket, room, length, all, call, me, at),
                What::ReceiveVectored => {
                    asock_begin_receive_vectored(socket, first, 3, 0, call, me, at)
                }
                What::Accept => asock_begin_accept(socket, call, me, at),
                What::SendTo => asock_begin_send_to(socket, data, length, 0, to, call, me, at),
                What::ReceiveFrom => {
                    asock_begin_receive_from(socket, room, length, 0, from, call, me, at)
                }
            }
        };
        (status, op)
    }

    #[track_caller]
    fn begin(&self, recorder: Option<&Recorder>) -> asock_op {
        let (status, op) = self.try_begin(recorder);
        assert_eq!(status, ASOCK_OK, "{:?}", self.what);
        op
    }

    /// The record is one of such an operation that has ended early.
    fn check(&self, result: &asock_result, op: asock_op, status: asock_status) {
        let what = format!("{:?}: {result:?}", self.what);
        assert_eq!(result.kind, self.what.kind(), "{what}");
        assert_eq!((result.op, result.status), (op, status), "{what}");
        assert_eq!((result.socket, result.value), (self.socket, 0), "{what}");
        assert_eq!((result.flags, result.os_error), (0, 0), "{what}");
        assert!(result.bytes < self.memory.len(), "{what}");
        assert!(result.bytes == 0 || self.what.may_have_bytes(), "{what}");
        assert!(self.from.is_untouched(), "{what}");
        assert!(self.memory.bytes().iter().all(|byte| *byte == 0), "{what}");
    }
}

type End = fn(&Runtime, &Recorder, asock_socket, asock_op);

/// The ways of ending, what they are told as, and how many completions more they bring.
const ENDS: [(&str, asock_status, usize, End); 9] = [
    ("cancel", ASOCK_CANCELED, 0, |_, _, _, op| {
        assert_eq!(asock_cancel(op), ASOCK_OK);
    }),
    ("deadline", ASOCK_TIMED_OUT, 0, |_, _, _, op| {
        assert_eq!(asock_set_deadline(op, 3), ASOCK_OK);
    }),
    (
        "deadline that is over",
        ASOCK_TIMED_OUT,
        0,
        |_, _, _, op| {
            assert_eq!(asock_set_deadline(op, 0), ASOCK_OK);
        },
    ),
    ("cancel, then deadline", ASOCK_CANCELED, 0, |_, _, _, op| {
        assert_eq!(asock_cancel(op), ASOCK_OK);
        asock_set_deadline(op, 1000); // It may have ended.
    }),
    ("close", ASOCK_CLOSED, 0, |_, _, socket, _| {
        assert_eq!(asock_close(socket), ASOCK_OK);
        assert_eq!(asock_close(socket), ASOCK_BAD_HANDLE);
    }),
    ("begun close", ASOCK_CLOSED, 1, |_, recorder, socket, _| {
        recorder.close(socket, 0);
    }),
    ("reset", ASOCK_CLOSED, 1, |_, recorder, socket, _| {
        recorder.close(socket, ASOCK_CLOSE_RESET);
    }),
    ("drain", ASOCK_STOPPED, 0, |runtime, _, _, _| {
        assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_OK);
    }),
    ("stop", ASOCK_STOPPED, 0, |runtime, _, _, _| runtime.stop()),
];

/// Nobody can reach it any more.
fn assert_stale(op: asock_op) {
    assert_eq!(asock_cancel(op), ASOCK_BAD_HANDLE);
    assert_eq!(asock_set_deadline(op, 5), ASOCK_BAD_HANDLE);
    assert_eq!(asock_forget(op), ASOCK_BAD_HANDLE);
    assert!(matches!(calls::try_end(op), Err(ASOCK_BAD_HANDLE)));
    assert_eq!(asock_wait(op, -1), ASOCK_OK);
}

#[test]
fn one_completion_with_the_status_of_its_end() {
    for what in ALL {
        for (name, status, more, end) in ENDS {
            on_both(|runtime| {
                let recorder = runtime.recorder();
                let subject = Subject::new(what, &runtime);
                let op = subject.begin(Some(&recorder));
                calls::assert_pending(&runtime, op);
                end(&runtime, &recorder, subject.socket, op);
                let all = recorder.wait_for(1 + more);
                subject.check(&all[0], op, status);
                if more == 1 {
                    all[1].expect(ASOCK_KIND_CLOSE, ASOCK_OK);
                }
                runtime.stop_if_running();
                assert_eq!(recorder.count(), 1 + more, "{what:?}, {name}");
                assert_stale(op);
            });
        }
    }
}

/// The same where the result is collected, which may be long after the runtime has stopped.
#[test]
fn one_result_with_the_status_of_its_end() {
    for what in ALL {
        for (name, status, _, ends) in ENDS {
            let runtime = Runtime::on_worker();
            let recorder = runtime.recorder();
            let subject = Subject::new(what, &runtime);
            let op = subject.begin(None);
            calls::assert_pending(&runtime, op);
            ends(&runtime, &recorder, subject.socket, op);
            if name == "deadline" {
                runtime.stop_if_running();
                let result = end(op);
                // Whichever came first.
                assert!([ASOCK_TIMED_OUT, ASOCK_STOPPED].contains(&result.status));
            } else {
                subject.check(&end(op), op, status);
            }
            assert_stale(op);
            runtime.stop_if_running();
        }
    }
}

/// One thread begins, another closes, at the same time: what was begun completes once, and the rest was refused.
#[test]
fn a_close_races_the_calls_that_begin() {
    const ROUNDS: usize = 25;
    const EACH: usize = 8;
    for what in ALL {
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let mut subjects = Vec::new();
            let mut begun_in_all = Vec::new();
            for round in 0..ROUNDS {
                let subject = Subject::new(what, &runtime);
                let barrier = Barrier::new(2);
                let begun = std::thread::scope(|scope| {
                    let beginner = scope.spawn(|| {
                        barrier.wait();
                        (0..EACH)
                            .map(|_| subject.try_begin(Some(&recorder)))
                            .collect::<Vec<_>>()
                    });
                    barrier.wait();
                    for _ in 0..round * 20 {
                        std::hint::spin_loop();
                    }
                    assert_eq!(asock_close(subject.socket), ASOCK_OK);
                    beginner.join().expect("no panic")
                });
                let refused = begun.iter().position(|(status, _)| *status != ASOCK_OK);
                for (status, op) in &begun[refused.unwrap_or(EACH)..] {
                    // Once it is closed it stays so.
                    assert_eq!((*status, *op), (ASOCK_BAD_HANDLE, 0), "{what:?}");
                }
                let good = &begun[..refused.unwrap_or(EACH)];
                begun_in_all.extend(good.iter().map(|(_, op)| *op));
                subjects.push(subject);
            }
            let all = recorder.wait_for(begun_in_all.len());
            runtime.stop();
            assert_eq!(recorder.count(), begun_in_all.len());
            for completion in &all {
                completion.expect(what.kind(), ASOCK_CLOSED);
            }
            let mut told: Vec<_> = all.iter().map(|one| one.op).collect();
            told.sort_unstable();
            begun_in_all.sort_unstable();
            assert_eq!(told, begun_in_all, "{what:?}");
        });
    }
}
