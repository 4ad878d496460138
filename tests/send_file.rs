//! Files that are sent: all of their bytes, in their place among the other sends, and what the completion says when they
//! do not come that far. What a slow disk does is in slow_file.rs.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::files::*;
use common::memory::pattern;
use common::*;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::process::{Command, Stdio};
use std::ptr::null_mut;

#[test]
fn a_file_keeps_its_place_among_the_sends() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = pair(&runtime);
        let bytes = pattern(100_000);
        let mut file = file_of(&bytes);
        let ops = [
            recorder.send(socket, &Memory::of(b"head"), 0),
            recorder.send_file(socket, &file, 1000, 90_000),
            recorder.send(socket, &Memory::of(b"between"), ASOCK_SEND_COPY),
            recorder.send_file(socket, &file, 0, 5),
            recorder.send_file(socket, &file, 100_000, 0),
            recorder.send_file(socket, &file, 99_999, 1),
        ];
        let position = file.stream_position().expect("it is a file");
        assert_eq!(position, 100_000, "its position was moved");
        drop(file); // Nobody needs it after the begin.
        let lengths = [4, 90_000, 7, 5, 0, 1];
        let expected = [
            b"head",
            &bytes[1000..91_000],
            b"between",
            &bytes[..5],
            &bytes[99_999..],
        ]
        .concat();
        assert_eq!(read_exactly(&mut peer, expected.len()), expected);
        let completions = recorder.wait_for(ops.len());
        for ((completion, op), length) in completions.iter().zip(ops).zip(lengths) {
            completion.expect(ASOCK_KIND_SEND, ASOCK_OK);
            assert_eq!((completion.op, completion.bytes), (op, length));
        }
        assert!(completions[1].buffer.is_null() && completions[4].buffer.is_null());
        assert_eq!((completions[1].socket, completions[1].value), (socket, 0));
        assert_eq!(completions[1].user_data, recorder.user_data());
    });
}

/// Many times what the line holds and what is read at once, to a peer that starts late and reads in odd pieces.
#[test]
fn a_long_file_arrives_unaltered() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = narrow_pair(&runtime);
        let bytes = noise(7 << 20, 1);
        let file = file_of(&bytes);
        recorder.send_file(socket, &file, 3, bytes.len() - 3);
        wait_stuck(&runtime, socket, bytes.len() - 3);
        let mut got = Vec::new();
        while got.len() < bytes.len() - 3 {
            let piece = (bytes.len() - 3 - got.len()).min(77_777);
            got.extend(read_exactly(&mut peer, piece));
        }
        assert!(got == bytes[3..], "other bytes arrived");
        let completion = recorder.wait_for(1)[0];
        completion.expect(ASOCK_KIND_SEND, ASOCK_OK);
        assert_eq!(completion.bytes, bytes.len() - 3);
        assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(0));
        assert_eq!(runtime.stats().bytes_sent, bytes.len() as u64 - 3);
    });
}

#[test]
fn several_files_at_once_on_several_sockets() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let bytes = noise(3 << 20, 2);
        let file = file_of(&bytes);
        let pairs: Vec<_> = (0..20).map(|_| narrow_pair(&runtime)).collect();
        for (number, (socket, _)) in pairs.iter().enumerate() {
            recorder.send_file(*socket, &file, number as u64, bytes.len() - number);
            recorder.send_file(*socket, &file, 0, number);
        }
        drop(file);
        std::thread::scope(|scope| {
            for (number, (_, peer)) in pairs.iter().enumerate() {
                let bytes = &bytes;
                scope.spawn(move || {
                    let mut peer = peer.try_clone().expect("it is a socket");
                    let got = read_exactly(&mut peer, bytes.len());
                    assert!(got[..bytes.len() - number] == bytes[number..]);
                    assert!(got[bytes.len() - number..] == bytes[..number]);
                });
            }
            recorder.wait_for(40);
        });
        for completion in recorder.completions() {
            completion.expect(ASOCK_KIND_SEND, ASOCK_OK);
        }
    });
}

/// What it has is sent, and that is a cut like any other.
#[test]
fn a_file_that_is_too_short() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = narrow_pair(&runtime);
        let file = file_of(&pattern(3000));
        // It goes on when the peer reads, and so when all are begun.
        recorder.send(socket, &Memory::new(BIG), 0);
        recorder.send_file(socket, &file, 1000, 2001);
        recorder.send(socket, &Memory::of(b"behind"), 0);
        recorder.send_file(socket, &file, 0, 10);
        read_exactly(&mut peer, BIG);
        let told: Vec<_> = recorder.wait_for(4)[1..]
            .iter()
            .map(|one| (one.status, one.bytes, one.os_error))
            .collect();
        let cut = ASOCK_INVALID_ARGUMENT;
        assert_eq!(told, [(cut, 2000, 0), (cut, 0, 0), (cut, 0, 0)]);
        // What is begun after that goes on, and one that has not sent a byte cuts nothing.
        recorder.send_file(socket, &file, 3000, 1);
        recorder.send(socket, &Memory::of(b"goes on"), 0);
        let completions = recorder.wait_for(6);
        completions[4].expect(ASOCK_KIND_SEND, ASOCK_INVALID_ARGUMENT);
        assert_eq!(completions[4].bytes, 0);
        completions[5].expect(ASOCK_KIND_SEND, ASOCK_OK);
        let got = read_exactly(&mut peer, 2007);
        assert_eq!(got, [&pattern(3000)[1000..], b"goes on"].concat());
    });
}

/// A file that is cut while it is sent has the bytes that went.
#[test]
fn a_file_that_is_truncated_meanwhile() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = narrow_pair(&runtime);
        let length = 16 << 20;
        let file = file_of(&noise(length, 3));
        recorder.send_file(socket, &file, 0, length);
        wait_stuck(&runtime, socket, length);
        file.set_len(100).expect("it can be cut");
        let mut room = vec![0; 1 << 20];
        while recorder.count() == 0 {
            runtime.dispatch_if_polled();
            peer.set_nonblocking(true).expect("it is a socket");
            let _ = peer.read(&mut room); // Nothing there at present.
        }
        let completion = recorder.wait_for(1)[0];
        completion.expect(ASOCK_KIND_SEND, ASOCK_INVALID_ARGUMENT);
        assert!(completion.bytes > 0 && completion.bytes < length);
    });
}

#[test]
fn what_is_no_file_to_read_is_an_invalid_argument() {
    let runtime = Runtime::on_worker();
    let recorder = runtime.recorder();
    let (socket, _peer) = pair(&runtime);
    let folder = File::open(std::env::temp_dir()).expect("there is one");
    let device = File::open("/dev/zero").expect("there is one");
    let (end, _other) = std::os::unix::net::UnixStream::pair().expect("makes a pair");
    let mut pipe = [0; 2];
    // SAFETY: room for two descriptors.
    let piped = unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) };
    assert_eq!(piped, 0);
    let path = std::env::temp_dir().join(format!("asock-test-path-{}", std::process::id()));
    let open = |flags: i32| {
        let mut options = OpenOptions::new();
        let options = options.read(true).custom_flags(flags);
        options.open(&path).expect("it is there")
    };
    let to_write = File::create(&path).expect("a file can be made");
    let only_path = open(libc::O_PATH);
    let good = open(0);
    std::fs::remove_file(&path).expect("it was just made");
    let cases = [
        (-1, 0, 1),
        (i64::from(i32::MAX), 0, 1),
        (i64::MAX, 0, 1),
        (i64::from(pipe[0]), 0, 1),
        (number_of(&folder), 0, 1),
        (number_of(&device), 0, 1),
        (number_of(&end), 0, 0),
        (number_of(&to_write), 0, 1),
        (number_of(&only_path), 0, 1),
        (number_of(&good), u64::MAX, 0),
        (number_of(&good), i64::MAX as u64, 1),
        (number_of(&good), 1, u64::MAX),
    ];
    for (number, offset, length) in cases {
        let (status, op) = recorder.try_send_file(socket, number, offset, length);
        let case = (number, offset, length);
        assert_eq!((status, op), (ASOCK_INVALID_ARGUMENT, 0), "{case:?}");
    }
    // The other end of what is allowed, and a bad handle wins over all of it.
    let (status, _) = recorder.try_send_file(socket, number_of(&good), i64::MAX as u64, 0);
    assert_eq!(status, ASOCK_OK);
    let (status, _) = recorder.try_send_file(socket + (1 << 40), -1, 0, 1);
    assert_eq!(status, ASOCK_BAD_HANDLE);
    recorder.wait_for(1)[0].expect(ASOCK_KIND_SEND, ASOCK_OK);
    for end in pipe {
        // SAFETY: they are ours.
        unsafe { libc::close(end) };
    }
    let stats = runtime.stats();
    assert_eq!(
        (stats.operations_begun, stats.operations_completed),
        (2, 2),
        "none was begun"
    );
}

#[test]
fn without_a_connection() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let file = file_of(b"bytes");
        let socket = runtime.open();
        recorder.send_file(socket, &file, 0, 5);
        recorder.wait_for(1)[0].expect(ASOCK_KIND_SEND, ASOCK_NOT_CONNECTED);
        // It waits for the connect before it, and shares its failure.
        let hole = BlackHole::new();
        let connect = recorder.connect(socket, hole.port());
        recorder.send_file(socket, &file, 0, 5);
        assert_eq!(asock_cancel(connect), ASOCK_OK);
        for completion in &recorder.wait_for(3)[1..] {
            assert_eq!(completion.status, ASOCK_CANCELED);
        }
        let listener = Listener::new();
        recorder.connect(socket, listener.port());
        recorder.send_file(socket, &file, 1, 4);
        recorder.wait_for(5)[4].expect(ASOCK_KIND_SEND, ASOCK_OK);
        assert_eq!(read_exactly(&mut listener.accept(), 4), b"ytes");
    });
}

#[test]
fn its_bytes_count_in_the_queue() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = narrow_pair(&runtime);
        let length = 32 << 20;
        let bytes = noise(length, 4);
        let file = file_of(&bytes);
        let limit = length as i64 + 10;
        assert_eq!(set(socket, ASOCK_OPTION_SEND_QUEUE_LIMIT, limit), ASOCK_OK);
        recorder.send_file(socket, &file, 0, length);
        let (status, _) = recorder.try_send_file(socket, number_of(&file), 0, length as u64);
        assert_eq!(status, ASOCK_QUEUE_FULL);
        wait_stuck(&runtime, socket, length);
        let queued = get(socket, ASOCK_OPTION_SEND_QUEUED).expect("a socket");
        assert!(queued > 0 && queued < length as i64);
        // So much room is there again.
        let room = (limit - queued) as u64;
        let (status, _) = recorder.try_send_file(socket, number_of(&file), 0, room + 1);
        assert_eq!(status, ASOCK_QUEUE_FULL);
        recorder.send_file(socket, &file, 0, room as usize);
        assert!(read_exactly(&mut peer, length) == bytes);
        assert!(read_exactly(&mut peer, room as usize) == bytes[..room as usize]);
        recorder.wait_for(2)[1].expect(ASOCK_KIND_SEND, ASOCK_OK);
        assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(0));
    });
}

/// A file that is cut tells how many bytes went, takes those behind it with it, and spares those begun later.
#[test]
fn a_cut_file_tells_its_bytes() {
    for (status, cut) in CUTS {
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let (socket, peer) = narrow_pair(&runtime);
            let bytes = noise(16 << 20, 5);
            let file = file_of(&bytes);
            let op = recorder.send_file(socket, &file, 0, bytes.len());
            let behind = recorder.send_file(socket, &file, 0, 10);
            wait_stuck(&runtime, socket, bytes.len() + 10);
            cut(op);
            let first = recorder.completion_of(op);
            first.expect(ASOCK_KIND_SEND, status);
            let behind = recorder.completion_of(behind);
            behind.expect(ASOCK_KIND_SEND, status);
            assert_eq!(behind.bytes, 0);
            assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUED), Ok(0));
            recorder.send_file(socket, &file, 7, 20);
            recorder.close(socket, ASOCK_CLOSE_DRAIN);
            let got = rest_of(peer);
            assert!(first.bytes > 0 && first.bytes < bytes.len());
            assert!(got[..first.bytes] == bytes[..first.bytes]);
            assert!(got[first.bytes..] == bytes[7..27]);
        });
    }
}

#[test]
fn one_that_waits_for_its_turn_is_canceled_at_once() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, _peer) = narrow_pair(&runtime);
        let file = file_of(&noise(16 << 20, 6));
        recorder.send_file(socket, &file, 0, 16 << 20);
        let second = recorder.send_file(socket, &file, 0, 10);
        assert_eq!(asock_cancel(second), ASOCK_OK);
        let completion = recorder.completion_of(second);
        completion.expect(ASOCK_KIND_SEND, ASOCK_CANCELED);
        assert_eq!((completion.bytes, recorder.count()), (0, 1));
    });
}

#[test]
fn the_time_limit_of_the_socket_holds_for_files() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, _peer) = narrow_pair(&runtime);
        let file = file_of(&noise(16 << 20, 7));
        assert_eq!(set(socket, ASOCK_OPTION_SEND_TIMEOUT_MS, 30), ASOCK_OK);
        let start = std::time::Instant::now();
        recorder.send_file(socket, &file, 0, 16 << 20);
        recorder.wait_for(1)[0].expect(ASOCK_KIND_SEND, ASOCK_TIMED_OUT);
        assert_passed(start, 30);
    });
}

/// Each of the ways in which a socket or its runtime ends, with a file that cannot go on.
#[test]
fn close_drain_and_stop_end_it_once() {
    for (expected, closes, end) in ENDINGS {
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let (socket, peer) = narrow_pair(&runtime);
            let bytes = noise(16 << 20, 8);
            let file = file_of(&bytes);
            recorder.send_file(socket, &file, 0, bytes.len());
            recorder.send_file(socket, &file, 0, 1);
            wait_stuck(&runtime, socket, bytes.len() + 1);
            end(&runtime, &recorder, socket);
            let completions = recorder.wait_for(2);
            for completion in &completions[..2] {
                completion.expect(ASOCK_KIND_SEND, expected);
            }
            let sent = completions[0].bytes;
            assert!(sent > 0 && completions[1].bytes == 0);
            runtime.stop_if_running();
            assert_eq!(recorder.count(), 2 + closes);
            let got = rest_of(peer);
            assert!(got.len() <= sent && got == bytes[..got.len()]);
        });
    }
}

#[test]
fn a_draining_close_sends_it_all_and_a_shutdown_comes_behind_it() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let bytes = noise(3 << 20, 9);
        let file = file_of(&bytes);
        let (socket, peer) = narrow_pair(&runtime);
        recorder.send_file(socket, &file, 0, bytes.len());
        recorder.close(socket, ASOCK_CLOSE_DRAIN);
        assert!(rest_of(peer) == bytes);
        recorder.wait_for(2)[0].expect(ASOCK_KIND_SEND, ASOCK_OK);
        let (socket, peer) = narrow_pair(&runtime);
        recorder.send_file(socket, &file, 0, bytes.len());
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_SEND), ASOCK_OK);
        recorder.send_file(socket, &file, 0, 1);
        assert!(rest_of(peer) == bytes);
        let completions = recorder.wait_for(4);
        let ends: Vec<_> = completions[2..].iter().map(|one| one.status).collect();
        assert!(ends.contains(&ASOCK_OK) && ends.contains(&ASOCK_SHUT_DOWN));
    });
}

/// Also that no signal ends the program: sending a file into a broken pipe raises one.
#[test]
fn a_reset_by_the_peer_is_told() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = narrow_pair(&runtime);
        let file = file_of(&noise(16 << 20, 10));
        let op = recorder.send_file(socket, &file, 0, 16 << 20);
        let behind = recorder.send_file(socket, &file, 0, 5);
        wait_stuck(&runtime, socket, (16 << 20) + 5);
        reset(peer);
        let first = recorder.completion_of(op);
        first.expect(ASOCK_KIND_SEND, ASOCK_CONNECTION_RESET);
        assert!(first.bytes > 0 && first.bytes < 16 << 20);
        let second = recorder.completion_of(behind);
        second.expect(ASOCK_KIND_SEND, ASOCK_CONNECTION_RESET);
        assert_eq!(second.bytes, 0);
        recorder.send_file(socket, &file, 0, 5);
        recorder.wait_for(3)[2].expect(ASOCK_KIND_SEND, ASOCK_CONNECTION_RESET);
    });
}

/// On a ring the first file changes how a socket waits. Receives, before and behind it, must not notice.
#[test]
fn receives_go_on_beside_it() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = narrow_pair(&runtime);
        let before = Memory::new(4);
        let pending = recorder.receive(socket, &before, ASOCK_RECEIVE_ALL);
        let bytes = noise(2 << 20, 11);
        let file = file_of(&bytes);
        let sent = recorder.send_file(socket, &file, 0, bytes.len());
        assert!(read_exactly(&mut peer, bytes.len()) == bytes);
        recorder
            .completion_of(sent)
            .expect(ASOCK_KIND_SEND, ASOCK_OK);
        assert!(is_pending(pending));
        for part in [b"ab", b"cd"] {
            peer.write_all(part).expect("it is open");
        }
        recorder
            .completion_of(pending)
            .expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        assert_eq!(before.bytes(), b"abcd");
        let empty = recorder.receive(socket, &Memory::new(0), 0);
        let peek = recorder.receive(socket, &Memory::new(3), ASOCK_RECEIVE_PEEK);
        let room = Memory::new(3);
        let last = recorder.receive(socket, &room, ASOCK_RECEIVE_ALL);
        assert_pending(&runtime, last);
        peer.write_all(b"efg").expect("it is open");
        recorder
            .completion_of(empty)
            .expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        recorder
            .completion_of(peek)
            .expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        recorder
            .completion_of(last)
            .expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        assert_eq!(room.bytes(), b"efg");
        // And a plain send that finds no room waits for it.
        let big = recorder.send(socket, &Memory::of(&pattern(BIG)), 0);
        assert_eq!(read_exactly(&mut peer, BIG), pattern(BIG));
        recorder
            .completion_of(big)
            .expect(ASOCK_KIND_SEND, ASOCK_OK);
        recorder.receive(socket, &Memory::new(9), 0);
        drop(peer);
        let end = recorder.wait_until("the end", |all| all.len() == 7)[6];
        end.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        assert_eq!(end.bytes, 0);
    });
}

/// Collected by `asock_end`, polled, and neither callback nor op.
#[test]
fn it_is_delivered_in_every_way() {
    let file = file_of(b"0123456789");
    let begin = |socket, op| {
        // SAFETY: nothing has to outlive it; the file is its own.
        unsafe { asock_begin_send_file(socket, number_of(&file), 2, 5, None, null_mut(), op) }
    };
    let runtime = Runtime::on_worker();
    let (socket, mut peer) = pair(&runtime);
    let result = end(begun(|op| begin(socket, op)));
    assert_eq!((result.kind, result.status), (ASOCK_KIND_SEND, ASOCK_OK));
    assert_eq!((result.bytes, result.buffer), (5, null_mut()));
    assert_eq!(begin(socket, null_mut()), ASOCK_OK);
    assert_eq!(read_exactly(&mut peer, 10), b"2345623456");

    let runtime = Runtime::on_poll();
    let (socket, mut peer) = pair(&runtime);
    assert_eq!(begin(socket, null_mut()), ASOCK_OK);
    let (status, results) = poll(&runtime, -1, 1);
    assert_eq!((status, results.len()), (ASOCK_OK, 1));
    assert_eq!((results[0].kind, results[0].bytes), (ASOCK_KIND_SEND, 5));
    assert_eq!(read_exactly(&mut peer, 5), b"23456");
}

/// The library's own descriptor of the file is closed when it is no longer needed, however it ends.
#[test]
fn the_file_is_closed_in_the_end() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, mut peer) = narrow_pair(&runtime);
        let file = file_of(&noise(16 << 20, 13));
        recorder.send_file(socket, &file, 0, 5);
        recorder.send_file(socket, &file, 0, 0);
        recorder.wait_for(2);
        assert!(!is_open_elsewhere(&file), "sent, and still open");
        read_exactly(&mut peer, 5);
        let op = recorder.send_file(socket, &file, 0, 16 << 20);
        recorder.send_file(socket, &file, 0, 1);
        wait_stuck(&runtime, socket, (16 << 20) + 1);
        assert!(is_open_elsewhere(&file));
        assert_eq!(asock_cancel(op), ASOCK_OK);
        recorder.wait_for(4);
        until("it is closed", || !is_open_elsewhere(&file));
        recorder.send_file(socket, &file, 16 << 20, 1);
        recorder.send_file(runtime.open(), &file, 0, 1);
        recorder.wait_for(6);
        runtime.stop();
        assert!(!is_open_elsewhere(&file), "stopped, and still open");
    });
}

/// To a reader that nobody here wrote, and compared by its hash. A quarter of the file is data, the rest is holes.
#[test]
fn a_gigabyte_by_hash() {
    const LENGTH: usize = 1 << 30;
    let file = empty_file();
    file.set_len(LENGTH as u64).expect("there is room");
    let data = noise(1 << 16, 12);
    for place in (0..LENGTH).step_by(1 << 18) {
        let mark = place.to_ne_bytes();
        file.write_all_at(&data, place as u64)
            .expect("there is room");
        file.write_all_at(&mark, place as u64)
            .expect("there is room");
    }
    let hash = |input: OwnedFd| {
        Command::new("sha256sum")
            .stdin(Stdio::from(input))
            .stdout(Stdio::piped())
            .spawn()
            .expect("every Linux has it")
    };
    let runtime = Runtime::on_worker();
    let recorder = runtime.recorder();
    let (socket, peer) = pair(&runtime);
    let reader = hash(peer.into());
    recorder.send_file(socket, &file, 0, LENGTH);
    recorder.close(socket, ASOCK_CLOSE_DRAIN);
    let of = |child: std::process::Child| child.wait_with_output().expect("it ends").stdout;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let expected = of(hash(File::open(path).expect("it is open").into()));
    let got = of(reader);
    let completion = recorder.wait_for(2)[0];
    completion.expect(ASOCK_KIND_SEND, ASOCK_OK);
    assert_eq!(completion.bytes, LENGTH);
    assert_eq!(got.len(), 68);
    assert_eq!(got, expected);
}
