//! Groups of receivers: who joins gets what is sent to the group, who has not or has left does not; and where it goes by
//! the options.
//!
//! Each test has a network of its own where the machine allows it, with a loopback that carries groups of both families.
//! Elsewhere only what IPv4 does on the loopback is tested.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::{address, get, set};
use common::datagram::*;
use common::*;
use std::io::{Error, Result, Write};

/// The index of the loopback.
const LOOPBACK: u32 = 1;

fn check(answer: libc::c_int) -> Result<libc::c_int> {
    match answer {
        -1 => Err(Error::last_os_error()),
        answer => Ok(answer),
    }
}

/// Gives this thread, and those that it starts, a network of their own. False where that is not allowed.
fn own_network() -> bool {
    // SAFETY: no pointers.
    let answer = check(unsafe { libc::unshare(libc::CLONE_NEWNET) });
    if answer.is_err() {
        assert!(std::env::var_os("CI").is_none(), "must be tested here");
        // Not by a macro, which the harness would keep to itself.
        let _ = writeln!(std::io::stderr(), "multicast: NOT TESTED with IPv6");
        return false;
    }
    loopback_up().expect("it is ours");
    // Groups of IPv6 are local to the loopback by type, for else the system takes no route to them through it.
    let ff00: [u8; 16] = std::array::from_fn(|at| if at == 0 { 0xff } else { 0 });
    let ipv6 = libc::AF_INET6 as u8;
    add_route(ipv6, &ff00, 8, libc::RT_TABLE_LOCAL, libc::RTN_LOCAL).expect("it is ours");
    let ipv4 = libc::AF_INET as u8;
    let table = libc::RT_TABLE_MAIN;
    add_route(ipv4, &[224, 0, 0, 0], 4, table, libc::RTN_UNICAST).expect("it is ours");
    true
}

fn loopback_up() -> Result<()> {
    // SAFETY: a struct of numbers may be all zero; the descriptor was just made.
    unsafe {
        let socket = check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0))?;
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[..2].copy_from_slice(&[b'l' as _, b'o' as _]);
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
        let answer = libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw mut request);
        let answer = check(answer);
        libc::close(socket);
        answer.map(|_| ())
    }
}

/// Has the system send what is for those addresses through the loopback.
fn add_route(family: u8, to: &[u8], bits: u8, table: u8, sort: u8) -> Result<()> {
    let mut message = Vec::new();
    let length = 16 + 12 + 4 + to.len() + 8;
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE;
    message.extend((length as u32).to_ne_bytes());
    message.extend(libc::RTM_NEWROUTE.to_ne_bytes());
    message.extend((flags as u16).to_ne_bytes());
    message.extend([1, 0, 0, 0, 0, 0, 0, 0]); // Number and sender.
    let scope = match sort {
        libc::RTN_LOCAL => libc::RT_SCOPE_UNIVERSE,
        _ => libc::RT_SCOPE_LINK,
    };
    let protocol = libc::RTPROT_STATIC;
    message.extend([family, bits, 0, 0, table, protocol, scope, sort]);
    message.extend([0; 4]);
    message.extend((4 + to.len() as u16).to_ne_bytes());
    message.extend(libc::RTA_DST.to_ne_bytes());
    message.extend(to);
    message.extend(8_u16.to_ne_bytes());
    message.extend(libc::RTA_OIF.to_ne_bytes());
    message.extend(LOOPBACK.to_ne_bytes());
    assert_eq!(message.len(), length);
    let mut answer = [0_u8; 64];
    // SAFETY: the pointers are those of live arrays with their lengths; the descriptor was just made.
    let got = unsafe {
        let socket = libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE);
        check(socket)?;
        let sent = libc::send(socket, message.as_ptr().cast(), message.len(), 0);
        check(sent as libc::c_int)?;
        let got = libc::recv(socket, answer.as_mut_ptr().cast(), answer.len(), 0);
        libc::close(socket);
        got
    };
    assert!(got >= 20);
    match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
        0 => Ok(()),
        error => Err(Error::from_raw_os_error(-error)),
    }
}

fn join(socket: asock_socket, group: &asock_address, interface_index: u32) -> asock_status {
    // SAFETY: the address is a live value.
    unsafe { asock_join_group(socket, group, interface_index) }
}

fn leave(socket: asock_socket, group: &asock_address, interface_index: u32) -> asock_status {
    // SAFETY: as above.
    unsafe { asock_leave_group(socket, group, interface_index) }
}

/// A socket that is bound to a port of any address.
fn any(runtime: &Runtime) -> (asock_socket, u16) {
    let socket = open(runtime);
    assert_eq!(try_bind(socket, None, 0), ASOCK_OK);
    let own = calls::local(socket).expect("bound");
    (socket, asock_address_port_of(&own))
}

/// A socket whose datagrams to groups go to the loopback, set before or after it has a descriptor.
fn sender(runtime: &Runtime, early: bool, ipv6: bool) -> asock_socket {
    let socket = open(runtime);
    let host = if ipv6 { "::1" } else { "127.0.0.1" };
    let option = ASOCK_OPTION_MULTICAST_INTERFACE;
    assert_eq!(get(socket, option), Ok(0));
    if early {
        assert_eq!(set(socket, option, i64::from(LOOPBACK)), ASOCK_OK);
    }
    assert_eq!(try_bind(socket, Some(host), 0), ASOCK_OK);
    if !early {
        assert_eq!(set(socket, option, i64::from(LOOPBACK)), ASOCK_OK);
    }
    assert_eq!(get(socket, option), Ok(i64::from(LOOPBACK)));
    socket
}

/// The groups that can be tested: two of each family.
fn groups(has_ipv6: bool) -> Vec<[&'static str; 2]> {
    let mut groups = vec![["239.1.2.3", "239.1.2.4"]];
    if has_ipv6 {
        groups.push(["ff05::1234", "ff05::4321"]);
    }
    groups
}

#[test]
fn who_joins_receives_until_he_leaves() {
    let has_ipv6 = own_network();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        for [group, other] in groups(has_ipv6) {
            let ipv6 = group.contains(':');
            for early in [false, true] {
                let sending = sender(&runtime, early, ipv6);
                let from = calls::local(sending).expect("bound");
                let receivers = [(); 2].map(|()| any(&runtime));
                for (socket, port) in receivers {
                    assert_eq!(join(socket, &address(group, port), LOOPBACK), ASOCK_OK);
                    let again = join(socket, &address(group, port), LOOPBACK);
                    assert_eq!(again, ASOCK_ADDRESS_IN_USE);
                }
                for (socket, port) in receivers {
                    recorder.put_to(sending, b"to all", &address(group, port));
                    let (completion, bytes, sender) = recorder.take_from(socket, 20, 0);
                    completion.expect(ASOCK_KIND_RECEIVE_FROM, ASOCK_OK);
                    assert_eq!(bytes, b"to all");
                    let port = asock_address_port_of(&sender.address());
                    assert_eq!(port, asock_address_port_of(&from));
                }
                // Another group is not heard, nor this one any more.
                let (socket, port) = receivers[0];
                let room = Memory::new(20);
                let waiting = recorder.receive(socket, &room, 0);
                recorder.put_to(sending, b"others", &address(other, port));
                assert_eq!(leave(socket, &address(group, port), LOOPBACK), ASOCK_OK);
                let again = leave(socket, &address(group, port), LOOPBACK);
                assert_eq!(again, ASOCK_ADDRESS_NOT_AVAILABLE);
                recorder.put_to(sending, b"to all", &address(group, port));
                assert_eq!(join(socket, &address(other, port), LOOPBACK), ASOCK_OK);
                recorder.put_to(sending, b"joined", &address(other, port));
                assert_eq!(recorder.completion_of(waiting).bytes, 6);
                assert_eq!(&room.bytes()[..6], b"joined");
            }
        }
    });
}

#[test]
fn the_system_chooses_the_interface() {
    if !own_network() {
        return; // Else it would choose the way out.
    }
    on_both(|runtime| {
        let recorder = runtime.recorder();
        for [group, _] in groups(true) {
            let (socket, port) = any(&runtime);
            assert_eq!(join(socket, &address(group, port), 0), ASOCK_OK);
            let sending = open(&runtime);
            recorder.put_to(sending, b"to all", &address(group, port));
            assert_eq!(recorder.take(socket, 20, 0).1, b"to all");
            assert_eq!(leave(socket, &address(group, port), 0), ASOCK_OK);
        }
        // The scope of an address says where, too.
        let (socket, port) = any(&runtime);
        let scoped = address("ff02::77%1", port);
        assert_eq!(join(socket, &scoped, 0), ASOCK_OK);
        assert_eq!(join(socket, &scoped, LOOPBACK), ASOCK_ADDRESS_IN_USE);
        recorder.put_to(open(&runtime), b"near", &scoped);
        assert_eq!(recorder.take(socket, 20, 0).1, b"near");
    });
}

#[test]
fn without_the_loop_nobody_here_hears_it() {
    let has_ipv6 = own_network();
    on_both(|runtime| {
        let recorder = runtime.recorder();
        for [group, _] in groups(has_ipv6) {
            let ipv6 = group.contains(':');
            for (option, usual, other) in [
                (ASOCK_OPTION_MULTICAST_LOOP, 1, 0),
                (ASOCK_OPTION_MULTICAST_TTL, 1, 7),
            ] {
                // Kept for the descriptor to come, and set on the one that is there.
                let socket = open(&runtime);
                assert_eq!(get(socket, option), Ok(usual));
                assert_eq!(set(socket, option, other), ASOCK_OK);
                assert_eq!(get(socket, option), Ok(other));
                let host = if ipv6 { "::1" } else { "127.0.0.1" };
                assert_eq!(try_bind(socket, Some(host), 0), ASOCK_OK);
                assert_eq!(get(socket, option), Ok(other));
                assert_eq!(set(socket, option, usual), ASOCK_OK);
                assert_eq!(get(socket, option), Ok(usual));
                assert_eq!(set(socket, option, 256), ASOCK_INVALID_ARGUMENT);
                assert_eq!(set(socket, option, -1), ASOCK_INVALID_ARGUMENT);
            }
            if ipv6 {
                continue; // Here the way there is itself local.
            }
            let (socket, port) = any(&runtime);
            assert_eq!(join(socket, &address(group, port), LOOPBACK), ASOCK_OK);
            let sending = sender(&runtime, true, ipv6);
            // It goes over the wire, and the loopback's wire leads back, so there is no telling; but the copy for this
            // machine is another one, and with it there would be two.
            for on in [0, 1] {
                assert_eq!(set(sending, ASOCK_OPTION_MULTICAST_LOOP, on), ASOCK_OK);
                recorder.put_to(sending, &[on as u8], &address(group, port));
                assert_eq!(recorder.take(socket, 20, 0).1, [on as u8]);
            }
        }
    });
}

#[test]
fn what_cannot_be_joined() {
    let has_ipv6 = own_network();
    let runtime = Runtime::on_worker();
    let group = address("239.1.2.3", 9);
    let unbound = open(&runtime);
    let (bound, _) = any(&runtime);
    for change in [join, leave] {
        assert_eq!(change(unbound, &group, LOOPBACK), ASOCK_INVALID_STATE);
        for nobody in ["192.0.2.1", "::1", "unix:/nowhere"] {
            let status = change(bound, &address(nobody, 9), LOOPBACK);
            assert_eq!(status, ASOCK_INVALID_ARGUMENT);
        }
        let stream = runtime.open();
        assert_eq!(change(stream, &group, LOOPBACK), ASOCK_INVALID_ARGUMENT);
    }
    assert_eq!(join(bound, &group, 12345), ASOCK_OS_ERROR);
    if has_ipv6 {
        let (ipv4, _) = common::datagram::bound(&runtime, "127.0.0.1");
        let status = join(ipv4, &address("ff05::1", 9), LOOPBACK);
        assert_eq!(status, ASOCK_NOT_SUPPORTED);
    }
    // To streams the options mean nothing.
    let stream = runtime.open();
    assert_eq!(set(stream, ASOCK_OPTION_MULTICAST_INTERFACE, 1), ASOCK_OK);
    assert_eq!(set(stream, ASOCK_OPTION_MULTICAST_TTL, 9), ASOCK_OK);
    assert_eq!(
        set(bound, ASOCK_OPTION_MULTICAST_INTERFACE, -1),
        ASOCK_INVALID_ARGUMENT
    );
    let nowhere = set(bound, ASOCK_OPTION_MULTICAST_INTERFACE, 12345);
    assert_ne!(nowhere, ASOCK_OK);
    assert_eq!(get(bound, ASOCK_OPTION_MULTICAST_INTERFACE), Ok(0));
}
