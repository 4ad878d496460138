//! The other end of the line: servers on 127.0.0.1, port 0, made of the standard library's blocking sockets. What they
//! start ends when they are dropped.

use super::{until, LIMIT};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A listener that the test accepts from by itself; what it accepts is an ordinary blocking stream.
pub struct Listener(TcpListener);

impl Listener {
    pub fn new() -> Listener {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback is there");
        listener.set_nonblocking(true).expect("it is a socket");
        Listener(listener)
    }

    pub fn port(&self) -> u16 {
        port_of(&self.0)
    }

    /// Waits for the next connection.
    pub fn accept(&self) -> TcpStream {
        let mut stream = None;
        until("a connection", || {
            stream = self.try_accept();
            stream.is_some()
        });
        stream.expect("it was just there")
    }

    /// A connection that has already come.
    pub fn try_accept(&self) -> Option<TcpStream> {
        let (stream, _) = self.0.accept().ok()?;
        stream.set_nonblocking(false).expect("it is a socket");
        stream
            .set_read_timeout(Some(LIMIT))
            .expect("it is a socket");
        Some(stream)
    }
}

fn port_of(listener: &TcpListener) -> u16 {
    listener
        .local_addr()
        .expect("a listener has an address")
        .port()
}

/// The next bytes that come, so many.
#[track_caller]
pub fn read_exactly(peer: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    peer.read_exact(&mut bytes).expect("so many come");
    bytes
}

/// All that still comes, and how it ends: an error such as a reset is an end, too.
pub fn rest_and_end_of(mut peer: impl Read) -> (Vec<u8>, Option<ErrorKind>) {
    let mut bytes = Vec::new();
    let ended = peer.read_to_end(&mut bytes).err();
    (bytes, ended.map(|error| error.kind()))
}

/// All that still comes, however it ends.
pub fn rest_of(peer: impl Read) -> Vec<u8> {
    rest_and_end_of(peer).0
}

/// Ends a connection with RST instead of FIN.
pub fn reset(stream: TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: an open descriptor, and a struct of the option's type and size.
    let answer = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    assert_eq!(answer, 0);
    drop(stream);
}

/// What a peer does with each connection, on a thread of its own.
type Serve = fn(&mut TcpStream, &AtomicU64);

struct Shared {
    ending: AtomicBool,
    received: AtomicU64,
    connections: Mutex<Vec<Connection>>,
}

struct Connection {
    stream: TcpStream,
    thread: JoinHandle<()>,
}

/// A server with a thread for each connection. All of them end when it is dropped.
pub struct Peer {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Peer {
    /// Sends back what it receives, until the other side ends.
    pub fn echo() -> Peer {
        Peer::start(|stream, received| {
            let mut room = [0; 64 * 1024];
            while let Some(count) = some(stream.read(&mut room)) {
                received.fetch_add(count as u64, Ordering::SeqCst);
                if stream.write_all(&room[..count]).is_err() {
                    return;
                }
            }
            let _ = stream.shutdown(Shutdown::Write); // Gone already, then.
        })
    }

    /// Receives and counts.
    pub fn sink() -> Peer {
        Peer::start(|stream, received| {
            let mut room = [0; 64 * 1024];
            while let Some(count) = some(stream.read(&mut room)) {
                received.fetch_add(count as u64, Ordering::SeqCst);
            }
        })
    }

    /// Accepts, and then neither reads nor writes.
    pub fn silent() -> Peer {
        Peer::start(|_, _| ())
    }

    fn start(serve: Serve) -> Peer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback is there");
        let port = port_of(&listener);
        let shared = Arc::new(Shared {
            ending: AtomicBool::new(false),
            received: AtomicU64::new(0),
            connections: Mutex::default(),
        });
        let of_thread = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accept(&listener, &of_thread, serve));
        Peer {
            port,
            shared,
            acceptor: Some(acceptor),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Bytes received so far, of all connections.
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::SeqCst)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        let connections = self.shared.connections.lock();
        connections.unwrap_or_else(PoisonError::into_inner).len()
    }
}

fn some(read: std::io::Result<usize>) -> Option<usize> {
    read.ok().filter(|count| *count > 0)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, serve: Serve) {
    for stream in listener.incoming() {
        if shared.ending.load(Ordering::SeqCst) {
            return;
        }
        // A connection that is gone before it was accepted, and one that dies young, are the other side's affair.
        let Ok(mut stream) = stream else { continue };
        let Ok(kept) = stream.try_clone() else {
            continue;
        };
        let of_thread = Arc::clone(shared);
        let thread = std::thread::spawn(move || serve(&mut stream, &of_thread.received));
        let connections = shared.connections.lock();
        connections
            .unwrap_or_else(PoisonError::into_inner)
            .push(Connection {
                stream: kept,
                thread,
            });
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let connections = self.shared.connections.lock();
        for connection in connections
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            let _ = connection.stream.shutdown(Shutdown::Both); // Gone already, then.
            let _ = connection.thread.join();
        }
    }
}

fn bound_socket() -> (OwnedFd, u16) {
    // SAFETY: makes a new descriptor, which is owned here.
    let number = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert!(number >= 0);
    // SAFETY: as above.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    // SAFETY: a sockaddr of integers may be all zero.
    let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    address.sin_addr.s_addr = u32::from(Ipv4Addr::LOCALHOST).to_be();
    let mut length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    let place = (&raw mut address).cast();
    // SAFETY: an open descriptor and a struct of that length.
    assert_eq!(unsafe { libc::bind(number, place, length) }, 0);
    // SAFETY: as above, and both may be written.
    let answer = unsafe { libc::getsockname(number, place, &raw mut length) };
    assert_eq!(answer, 0);
    (socket, u16::from_be(address.sin_port))
}

/// A port where connecting is refused, and which nobody else can take meanwhile: it is bound but does not listen.
pub struct Refused(OwnedFd, u16);

impl Refused {
    pub fn new() -> Refused {
        let (socket, port) = bound_socket();
        Refused(socket, port)
    }

    pub fn port(&self) -> u16 {
        self.1
    }
}

/// Has a listener, or one that is bound, answer nobody: its queue of connections is full from now on. What is given must be
/// kept.
pub fn fill(listener: &TcpListener) -> Vec<TcpStream> {
    // SAFETY: an open descriptor; listening again changes the length of the queue.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let address = listener.local_addr().expect("it is bound");
    let mut fill = Vec::new();
    // A queue of 0 holds one. The system is asked, since one that gets no answer would show it only after a while, and how
    // long that is depends on the machine.
    while !has_full_queue(listener) {
        fill.push(TcpStream::connect(address).expect("there is room"));
        assert!(fill.len() < 64, "this system's queues have no limit");
        until("it is in the queue", || {
            queued_at(listener).0 == fill.len() as u32
        });
    }
    fill
}

/// How many connections wait for an accept, and how many may, before one more is the last.
fn queued_at(listener: &TcpListener) -> (u32, u32) {
    // SAFETY: a struct of numbers may be all zero.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    let (of, option) = (libc::IPPROTO_TCP, libc::TCP_INFO);
    // SAFETY: an open descriptor, and room of that length.
    let answer = unsafe {
        let room = (&raw mut info).cast();
        libc::getsockopt(listener.as_raw_fd(), of, option, room, &raw mut length)
    };
    assert_eq!(answer, 0);
    // Of a listener these two fields tell that.
    (info.tcpi_unacked, info.tcpi_sacked)
}

fn has_full_queue(listener: &TcpListener) -> bool {
    let (queued, most) = queued_at(listener);
    queued > most
}

/// A port where connecting neither succeeds nor fails: its queue of connections is full.
pub struct BlackHole {
    listener: TcpListener,
    port: u16,
    /// Those that fill the queue.
    fill: Vec<TcpStream>,
}

impl BlackHole {
    pub fn new() -> BlackHole {
        let (socket, port) = bound_socket();
        let listener = TcpListener::from(socket);
        let fill = fill(&listener);
        BlackHole {
            listener,
            port,
            fill,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Opens up, and gives the first connection that was waiting. The system of that side has tried in vain and tries
    /// again a second later, so it takes that long.
    pub fn admit(&self) -> TcpStream {
        self.listener.set_nonblocking(true).expect("it is a socket");
        let accept = || {
            let mut stream = None;
            until("a connection", || {
                stream = self.listener.accept().ok();
                stream.is_some()
            });
            stream.expect("it was just there").0
        };
        for _ in &self.fill {
            drop(accept());
        }
        let stream = accept();
        stream.set_nonblocking(false).expect("it is a socket");
        stream
            .set_read_timeout(Some(LIMIT))
            .expect("it is a socket");
        stream
    }
}
