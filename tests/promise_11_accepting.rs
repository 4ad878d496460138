//! Promise 11, of servers: in the steady state a connection that is accepted, answered and closed allocates nothing, over
//! each family of addresses, with both deliveries, and with the options that accepted sockets take from their listener.
//!
//! As in `promise_11_no_allocation` there is one test, and its own parts allocate nothing.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::allocations::{allocations, Counting};
use common::server::*;
use common::*;
use std::ffi::c_void;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

#[global_allocator]
static COUNTING: Counting = Counting;

const AT_ONCE: usize = 4;
const WARM_UP: usize = 30;
const COUNTED: usize = 30;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static FAILURES: AtomicUsize = AtomicUsize::new(0);
static ACCEPTED: [AtomicU64; AT_ONCE] = [const { AtomicU64::new(0) }; AT_ONCE];

/// The user data of an accept is where its socket goes; one that is canceled has none.
unsafe extern "C" fn note(result: *const asock_result, user_data: *mut c_void) {
    // SAFETY: the library gives a record that is valid during the call.
    let result = unsafe { &*result };
    let canceled = result.kind == ASOCK_KIND_ACCEPT && user_data.is_null();
    let expected = if canceled { ASOCK_CANCELED } else { ASOCK_OK };
    if result.status != expected {
        FAILURES.fetch_add(1, Ordering::SeqCst);
    }
    if result.kind == ASOCK_KIND_ACCEPT && !canceled {
        // SAFETY: it is one of the places above.
        unsafe { &*user_data.cast::<AtomicU64>() }.store(result.value, Ordering::SeqCst);
    }
    CALLS.fetch_add(1, Ordering::SeqCst);
}

/// Where the clients go.
enum Way {
    Internet(SocketAddr),
    Unix(Place),
}

impl Way {
    /// Several clients connect and ask; then each reads its answer and the end.
    fn ask(&self) {
        fn talk<S: Read + Write>(connect: impl Fn() -> std::io::Result<S>) {
            let streams: [S; AT_ONCE] = std::array::from_fn(|_| {
                let mut stream = connect().expect("it listens");
                stream.write_all(b"?").expect("it is connected");
                stream
            });
            for mut stream in streams {
                let mut answer = [0; 2];
                assert_eq!(stream.read(&mut answer[..1]).expect("an answer"), 1);
                assert_eq!(stream.read(&mut answer[1..]).expect("the end"), 0);
                assert_eq!(answer[0], b'!');
            }
        }
        match self {
            Way::Internet(address) => talk(|| TcpStream::connect(address)),
            Way::Unix(place) => talk(|| UnixStream::connect(place.path())),
        }
    }
}

/// Waits for `count` calls more, pulling them where they are pulled.
fn await_calls(runtime: &Runtime, before: usize, count: usize) {
    while CALLS.load(Ordering::SeqCst) - before < count {
        match runtime.delivers_on_poll() {
            true => _ = runtime.dispatch(),
            false => std::thread::yield_now(),
        }
    }
    assert_eq!(FAILURES.load(Ordering::SeqCst), 0);
}

/// As many accepts as connections, after some that are canceled; each is asked, answers, and is closed.
fn round(runtime: &Runtime, listener: asock_socket, room: &Memory, go: &AtomicUsize) {
    let before = CALLS.load(Ordering::SeqCst);
    for _ in &ACCEPTED {
        // SAFETY: nothing is referred to but the place for the handle.
        let op = begun(|op| unsafe { asock_begin_accept(listener, Some(note), null_mut(), op) });
        assert_eq!(asock_cancel(op), ASOCK_OK);
    }
    await_calls(runtime, before, AT_ONCE);
    let before = CALLS.load(Ordering::SeqCst);
    for place in &ACCEPTED {
        let place = std::ptr::from_ref(place).cast_mut().cast();
        // SAFETY: the place is there for ever.
        let status = unsafe { asock_begin_accept(listener, Some(note), place, null_mut()) };
        assert_eq!(status, ASOCK_OK);
    }
    go.fetch_add(1, Ordering::SeqCst);
    await_calls(runtime, before, AT_ONCE);
    let before = CALLS.load(Ordering::SeqCst);
    for (number, socket) in ACCEPTED.iter().enumerate() {
        let socket = socket.load(Ordering::SeqCst);
        // SAFETY: the room outlives the round, at whose end all is over.
        unsafe {
            let byte = room.pointer().cast::<u8>().add(number).cast::<c_void>();
            let call = Some(note as unsafe extern "C" fn(_, _));
            assert_eq!(
                asock_begin_receive(socket, byte, 1, 0, call, null_mut(), null_mut()),
                ASOCK_OK
            );
            let answer = c"!".as_ptr().cast();
            assert_eq!(
                asock_begin_send(socket, answer, 1, 0, call, null_mut(), null_mut()),
                ASOCK_OK
            );
        }
    }
    await_calls(runtime, before, 2 * AT_ONCE);
    let before = CALLS.load(Ordering::SeqCst);
    for socket in &ACCEPTED {
        let socket = socket.load(Ordering::SeqCst);
        // SAFETY: nothing is referred to.
        let status = unsafe { asock_begin_close(socket, 0, Some(note), null_mut(), null_mut()) };
        assert_eq!(status, ASOCK_OK);
    }
    await_calls(runtime, before, AT_ONCE);
}

/// The allocations of the counted rounds.
fn measure(delivery: u32, host: Option<&str>, inherits: bool) -> usize {
    let runtime = Runtime::start(&config(delivery));
    let listener = runtime.open();
    let place = Place::new();
    let status = match host {
        None => bind_any(listener, 0),
        Some("unix") => bind(listener, &place.host(), 0),
        Some(host) => bind(listener, host, 0),
    };
    assert_eq!((status, listen(listener, 0)), (ASOCK_OK, ASOCK_OK));
    if inherits {
        assert_eq!(
            asock_set_option(listener, ASOCK_OPTION_SEND_TIMEOUT_MS, 60_000),
            ASOCK_OK
        );
        assert_eq!(
            asock_set_option(listener, ASOCK_OPTION_ACCEPT_TIMEOUT_MS, 60_000),
            ASOCK_OK
        );
    }
    let way = match host {
        Some("unix") => Way::Unix(place),
        Some(host) => Way::Internet(SocketAddr::new(
            host.parse().expect("literal"),
            port(listener),
        )),
        None => Way::Internet(SocketAddr::from((Ipv4Addr::LOCALHOST, port(listener)))),
    };
    let (room, go) = (Memory::new(AT_ONCE), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let clients = scope.spawn(|| {
            for asked in 0..WARM_UP + COUNTED {
                while go.load(Ordering::SeqCst) <= asked {
                    std::thread::yield_now();
                }
                way.ask();
            }
        });
        let mut before = 0;
        for number in 0..WARM_UP + COUNTED {
            if number == WARM_UP {
                before = allocations();
            }
            round(&runtime, listener, &room, &go);
        }
        let allocated = allocations() - before;
        clients.join().expect("no panic");
        allocated
    })
}

#[test]
fn a_server_in_its_steady_state_allocates_nothing() {
    let has_ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    for delivery in [ASOCK_DELIVER_ON_WORKER, ASOCK_DELIVER_ON_POLL] {
        for host in [Some("127.0.0.1"), None, Some("unix"), Some("::1")] {
            for inherits in [false, true] {
                if host == Some("::1") && !has_ipv6 {
                    continue;
                }
                let allocated = measure(delivery, host, inherits);
                assert_eq!(allocated, 0, "{delivery} {host:?}, inherits: {inherits}");
            }
        }
    }
}
