//! Files on a disk that takes its time: what goes on meanwhile and what waits for it; and disks that fail.
//!
//! The disk is the system's call itself, which this program defines in place of the C library's: the linker takes ours.
//! It holds each call until the test lets it go, without sleeping. The tests take turns, for there is one disk.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::files::*;
use common::*;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How the disk behaves.
struct Behaviour {
    /// Calls wait.
    holds: bool,
    /// How many are waiting.
    waiting: usize,
    /// Bytes that a call gives at most.
    most: usize,
    /// So many calls say that there is no room, though there is.
    vain: usize,
    /// After so many bytes there is only this error.
    error: Option<(u64, libc::c_int)>,
    calls: usize,
}

static BEHAVIOUR: Mutex<Behaviour> = Mutex::new(Behaviour::GOOD);
static CHANGED: Condvar = Condvar::new();
static TURN: Mutex<()> = Mutex::new(());

impl Behaviour {
    const GOOD: Behaviour = Behaviour {
        holds: false,
        waiting: 0,
        most: usize::MAX,
        vain: 0,
        error: None,
        calls: 0,
    };
}

fn behaviour() -> MutexGuard<'static, Behaviour> {
    BEHAVIOUR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In place of the C library's.
///
/// # Safety
/// As there.
#[no_mangle]
pub unsafe extern "C" fn sendfile64(
    socket: libc::c_int,
    file: libc::c_int,
    offset: *mut libc::off64_t,
    count: libc::size_t,
) -> libc::ssize_t {
    let mut disk = behaviour();
    disk.calls += 1;
    disk.waiting += 1;
    CHANGED.notify_all();
    while disk.holds {
        disk = CHANGED.wait(disk).unwrap_or_else(PoisonError::into_inner);
    }
    disk.waiting -= 1;
    // SAFETY: the caller's offset may be read.
    let from = unsafe { *offset } as u64;
    let refused = if disk.vain > 0 {
        disk.vain -= 1;
        Some(libc::EAGAIN)
    } else {
        let error = disk.error.filter(|(bytes, _)| from >= *bytes);
        error.map(|(_, number)| number)
    };
    if let Some(number) = refused {
        // SAFETY: the place of this thread's errno.
        unsafe { *libc::__errno_location() = number };
        return -1;
    }
    let mut count = count.min(disk.most);
    if let Some((bytes, _)) = disk.error {
        count = count.min((bytes - from) as usize);
    }
    drop(disk);
    // SAFETY: what the caller of this function promises.
    unsafe { libc::syscall(libc::SYS_sendfile, socket, file, offset, count) as libc::ssize_t }
}

/// The disk, for one test at a time; good again when that is over.
struct Disk(#[allow(dead_code)] MutexGuard<'static, ()>);

impl Disk {
    fn new() -> Disk {
        Disk(TURN.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut behaviour());
        CHANGED.notify_all();
    }

    fn hold(&self) {
        self.set(|disk| disk.holds = true);
    }

    fn let_go(&self) {
        self.set(|disk| disk.holds = false);
    }

    fn wait_for_calls(&self, count: usize) {
        until("a read", || behaviour().waiting >= count);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.set(|disk| {
            disk.holds = false;
        });
        until("no read is left", || behaviour().waiting == 0);
        self.set(|disk| *disk = Behaviour::GOOD);
    }
}

/// A body for each delivery, with a disk that holds every read. It lets go before the runtime is stopped, whatever
/// happens.
fn on_held_disk(body: impl Fn(&Runtime, &Disk)) {
    let disk = Disk::new();
    on_both(|runtime| {
        struct LetGo<'a>(&'a Disk);
        impl Drop for LetGo<'_> {
            fn drop(&mut self) {
                self.0.let_go();
            }
        }
        disk.hold();
        let _let_go = LetGo(&disk);
        body(&runtime, &disk);
    });
}

/// Other sockets of the same worker, the other direction of the same one, and timers.
#[test]
fn a_slow_disk_holds_nothing_else_up() {
    on_held_disk(|runtime, disk| {
        let recorder = runtime.recorder();
        let bytes = noise(3000, 1);
        let file = file_of(&bytes);
        let (socket, mut peer) = pair(runtime);
        let op = recorder.send_file(socket, &file, 0, 3000);
        disk.wait_for_calls(1);
        let (other, mut others_peer) = pair(runtime);
        // All of it while the read waits: the disk is held until below.
        for _ in 0..50 {
            recorder.put(other, b"ping");
            assert_eq!(read_exactly(&mut others_peer, 4), b"ping");
            others_peer.write_all(b"pong").expect("it is open");
            assert_eq!(recorder.take_bytes(other, 4), b"pong");
            peer.write_all(b"beside").expect("it is open");
            assert_eq!(recorder.take_bytes(socket, 6), b"beside");
        }
        let timer = recorder.timer(0);
        recorder
            .completion_of(timer)
            .expect(ASOCK_KIND_TIMER, ASOCK_OK);
        assert!(is_pending(op));
        disk.let_go();
        let completion = recorder.completion_of(op);
        completion.expect(ASOCK_KIND_SEND, ASOCK_OK);
        assert_eq!(read_exactly(&mut peer, 3000), bytes);
    });
}

/// A cancel, a deadline, a close, a drain: each is asked for at once, and ends the operation when the disk has answered.
#[test]
fn what_ends_a_file_waits_for_the_read() {
    for way in 0..6 {
        on_held_disk(|runtime, disk| {
            let recorder = runtime.recorder();
            let file = file_of(&noise(3 << 20, 2));
            let (socket, _peer) = pair(runtime);
            let op = recorder.send_file(socket, &file, 0, 3 << 20);
            let before = recorder.timer(1_000_000);
            disk.wait_for_calls(1);
            let watchdog = Watchdog::new("a call waits for the disk");
            let expected = match way {
                0 => {
                    assert_eq!(asock_cancel(op), ASOCK_OK);
                    ASOCK_CANCELED
                }
                1 => {
                    assert_eq!(asock_set_deadline(op, 0), ASOCK_OK);
                    ASOCK_TIMED_OUT
                }
                2 => {
                    assert_eq!(asock_close(socket), ASOCK_OK);
                    ASOCK_CLOSED
                }
                3 => {
                    recorder.close(socket, 0);
                    ASOCK_CLOSED
                }
                4 => {
                    let closing = recorder.close(socket, ASOCK_CLOSE_DRAIN);
                    assert_eq!(asock_cancel(closing), ASOCK_OK);
                    ASOCK_CLOSED
                }
                _ => {
                    assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_OK);
                    ASOCK_STOPPED
                }
            };
            drop(watchdog);
            // When a timer behind it has ended, the worker has seen it.
            let after = if way < 5 { recorder.timer(5) } else { before };
            recorder.completion_of(after);
            assert!(is_pending(op), "it ended under the read");
            disk.let_go();
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_SEND, expected);
            assert!(completion.bytes > 0 && completion.bytes <= 1 << 20);
            if way == 3 || way == 4 {
                let all = recorder.wait_until("the close", |all| {
                    all.iter().any(|one| one.kind == ASOCK_KIND_CLOSE)
                });
                let place = |kind| all.iter().rposition(|one| one.kind == kind);
                assert!(place(ASOCK_KIND_CLOSE) > all.iter().position(|one| one.op == op));
            }
        });
    }
}

/// One whose read has not begun need not wait: here all threads are busy.
#[test]
fn a_read_that_has_not_begun_is_canceled_at_once() {
    on_held_disk(|runtime, disk| {
        let recorder = runtime.recorder();
        let file = file_of(&noise(100, 3));
        let pairs: Vec<_> = (0..16).map(|_| pair(runtime)).collect();
        let ops: Vec<_> = pairs
            .iter()
            .map(|(socket, _)| recorder.send_file(*socket, &file, 0, 100))
            .collect();
        disk.wait_for_calls(16);
        let (socket, _peer) = pair(runtime);
        let waits = recorder.send_file(socket, &file, 0, 100);
        let behind = recorder.send_file(socket, &file, 0, 100);
        assert_pending(runtime, waits);
        assert_eq!(behaviour().waiting, 16, "there are more threads than said");
        assert_eq!(asock_cancel(waits), ASOCK_OK);
        let completion = recorder.completion_of(waits);
        completion.expect(ASOCK_KIND_SEND, ASOCK_CANCELED);
        assert_eq!(completion.bytes, 0);
        assert!(is_pending(behind) && ops.iter().all(|op| is_pending(*op)));
        disk.let_go();
        for op in ops.into_iter().chain([behind]) {
            recorder.completion_of(op).expect(ASOCK_KIND_SEND, ASOCK_OK);
        }
    });
}

/// The number of a closed socket may be another's at once; the read in progress must not send to that one.
#[test]
fn a_closed_socket_is_not_mistaken_for_a_new_one() {
    on_held_disk(|runtime, disk| {
        let recorder = runtime.recorder();
        let file = file_of(&noise(1000, 4));
        let (socket, _peer) = pair(runtime);
        let op = recorder.send_file(socket, &file, 0, 1000);
        drop(file); // Its number is free, too.
        let _decoys: Vec<_> = (0..5).map(|_| file_of(&[b'!'; 1000])).collect();
        disk.wait_for_calls(1);
        assert_eq!(asock_close(socket), ASOCK_OK);
        let mut others: Vec<_> = (0..5).map(|_| pair(runtime)).collect();
        disk.let_go();
        recorder.completion_of(op);
        for (socket, peer) in &mut others {
            recorder.put(*socket, b"own");
            assert_eq!(read_exactly(peer, 3), b"own");
        }
    });
}

/// The application's descriptor may be closed, and its number be another file's, before a byte was read.
#[test]
fn the_file_is_the_one_that_was_given() {
    on_held_disk(|runtime, disk| {
        let recorder = runtime.recorder();
        let bytes = noise(1000, 5);
        let file = file_of(&bytes);
        let number = number_of(&file);
        let (socket, mut peer) = pair(runtime);
        recorder.send_file(socket, &file, 0, 1000);
        drop(file);
        let others: Vec<_> = (0..20).map(|_| file_of(&[b'!'; 1000])).collect();
        assert!(others.iter().any(|other| number_of(other) == number));
        disk.let_go();
        assert_eq!(read_exactly(&mut peer, 1000), bytes);
    });
}

/// Stop waits for the read, as the header says, and is complete.
#[test]
fn a_stop_waits_for_the_read() {
    on_held_disk(|runtime, disk| {
        let recorder = runtime.recorder();
        let file = file_of(&noise(3 << 20, 6));
        let (socket, _peer) = pair(runtime);
        let op = recorder.send_file(socket, &file, 0, 3 << 20);
        disk.wait_for_calls(1);
        let handle = runtime.handle();
        let stopper = std::thread::spawn(move || asock_runtime_stop(handle));
        // It has begun when nothing new is taken any more.
        until("the stop", || {
            let (status, _) = recorder.try_send_file(socket, number_of(&file), 0, 1);
            status != ASOCK_OK
        });
        assert!(is_pending(op) && !stopper.is_finished());
        disk.let_go();
        assert_eq!(stopper.join().expect("no panic"), ASOCK_OK);
        let completion = recorder.completion_of(op);
        completion.expect(ASOCK_KIND_SEND, ASOCK_STOPPED);
        assert!(!is_open_elsewhere(&file));
        // Joined; the system may take a moment to take it off its list.
        until("no thread is left", || {
            let threads = std::fs::read_dir("/proc/self/task").expect("Linux has it");
            let mut names = threads
                .flatten()
                .map(|thread| std::fs::read_to_string(thread.path().join("comm")));
            !names.any(|name| name.is_ok_and(|name| name.starts_with("asock-files")))
        });
    });
}

/// A disk that fails: what went is told, and the stream is cut.
#[test]
fn an_error_of_the_disk_is_told() {
    let disk = Disk::new();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let bytes = noise(10_000, 7);
        let file = file_of(&bytes);
        let (socket, mut peer) = pair(&runtime);
        disk.set(|disk| disk.error = Some((4000, libc::EIO)));
        disk.hold(); // Until all are begun.
        recorder.send_file(socket, &file, 0, 10_000);
        recorder.send(socket, &Memory::of(b"behind"), 0);
        disk.let_go();
        let completions = recorder.wait_for(2);
        let told = |one: &Completion| (one.status, one.os_error, one.bytes);
        assert_eq!(told(&completions[0]), (ASOCK_OS_ERROR, libc::EIO, 4000));
        assert_eq!(told(&completions[1]), (ASOCK_OS_ERROR, 0, 0));
        assert_eq!(read_exactly(&mut peer, 4000), bytes[..4000]);
        // The connection is whole: what is begun later goes on.
        disk.set(|disk| disk.error = None);
        recorder.send_file(socket, &file, 0, 10);
        recorder.wait_for(3)[2].expect(ASOCK_KIND_SEND, ASOCK_OK);
        assert_eq!(read_exactly(&mut peer, 10), bytes[..10]);
    });
}

/// A call may give less than it could, and say in vain that there is no room: it goes on, and not as fast as it can.
#[test]
fn it_goes_on_after_little_and_after_nothing() {
    let disk = Disk::new();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let bytes = noise(50_000, 8);
        let file = file_of(&bytes);
        let (socket, mut peer) = pair(&runtime);
        disk.set(|disk| {
            disk.most = 777;
            disk.vain = 60;
            disk.calls = 0;
        });
        let start = Instant::now();
        recorder.send_file(socket, &file, 0, bytes.len());
        assert_eq!(read_exactly(&mut peer, bytes.len()), bytes);
        recorder.wait_for(1)[0].expect(ASOCK_KIND_SEND, ASOCK_OK);
        // Most of the vain calls came after a pause of 2 ms.
        assert_passed(start, 100);
        assert_eq!(behaviour().calls, 60 + bytes.len().div_ceil(777));
    });
}

/// Both directions of the hand-over under load: many parts, cancels at any moment, and every completion once.
#[test]
fn cancels_at_any_moment() {
    let _disk = Disk::new();
    for seed in 0..60 {
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let bytes = noise(3 << 20, seed);
            let file = file_of(&bytes);
            let (socket, peer) = narrow_pair(&runtime);
            let reader = std::thread::spawn(move || rest_of(peer));
            let op = recorder.send_file(socket, &file, 0, bytes.len());
            std::thread::sleep(Duration::from_micros(seed * 40));
            asock_cancel(op); // It may have ended already.
            let completion = recorder.completion_of(op);
            let whole = completion.bytes == bytes.len();
            let status = if whole { ASOCK_OK } else { ASOCK_CANCELED };
            completion.expect(ASOCK_KIND_SEND, status);
            recorder.close(socket, ASOCK_CLOSE_DRAIN);
            let got = reader.join().expect("no panic");
            assert_eq!(got.len(), completion.bytes, "other bytes than were told");
            assert!(got == bytes[..got.len()]);
        });
    }
}

/// The threads are needed at the same time by several runtimes, and are each runtime's own.
#[test]
fn a_runtime_does_not_wait_for_the_files_of_another() {
    on_held_disk(|runtime, disk| {
        let recorder = runtime.recorder();
        let file = Arc::new(file_of(&noise(100, 9)));
        let (socket, _peer) = pair(runtime);
        let op = recorder.send_file(socket, &file, 0, 100);
        disk.wait_for_calls(1);
        let other = Runtime::on_worker();
        let (socket, mut peer) = pair(&other);
        let of_other = other.recorder();
        of_other.put(socket, b"quick");
        assert_eq!(read_exactly(&mut peer, 5), b"quick");
        other.stop();
        assert!(is_pending(op));
    });
}
