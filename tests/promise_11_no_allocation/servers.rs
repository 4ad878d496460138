//! Servers: connections that are accepted, heard, answered and closed, over each family of addresses, with the options that
//! accepted sockets take from their listener. The clients are plain ones, which allocate nothing either.

use crate::common::calls::set;
use crate::common::server::{bind, bind_any, listen, port, Place};
use crate::common::*;
use crate::told::{allocated_by, completions, Told, Work};
use asock::*;
use std::ffi::c_void;
use std::io::{Read, Result, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};

const AT_ONCE: usize = 4;
const LENGTH: usize = 100;

/// What accepts have brought, in any order.
static ACCEPTED: [AtomicU64; AT_ONCE] = [const { AtomicU64::new(0) }; AT_ONCE];

/// Where a server listens: any address of both families is None.
pub const HOSTS: [Option<&str>; 4] = [Some("127.0.0.1"), Some("::1"), None, Some("unix")];

struct Way<'a> {
    runtime: &'a Runtime,
    listener: asock_socket,
    told: Told,
    data: Memory,
    room: Memory,
}

impl Work for Way<'_> {
    /// A success, or an accept that was canceled on purpose (it has `user_data`).
    fn is_well(result: &asock_result) -> bool {
        match result.kind {
            ASOCK_KIND_ACCEPT if !result.user_data.is_null() => result.status == ASOCK_CANCELED,
            ASOCK_KIND_ACCEPT => {
                let is_free = |place: &&AtomicU64| {
                    let (order, value) = (Ordering::SeqCst, result.value);
                    place.compare_exchange(0, value, order, order).is_ok()
                };
                result.status == ASOCK_OK && ACCEPTED.iter().find(is_free).is_some()
            }
            ASOCK_KIND_CLOSE => result.status == ASOCK_OK,
            _ => (result.status, result.bytes) == (ASOCK_OK, LENGTH),
        }
    }
}

impl Way<'_> {
    /// Some clients come, and as many accepts too many are canceled; each client is heard, answered and left.
    fn round<S: Read + Write>(&self, connect: impl Fn() -> Result<S>) {
        let callback = self.told.callback::<Self>();
        let mark = std::ptr::NonNull::<c_void>::dangling().as_ptr();
        let before = completions();
        let accepts: [_; 2 * AT_ONCE] = std::array::from_fn(|number| {
            let mark = if number < AT_ONCE { null_mut() } else { mark };
            // SAFETY: there is nothing that would have to outlive it.
            begun(|op| unsafe { asock_begin_accept(self.listener, callback, mark, op) })
        });
        for accept in &accepts[AT_ONCE..] {
            assert_eq!(asock_cancel(*accept), ASOCK_OK);
        }
        let mut clients: [S; AT_ONCE] = std::array::from_fn(|_| connect().expect("it listens"));
        self.told.finish::<Self>(self.runtime, &accepts, before);

        let before = completions();
        let sockets: [_; AT_ONCE] =
            std::array::from_fn(|at| ACCEPTED[at].swap(0, Ordering::SeqCst));
        let mut ops = [0; 2 * AT_ONCE];
        for (number, ops) in ops.chunks_exact_mut(2).enumerate() {
            let (socket, part) = (sockets[number], number * LENGTH);
            // SAFETY: the memory outlives the round, at whose end everything has completed.
            unsafe {
                let room = self.room.pointer().cast::<u8>().add(part).cast();
                let data = self.data.pointer().cast::<u8>().add(part).cast();
                let all = ASOCK_RECEIVE_ALL;
                ops[0] = begun(|op| {
                    asock_begin_receive(socket, room, LENGTH, all, callback, null_mut(), op)
                });
                ops[1] =
                    begun(|op| asock_begin_send(socket, data, LENGTH, 0, callback, null_mut(), op));
            }
        }
        for client in &mut clients {
            client.write_all(&[7; LENGTH]).expect("it is open");
            client.read_exact(&mut [0; LENGTH]).expect("an answer");
        }
        self.told.finish::<Self>(self.runtime, &ops, before);

        let before = completions();
        let closes = sockets.map(|socket| {
            // SAFETY: there is nothing that would have to outlive it.
            begun(|op| unsafe { asock_begin_close(socket, 0, callback, null_mut(), op) })
        });
        self.told.finish::<Self>(self.runtime, &closes, before);
        for client in &mut clients {
            assert_eq!(client.read(&mut [0]).expect("the end"), 0);
        }
    }
}

/// The allocations of the counted rounds of one way.
pub fn measure(told: Told, time_limits: bool, host: Option<&str>) -> usize {
    let open_before = descriptors();
    let runtime = told.runtime();
    let listener = runtime.open();
    let place = Place::new();
    let status = match host {
        None => bind_any(listener, 0),
        Some("unix") => bind(listener, &place.host(), 0),
        Some(host) => bind(listener, host, 0),
    };
    assert_eq!((status, listen(listener, 0)), (ASOCK_OK, ASOCK_OK));
    if time_limits {
        for option in [
            ASOCK_OPTION_ACCEPT_TIMEOUT_MS,
            ASOCK_OPTION_SEND_TIMEOUT_MS,
            ASOCK_OPTION_RECEIVE_TIMEOUT_MS,
        ] {
            assert_eq!(set(listener, option, 60_000), ASOCK_OK);
        }
    }
    let way = Way {
        runtime: &runtime,
        listener,
        told,
        data: Memory::filled(LENGTH * AT_ONCE, 7),
        room: Memory::new(LENGTH * AT_ONCE),
    };
    let allocated = match host {
        Some("unix") => allocated_by(2 * AT_ONCE, || {
            way.round(|| UnixStream::connect(place.path()));
        }),
        Some("::1") => {
            let to = (Ipv6Addr::LOCALHOST, port(listener));
            allocated_by(2 * AT_ONCE, || way.round(|| TcpStream::connect(to)))
        }
        _ => {
            let to = (Ipv4Addr::LOCALHOST, port(listener));
            allocated_by(2 * AT_ONCE, || way.round(|| TcpStream::connect(to)))
        }
    };
    assert!(way.room.bytes().iter().all(|byte| *byte == 7));
    runtime.stop();
    // Hundreds of connections have come and gone.
    assert_eq!(descriptors(), open_before, "{told:?} {host:?}");
    allocated
}

/// How many descriptors this process has open.
fn descriptors() -> usize {
    let all = std::fs::read_dir("/proc/self/fd").expect("this is Linux");
    all.count()
}
