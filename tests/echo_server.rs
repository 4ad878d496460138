//! The echo server of bindings/c, compiled as strictly as can be and run as a process of its own, with plain sockets as its
//! clients: what it sends back, how many it holds at a time, and how it ends.
#![allow(unsafe_code)] // Only the system can send a signal, and bind a socket before it connects.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

#[path = "common/c.rs"]
#[allow(dead_code, reason = "every test uses a part of it")]
mod c;

use c::Workshop;

const LIMIT: Duration = Duration::from_secs(120);
const CONNECTIONS: usize = 10_000;
/// What each end needs besides: its other tests, its libraries, its pipes.
const SPARE: usize = 300;

fn compile(workshop: &Workshop) -> PathBuf {
    let source = "../../bindings/c/examples/echo_server.c";
    workshop.program_with(source, &["-std=c99", "-pedantic-errors", "-O1", "-g"])
}

/// A server that runs. It goes with the test, whatever happens.
struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    /// Where it listens, as it says.
    place: String,
}

impl Server {
    /// Starts it, or somebody who watches it, and waits for its line.
    #[track_caller]
    fn start(command: &mut Command) -> Server {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("it is text");
        let place = line
            .strip_prefix("listening on ")
            .and_then(|place| place.strip_suffix('\n'))
            .unwrap_or_default()
            .to_owned();
        let server = Server {
            child,
            output,
            place,
        };
        assert_ne!(server.place, "", "it said: {line}");
        server
    }

    fn address(&self) -> SocketAddr {
        self.place.parse().expect("it listens on an address")
    }

    #[track_caller]
    fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.address()).expect("it listens");
        client.set_read_timeout(Some(LIMIT)).expect("it is open");
        client
    }

    fn signal(&self, signal: libc::c_int) {
        let child = libc::pid_t::try_from(self.child.id()).expect("a process number");
        // SAFETY: a system call without pointers, on a child that nobody has waited for yet.
        assert_eq!(unsafe { libc::kill(child, signal) }, 0);
    }

    /// It ends by itself, with 0, and has said nothing but its line.
    #[track_caller]
    fn assert_ends(mut self, signal: libc::c_int) {
        self.signal(signal);
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            assert!(start.elapsed() < LIMIT, "it runs on after signal {signal}");
            std::thread::sleep(Duration::from_millis(2)); // Only to look less often.
        };
        let (mut told, mut complained) = (String::new(), String::new());
        self.output.read_to_string(&mut told).expect("it is text");
        let mut errors = self.child.stderr.take().expect("it is a pipe");
        errors.read_to_string(&mut complained).expect("it is text");
        assert_eq!(
            (status.code(), &*told, &*complained),
            (Some(0), "", ""),
            "{status}"
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // It has ended already, unless the test has failed.
        let _ = self.child.wait();
    }
}

fn echoed(mut client: impl Read + Write, text: &[u8]) {
    client.write_all(text).expect("it is there");
    let mut answer = vec![0; text.len()];
    client.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer, text);
}

/// Far more than its buffer and all the system's hold, while it is read at the same time.
fn echoed_long(client: &TcpStream) {
    let text: Vec<u8> = (0..12_000_000_u32).map(|at| (at % 251) as u8).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = client;
            client.write_all(&text).expect("it is there");
            client
                .shutdown(std::net::Shutdown::Write)
                .expect("it is there");
        });
        let mut client = client;
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("it answers");
        assert!(answer == text, "{} bytes came back", answer.len());
    });
}

/// A client that goes without a good-bye, with something on its way.
fn break_off(mut client: TcpStream) {
    client.write_all(b"never mind").expect("it is there");
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let length = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: an open descriptor, and an option of that type.
    let answer = unsafe {
        libc::setsockopt(
            client.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            length,
        )
    };
    assert_eq!(answer, 0);
}

/// What any server has to stand: a few words, a flood, a reset, one who says nothing, one who has gone.
#[track_caller]
fn use_it(server: &Server) -> TcpStream {
    echoed(server.client(), b"a few words");
    echoed_long(&server.client());
    break_off(server.client());
    drop(server.client());
    let idle = server.client();
    echoed(&idle, b"and then nothing");
    idle
}

#[track_caller]
fn assert_at_its_end(mut client: impl Read) {
    assert_eq!(client.read(&mut [0]).expect("an end, not a reset"), 0);
}

#[test]
fn it_echoes_until_a_signal_ends_it() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let program = compile(&workshop);
    // An address of loopback that no other test uses: nobody takes the port while no server has it.
    let host = "127.0.0.77";
    let mut port = "0".to_owned();
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let server = Server::start(Command::new(&program).args([host, &port]));
        let idle = use_it(&server);
        // The second one has the port of the first, whose connections the system still remembers.
        port = server.address().port().to_string();
        server.assert_ends(signal);
        assert_at_its_end(idle);
    }
}

/// With nobody there, with a client that waits, and one after the other: no signal is lost between two moments.
#[test]
fn a_signal_may_come_at_any_time() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let program = compile(&workshop);
    Server::start(&mut Command::new(&program)).assert_ends(libc::SIGTERM);
    for round in 0..20 {
        let server = Server::start(&mut Command::new(&program));
        let mut clients: Vec<_> = (0..round).map(|_| server.client()).collect();
        for client in &mut clients {
            client.write_all(&[7; 5000]).expect("it is there");
        }
        server.signal(libc::SIGINT); // And one more, which changes nothing.
        server.assert_ends(libc::SIGTERM);
        for mut client in clients {
            let mut rest = Vec::new();
            match client.read_to_end(&mut rest) {
                Ok(_) => assert!(rest.iter().all(|byte| *byte == 7)),
                // It ended with something unread.
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
        }
    }
}

#[test]
fn it_listens_on_a_path() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let program = compile(&workshop);
    let path = std::env::temp_dir().join(format!("asock-echo-{}", std::process::id()));
    let host = format!("unix:{}", path.display());
    let server = Server::start(Command::new(program).arg(&host));
    assert_eq!(server.place, host);
    let client = UnixStream::connect(&path).expect("it listens");
    echoed(&client, b"on a path");
    server.assert_ends(libc::SIGTERM);
    assert_at_its_end(client);
    assert!(!path.exists(), "it left its file behind");
}

#[test]
fn it_says_what_is_wrong() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let program = compile(&workshop);
    let server = Server::start(&mut Command::new(&program));
    let port = server.address().port().to_string();
    let told = |arguments: &[&str]| {
        let ran = c::run(Command::new(&program).args(arguments), LIMIT);
        assert_eq!(ran.stdout, "");
        assert_eq!(ran.status.and_then(|status| status.code()), Some(1));
        ran.stderr
    };
    assert_eq!(
        told(&["127.0.0.1", &port]),
        "echo_server: cannot bind: address in use\n"
    );
    assert_eq!(
        told(&["nowhere"]),
        "echo_server: cannot bind: invalid argument\n"
    );
    for arguments in [&["127.0.0.1", "x"][..], &["::1", "65536"], &["1", "2", "3"]] {
        assert_eq!(told(arguments), "usage: echo_server [HOST [PORT]]\n");
    }
    server.assert_ends(libc::SIGTERM);
}

/// Whoever watches the memory sees that each state object was used while it was there, and is gone in the end.
#[test]
fn it_leaves_no_memory_behind() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let answer = Command::new("valgrind").arg("--version").output();
    if !answer.is_ok_and(|answer| answer.status.success()) {
        say("`valgrind` is missing: the memory of the echo server was not watched");
        return;
    }
    let program = compile(&workshop);
    let mut watched = Command::new("valgrind");
    watched.env("ASOCK_BACKEND", "epoll"); // Valgrind 3.19 does not understand rings.
    watched.args(["-q", "--error-exitcode=99", "--fair-sched=yes"]);
    watched.args(["--leak-check=full", "--errors-for-leak-kinds=definite"]);
    let server = Server::start(watched.arg(program));
    let idle = use_it(&server);
    server.assert_ends(libc::SIGTERM);
    assert_at_its_end(idle);
}

/// Past the harness, which keeps what a test prints to itself.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}"); // Nobody listens, then.
}

/// Lets this process and its children have as many descriptors as the system permits, and gives how many of the connections
/// that allows. Root may go beyond what it was given.
fn allowed_connections() -> usize {
    let wanted = (CONNECTIONS + SPARE) as libc::rlim_t;
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a struct of that type, which may be written.
    let answer = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(answer, 0);
    for most in [limit.rlim_max.max(wanted), limit.rlim_max] {
        let raised = libc::rlimit {
            rlim_cur: limit.rlim_cur.max(wanted.min(most)),
            rlim_max: most,
        };
        // SAFETY: a struct of that type.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
            limit = raised;
            break;
        }
    }
    let allowed = usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX);
    allowed.saturating_sub(SPARE).min(CONNECTIONS)
}

/// Connects from an address of loopback that no other test uses: each of them has ports of its own, and so neither do ten
/// thousand connections want for ports, nor does another test.
fn connect_from(source: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let name = |address: Ipv4Addr, port: u16| libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(address).to_be(),
        },
        sin_zero: [0; 8],
    };
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    let (near, far) = (name(source, 0), name(Ipv4Addr::LOCALHOST, to.port()));
    let late: libc::c_int = 1; // The port is chosen by the connect, so that it may be that of another pair.
    let late_length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: system calls on a descriptor of its own, with values of the types and lengths that they are told.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        assert!(socket >= 0, "{}", std::io::Error::last_os_error());
        let owned = OwnedFd::from_raw_fd(socket);
        let option = libc::IP_BIND_ADDRESS_NO_PORT;
        let late = (&raw const late).cast();
        libc::setsockopt(socket, libc::IPPROTO_IP, option, late, late_length);
        let bound = libc::bind(socket, (&raw const near).cast(), length);
        assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
        let connected = libc::connect(socket, (&raw const far).cast(), length);
        assert_eq!(connected, 0, "{}", std::io::Error::last_os_error());
        TcpStream::from(owned)
    }
}

#[test]
fn ten_thousand_connections_at_the_same_time() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let count = allowed_connections();
    if count < CONNECTIONS {
        say(&format!(
            "the limit of descriptors cannot be raised: the echo server has {count} connections, not {CONNECTIONS}"
        ));
    }
    let program = compile(&workshop);
    let server = Server::start(&mut Command::new(program));
    let mut clients = Vec::with_capacity(count);
    for at in 0..count {
        let source = Ipv4Addr::new(127, 0, 0, 2 + (at % 8) as u8);
        let client = connect_from(source, server.address());
        client.set_read_timeout(Some(LIMIT)).expect("it is open");
        clients.push(client);
    }
    // Twice, so that each has also waited for all the others; all have something on the way before one is read.
    for round in 0..2_u64 {
        let message = |at: usize| (at as u64 * 31 + round).to_ne_bytes();
        for (at, client) in clients.iter_mut().enumerate() {
            client.write_all(&message(at)).expect("it is there");
        }
        for (at, client) in clients.iter_mut().enumerate() {
            let mut answer = [0; 8];
            client.read_exact(&mut answer).expect("it answers");
            assert_eq!(answer, message(at), "each its own, {at}");
        }
    }
    let held = fs::read_dir(format!("/proc/{}/fd", server.child.id()));
    let held = held.expect("it runs").count();
    assert!(held >= count, "{held} descriptors for {count} connections");
    server.assert_ends(libc::SIGTERM);
    for client in &clients {
        assert_at_its_end(client);
    }
}
