//! Addresses: as text and back, what they say of themselves, and what a socket says of its two ends.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::*;
use std::ffi::{CStr, CString};
use std::ptr::{null, null_mut};

fn family(address: &asock_address) -> u32 {
    // SAFETY: an address.
    unsafe { asock_address_family(address) }
}

fn port(address: &asock_address) -> u16 {
    // SAFETY: an address.
    unsafe { asock_address_port(address) }
}

#[test]
fn good_texts_and_what_they_become() {
    let v4 = ASOCK_FAMILY_IPV4;
    let v6 = ASOCK_FAMILY_IPV6;
    let unix = ASOCK_FAMILY_UNIX;
    let path = format!("unix:/{}", "p".repeat(106));
    let name = format!("unix:@{}", "n".repeat(107));
    for (host, port_given, formatted, of) in [
        ("127.0.0.1", 80, "127.0.0.1:80", v4),
        ("0.0.0.0", 1, "0.0.0.0:1", v4),
        ("255.255.255.255", 65535, "255.255.255.255:65535", v4),
        ("::1", 80, "[::1]:80", v6),
        ("::", 80, "[::]:80", v6),
        ("0:0:0:0:0:0:0:1", 80, "[::1]:80", v6),
        ("::ffff:127.0.0.1", 9, "[::ffff:127.0.0.1]:9", v6),
        ("2001:DB8::1:0:0:1", 443, "[2001:db8::1:0:0:1]:443", v6),
        (
            "2001:db8:0:1:1:1:1:1",
            443,
            "[2001:db8:0:1:1:1:1:1]:443",
            v6,
        ),
        ("fe80::1%3", 80, "[fe80::1%3]:80", v6),
        ("fe80::1%lo", 80, "[fe80::1%1]:80", v6),
        ("unix:/p", 0, "unix:/p", unix),
        ("unix:relative/path", 7, "unix:relative/path", unix),
        ("unix:@name", 0, "unix:@name", unix),
        (&path, 0, &path, unix),
        (&name, 0, &name, unix),
    ] {
        let parsed = address(host, port_given);
        assert_eq!(text(&parsed), formatted);
        assert_eq!(family(&parsed), of, "{host}");
        let port_expected = if of == unix { 0 } else { port_given };
        assert_eq!(port(&parsed), port_expected, "{host}");
        // Equal addresses are equal byte for byte.
        assert_eq!(parsed, address(host, port_given));
        assert_ne!(parsed, address("127.0.0.1", 81));
    }
    assert_eq!(address("::1", 5), address("0:0::0:1", 5));
    assert_eq!(address("unix:/p", 5), address("unix:/p", 0));
    assert_eq!(address("fe80::1%lo", 5), address("fe80::1%1", 5));
}

#[test]
fn bad_texts() {
    let too_long = "x".repeat(254);
    let path_too_long = format!("unix:/{}", "p".repeat(107));
    let name_too_long = format!("unix:@{}", "n".repeat(108));
    for host in [
        "",
        " ",
        "localhost",
        "127.1",
        "127.0.0",
        "127.0.0.1.",
        "127.0.0.256",
        "127.0.0.01",
        "010.0.0.1",
        "0x7f000001",
        "0x7f.0.0.1",
        "2130706433",
        "127.0.0.1 ",
        " 127.0.0.1",
        "127.0.0.1:80",
        "127.0.0.1%lo",
        "[::1]",
        ":::",
        "1::2::3",
        "12345::",
        "g::1",
        "1:2:3:4:5:6:7:8:9",
        "fe80::1%",
        "fe80::1%no-such-interface",
        "fe80::1%99999999999",
        "fe80::1%-1",
        "unix:",
        "unix:@",
        "UNIX:/p",
        &path_too_long,
        &name_too_long,
        &too_long,
    ] {
        let host = CString::new(host).expect("no zero inside");
        assert_eq!(parse(&host, 80), Err(ASOCK_INVALID_ARGUMENT), "{host:?}");
    }
    for host in [
        b"\xff\xfe\0".as_slice(),
        b"unix:/\x80\0",
        b"127.0.0.1\xc0\0",
    ] {
        let host = CStr::from_bytes_with_nul(host).expect("one zero, at the end");
        assert_eq!(parse(host, 80), Err(ASOCK_INVALID_ARGUMENT), "{host:?}");
    }
    for host in [c"127.0.0.1", c"::1"] {
        assert_eq!(parse(host, 0), Err(ASOCK_INVALID_ARGUMENT), "port 0");
    }
}

#[test]
fn the_room_for_the_text() {
    let long = address("2001:db8:1111:2222:3333:4444:5555:6666%4294967295", 65535);
    for one in [
        address("127.0.0.1", 80),
        long,
        address("unix:@n", 0),
        NO_ADDRESS,
    ] {
        let needed = text(&one).len() + 1;
        assert_eq!(format(&one, needed), Ok(text(&one)));
        for capacity in [needed - 1, 0] {
            assert_eq!(format(&one, capacity), Err(ASOCK_INVALID_ARGUMENT));
        }
    }
    assert_eq!(format(&NO_ADDRESS, 1), Ok(String::new()));
}

#[test]
fn addresses_that_cannot_be() {
    let good = address("127.0.0.1", 80);
    let mut bad = Vec::new();
    for length in [1, 2, 15, 17, 28, 129, u32::MAX] {
        bad.push(asock_address { length, ..good });
    }
    bad.push(asock_address {
        reserved: 1,
        ..good
    });
    let mut unknown_family = good;
    unknown_family.storage[0] |= 0xff00;
    unknown_family.storage[0] |= 0x00ff;
    bad.push(unknown_family);
    for one in &bad {
        assert_eq!(family(one), ASOCK_FAMILY_NONE, "{one:?}");
        assert_eq!(port(one), 0);
        assert_eq!(
            format(one, ASOCK_ADDRESS_TEXT_MAX),
            Err(ASOCK_INVALID_ARGUMENT)
        );
    }
    assert_eq!(
        (family(&NO_ADDRESS), port(&NO_ADDRESS)),
        (ASOCK_FAMILY_NONE, 0)
    );
    // SAFETY: NULL is allowed.
    let answers = unsafe { (asock_address_family(null()), asock_address_port(null())) };
    assert_eq!(answers, (ASOCK_FAMILY_NONE, 0));

    let runtime = Runtime::on_worker();
    let socket = runtime.open();
    bad.push(NO_ADDRESS);
    for one in &bad {
        // SAFETY: an address, if a bad one.
        let answer = unsafe {
            asock_begin_connect_address(socket, one, Some(record), null_mut(), null_mut())
        };
        assert_eq!(answer, ASOCK_INVALID_ARGUMENT, "{one:?}");
    }
    assert_eq!(runtime.stats().operations_begun, 0);
}

#[test]
fn a_path_that_is_no_text() {
    // Made by hand, as the system might give it: bytes that are no text, and a character that disturbs terminals.
    let mut odd = address("unix:/abcd", 0);
    let start = 2 + 1; // Behind the family and the slash.
    for (at, byte) in [(start, 0xff_u8), (start + 1, 0x1b)] {
        let shift = 8 * (at % 8);
        odd.storage[at / 8] &= !(0xff << shift);
        odd.storage[at / 8] |= u64::from(byte) << shift;
    }
    if cfg!(target_endian = "little") {
        assert_eq!(text(&odd), "unix:/??cd");
    }
}

#[test]
fn the_ends_of_a_socket() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let listener = Listener::new();
        let there = address("127.0.0.1", listener.port());
        let socket = runtime.open();
        assert_eq!(local(socket), Ok(NO_ADDRESS), "before");
        assert_eq!(remote(socket), Ok(NO_ADDRESS), "before");

        let completion = recorder.connect_now(socket, listener.port());
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        let peer = listener.accept();
        let here = local(socket).expect("connected");
        assert_eq!(
            text(&here),
            peer.peer_addr().expect("connected").to_string()
        );
        assert_eq!(remote(socket), Ok(there));
        assert_eq!(family(&here), ASOCK_FAMILY_IPV4);

        reset(peer);
        let (completion, _) = recorder.take(socket, 1, 0);
        completion.expect(ASOCK_KIND_RECEIVE, ASOCK_CONNECTION_RESET);
        assert_eq!(remote(socket), Ok(there), "after a reset");
        assert!(local(socket).is_ok(), "after a reset");

        assert_eq!(asock_close(socket), ASOCK_OK);
        assert_eq!(local(socket), Err(ASOCK_BAD_HANDLE));
        assert_eq!(remote(socket), Err(ASOCK_BAD_HANDLE));
    });
}

#[test]
fn the_ends_of_a_socket_that_is_connecting() {
    let hole = BlackHole::new();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let socket = runtime.open();
        let op = recorder.connect(socket, hole.port());
        assert_pending(&runtime, op);
        assert_eq!(remote(socket), Ok(NO_ADDRESS), "during a connect");
        // The system has chosen our end already.
        let here = local(socket).expect("connecting");
        assert!(here.length == 0 || text(&here).starts_with("127.0.0.1:"));
        assert_eq!(asock_cancel(op), ASOCK_OK);
        recorder.completion_of(op);
        assert_eq!(local(socket), Ok(NO_ADDRESS), "after a failed connect");
    });
}
