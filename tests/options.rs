//! Every option: what it takes, that it is kept and read back before there is a descriptor, that the system has it after
//! the connect, and that it can be changed then.
#![allow(unsafe_code)] // The functions under test take pointers.
#![allow(clippy::print_stderr)] // A part that is left out must say so where people look.

mod common;

use asock::*;
use common::calls::*;
use common::*;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};

/// What the system makes of a size of a buffer.
fn doubled(value: i64) -> i64 {
    value * 2
}

fn same(value: i64) -> i64 {
    value
}

/// One option: its default (none where the system decides), a value to set before and one to set after the connect, what
/// the system then tells, and values that are out of range.
struct Row {
    option: u32,
    default: Option<i64>,
    before: i64,
    after: i64,
    read: fn(i64) -> i64,
    bad: &'static [i64],
}

const FLAG: &[i64] = &[-1, 2, i64::MIN, i64::MAX];
const LIMIT: &[i64] = &[-1, i64::MIN];

const fn row(
    option: u32,
    default: Option<i64>,
    before: i64,
    after: i64,
    bad: &'static [i64],
) -> Row {
    Row {
        option,
        default,
        before,
        after,
        read: same,
        bad,
    }
}

fn table() -> Vec<Row> {
    let sizes = &[-1, i32::MAX as i64 + 1, i64::MIN, i64::MAX];
    let seconds = &[0, -1, 32_768, i64::MIN, i64::MAX];
    let buffer = |option| Row {
        read: doubled,
        ..row(option, None, 20_000, 30_000, sizes)
    };
    vec![
        row(ASOCK_OPTION_NODELAY, Some(1), 0, 1, FLAG),
        row(ASOCK_OPTION_KEEPALIVE, Some(0), 1, 0, FLAG),
        row(ASOCK_OPTION_KEEPALIVE_IDLE_S, None, 77, 32_767, seconds),
        row(ASOCK_OPTION_KEEPALIVE_INTERVAL_S, None, 7, 1, seconds),
        row(ASOCK_OPTION_KEEPALIVE_COUNT, None, 3, 127, &[0, -1, 128]),
        row(ASOCK_OPTION_LINGER_S, Some(-1), 5, 0, &[-2, 65_536]),
        buffer(ASOCK_OPTION_SEND_BUFFER),
        buffer(ASOCK_OPTION_RECEIVE_BUFFER),
        row(ASOCK_OPTION_REUSE_ADDRESS, Some(0), 1, 0, FLAG),
        row(ASOCK_OPTION_REUSE_PORT, Some(0), 1, 0, FLAG),
        row(ASOCK_OPTION_BROADCAST, Some(0), 1, 0, FLAG),
        row(ASOCK_OPTION_TTL, None, 1, 255, &[0, -1, 256]),
        row(ASOCK_OPTION_MULTICAST_INTERFACE, Some(0), 1, 0, LIMIT),
        row(ASOCK_OPTION_CONNECT_TIMEOUT_MS, Some(0), 60_000, 0, LIMIT),
        row(ASOCK_OPTION_SEND_TIMEOUT_MS, Some(0), 1, i64::MAX, LIMIT),
        row(ASOCK_OPTION_RECEIVE_TIMEOUT_MS, Some(0), 2, 1, LIMIT),
        row(ASOCK_OPTION_ACCEPT_TIMEOUT_MS, Some(0), 9, 8, LIMIT),
        row(ASOCK_OPTION_SEND_QUEUE_LIMIT, Some(0), 4, i64::MAX, LIMIT),
    ]
}

#[test]
fn every_option_before_and_after_a_connect() {
    let peer = Peer::silent();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (plain, socket) = (runtime.open(), runtime.open());
        for row in table() {
            if let Some(default) = row.default {
                assert_eq!(get(plain, row.option), Ok(default), "{}", row.option);
            }
            assert!(get(plain, row.option).is_ok());
            assert_eq!(set(socket, row.option, row.before), ASOCK_OK);
            assert_eq!(
                get(socket, row.option),
                Ok(row.before),
                "kept: {}",
                row.option
            );
        }
        for socket in [plain, socket] {
            let completion = recorder.connect_now(socket, peer.port());
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        }
        for row in table() {
            let (option, read) = (row.option, row.read);
            if let Some(default) = row.default {
                assert_eq!(get(plain, option), Ok(default), "default: {option}");
            }
            assert_eq!(
                get(socket, option),
                Ok(read(row.before)),
                "in force: {option}"
            );
            assert_eq!(set(socket, option, row.after), ASOCK_OK);
            assert_eq!(
                get(socket, option),
                Ok(read(row.after)),
                "changed: {option}"
            );
        }
    });
}

#[test]
fn values_out_of_range_change_nothing() {
    let runtime = Runtime::on_worker();
    let (fresh, (connected, _peer)) = (runtime.open(), pair(&runtime));
    for socket in [fresh, connected] {
        for row in table() {
            assert_eq!(set(socket, row.option, row.before), ASOCK_OK);
            let before = get(socket, row.option);
            for value in row.bad {
                let answer = set(socket, row.option, *value);
                assert_eq!(answer, ASOCK_INVALID_ARGUMENT, "{} {value}", row.option);
            }
            assert_eq!(get(socket, row.option), before);
        }
        for option in [0, 17, 63, 70, u32::MAX] {
            assert_eq!(set(socket, option, 1), ASOCK_INVALID_ARGUMENT, "{option}");
            assert_eq!(get(socket, option), Err(ASOCK_INVALID_ARGUMENT));
        }
        let queued = ASOCK_OPTION_SEND_QUEUED;
        assert_eq!(
            set(socket, queued, 0),
            ASOCK_INVALID_ARGUMENT,
            "to read only"
        );
        assert_eq!(get(socket, queued), Ok(0));
    }
}

#[test]
fn v6_only_where_it_has_a_meaning_and_where_not() {
    let runtime = Runtime::on_worker();
    let recorder = runtime.recorder();
    let option = ASOCK_OPTION_V6_ONLY;
    for bad in FLAG {
        assert_eq!(set(runtime.open(), option, *bad), ASOCK_INVALID_ARGUMENT);
    }
    let peer = Peer::silent();
    let socket = runtime.open();
    assert_eq!(set(socket, option, 1), ASOCK_OK);
    assert_eq!(get(socket, option), Ok(1));
    // Harmless on IPv4.
    let completion = recorder.connect_now(socket, peer.port());
    completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
    assert_eq!(set(socket, option, 0), ASOCK_OK);

    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else {
        eprintln!("this machine has no IPv6 loopback: ASOCK_OPTION_V6_ONLY was not tried there");
        return;
    };
    let port = listener.local_addr().expect("it is bound").port();
    for value in [0, 1] {
        let socket = runtime.open();
        assert_eq!(set(socket, option, value), ASOCK_OK);
        let op = recorder.connect_to(socket, "::1", port);
        let completion = recorder.completion_of(op);
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        assert_eq!(get(socket, option), Ok(value));
    }
}

/// A socket that is for a path has no TCP under it: what it does not know is accepted, does nothing, and is 0.
#[test]
fn options_of_tcp_on_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("asock-options-{}", std::process::id()));
    let _ = std::fs::remove_file(&path); // Of a run that was killed, with the same number.
    let listener = UnixListener::bind(&path).expect("the directory can be written");
    let host = format!("unix:{}", path.display());
    let runtime = Runtime::on_worker();
    let recorder = runtime.recorder();
    let socket = runtime.open();
    for option in [
        ASOCK_OPTION_NODELAY,
        ASOCK_OPTION_KEEPALIVE_IDLE_S,
        ASOCK_OPTION_TTL,
    ] {
        assert_eq!(set(socket, option, 1), ASOCK_OK);
    }
    assert_eq!(set(socket, ASOCK_OPTION_SEND_BUFFER, 20_000), ASOCK_OK);
    let op = recorder.connect_to(socket, &host, 0);
    let completion = recorder.completion_of(op);
    completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
    for option in [
        ASOCK_OPTION_NODELAY,
        ASOCK_OPTION_KEEPALIVE_IDLE_S,
        ASOCK_OPTION_TTL,
    ] {
        assert_eq!(get(socket, option), Ok(0));
        assert_eq!(set(socket, option, 1), ASOCK_OK);
    }
    assert_eq!(get(socket, ASOCK_OPTION_SEND_BUFFER), Ok(40_000));

    // One that the system refuses, if this one refuses it, fails the connect, and the handle stays good.
    let socket = runtime.open();
    assert_eq!(set(socket, ASOCK_OPTION_REUSE_PORT, 1), ASOCK_OK);
    let expected = if unix_sockets_share_ports() {
        eprintln!("this system refuses no option: that a refusal fails a connect was not shown");
        (ASOCK_OK, 0)
    } else {
        (ASOCK_NOT_SUPPORTED, libc::EOPNOTSUPP)
    };
    for _ in 0..2 {
        let op = recorder.connect_to(socket, &host, 0);
        let completion = recorder.completion_of(op);
        assert_eq!((completion.status, completion.os_error), expected);
        if completion.status == ASOCK_OK {
            break;
        }
        assert_eq!(remote(socket), Ok(NO_ADDRESS));
    }
    if expected.0 != ASOCK_OK {
        assert_eq!(set(socket, ASOCK_OPTION_REUSE_PORT, 0), ASOCK_OK);
        let peer = Peer::silent();
        let completion = recorder.connect_now(socket, peer.port());
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
    }
    drop(listener);
    std::fs::remove_file(&path).expect("it is there");
}

/// Asks the system itself.
fn unix_sockets_share_ports() -> bool {
    let (socket, _other) = UnixStream::pair().expect("unix sockets");
    let one: libc::c_int = 1;
    // SAFETY: an open descriptor, and an int.
    let answer = unsafe {
        let size = size_of::<libc::c_int>() as libc::socklen_t;
        let (level, name) = (libc::SOL_SOCKET, libc::SO_REUSEPORT);
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const one).cast(),
            size,
        )
    };
    answer == 0
}

#[test]
fn linger_0_resets_whenever_it_was_set() {
    use std::io::{ErrorKind, Read};
    on_both(|runtime| {
        let recorder = runtime.recorder();
        for (before, after, is_reset) in [
            (Some(0), None, true),
            (None, Some(0), true),
            (Some(0), Some(-1), false),
            (None, Some(5), false),
            (None, None, false),
        ] {
            let listener = Listener::new();
            let socket = runtime.open();
            let linger = |value| set(socket, ASOCK_OPTION_LINGER_S, value);
            assert_eq!(before.map_or(ASOCK_OK, linger), ASOCK_OK);
            recorder.connect_now(socket, listener.port());
            let mut peer = listener.accept();
            assert_eq!(after.map_or(ASOCK_OK, linger), ASOCK_OK);
            assert_eq!(asock_close(socket), ASOCK_OK);
            let end = peer.read(&mut [0; 8]).map_err(|error| error.kind());
            let expected = match is_reset {
                true => Err(ErrorKind::ConnectionReset),
                false => Ok(0),
            };
            assert_eq!(end, expected, "{before:?} {after:?}");
        }
    });
}

#[test]
fn options_of_a_closed_socket() {
    let runtime = Runtime::on_worker();
    let socket = runtime.open();
    assert_eq!(asock_close(socket), ASOCK_OK);
    for row in table() {
        assert_eq!(set(socket, row.option, row.before), ASOCK_BAD_HANDLE);
        assert_eq!(set(socket, row.option, row.bad[0]), ASOCK_BAD_HANDLE);
        assert_eq!(get(socket, row.option), Err(ASOCK_BAD_HANDLE));
    }
}

/// The smallest buffers that the system has still carry everything.
#[test]
fn buffers_of_size_0() {
    use std::io::{Read, Write};
    const LENGTH: usize = 10_000;
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let listener = Listener::new();
        let socket = runtime.open();
        for option in [ASOCK_OPTION_SEND_BUFFER, ASOCK_OPTION_RECEIVE_BUFFER] {
            assert_eq!(set(socket, option, 0), ASOCK_OK);
        }
        recorder.connect_now(socket, listener.port());
        let mut peer = listener.accept();
        let bytes = memory::pattern(LENGTH);
        let (room, sent) = (Memory::new(LENGTH), bytes.clone());
        let receive = recorder.receive(socket, &room, ASOCK_RECEIVE_ALL);
        let send = recorder.send(socket, &Memory::of(&bytes), 0);
        let other_end = std::thread::spawn(move || {
            let mut heard = vec![0; LENGTH];
            peer.read_exact(&mut heard).expect("connected");
            assert_eq!(heard, sent);
            peer.write_all(&heard).expect("connected");
            peer
        });
        assert_eq!(recorder.completion_of(send).bytes, LENGTH);
        assert_eq!(recorder.completion_of(receive).bytes, LENGTH);
        assert_eq!(room.bytes(), bytes);
        other_end.join().expect("all arrived");
    });
}
