//! The C wrapper of bindings/c, as its users have it: compiled with no warning as C99 and as C++11, linked with the shared
//! library, and run against real peers on loopback.
//!
//! What the calls promise is checked by the C program tests/c/c_wrapper.c, which says how it ended; this file compiles it,
//! serves it, and runs it once more under valgrind, where that is installed, since "the buffer is yours when the call
//! returns" is best seen by somebody who watches the memory. The last test compares the sample's output.

mod common;

use common::c::{root, run, Workshop};
use common::{BlackHole, Listener};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const SECONDS: Duration = Duration::from_secs(1);

/// A server whose clients tell it, line by line, what to do: see tests/c/c_wrapper.c. What it started ends with it.
struct Script {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ending: AtomicBool,
    /// How many of those that stall may go on.
    released: Mutex<u32>,
    changed: Condvar,
    connections: Mutex<Vec<(TcpStream, JoinHandle<()>)>>,
}

impl Script {
    fn start() -> Script {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback is there");
        let port = listener.local_addr().expect("it has an address").port();
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accept(&listener, &of_thread));
        Script {
            port,
            shared,
            acceptor: Some(acceptor),
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.ending.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(kept) = stream.try_clone() else {
            continue;
        };
        let of_thread = Arc::clone(shared);
        let thread = std::thread::spawn(move || {
            let _ = obey(stream, &of_thread); // A client that is gone has no more wishes.
        });
        let connections = shared.connections.lock();
        let mut connections = connections.unwrap_or_else(PoisonError::into_inner);
        connections.retain(|(_, thread)| !thread.is_finished());
        connections.push((kept, thread));
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))); // Wakes the acceptor.
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        *locked(&self.shared.released) += 1000;
        self.shared.changed.notify_all();
        for (stream, thread) in locked(&self.shared.connections).drain(..) {
            let _ = stream.shutdown(Shutdown::Both); // Gone already, then.
            let _ = thread.join();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Byte by byte, so that nothing behind the line is taken with it.
fn read_line(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut line = String::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte)?;
        if byte == *b"\n" {
            return Ok(line);
        }
        line.push(char::from(byte[0]));
    }
}

fn obey(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut given = 0;
    loop {
        let line = read_line(&mut stream)?;
        let (verb, number) = line.split_once(' ').unwrap_or((&line, ""));
        match verb {
            "give" => {
                let count: usize = number.parse().expect("a number of bytes");
                let bytes: Vec<u8> = (given..given + count).map(|at| (at % 251) as u8).collect();
                given += count;
                stream.write_all(&bytes)?;
            }
            "drip" => loop {
                stream.write_all(&[0; 4096])?;
                std::thread::sleep(Duration::from_millis(20)); // Slowly is what was asked for.
            },
            "close" => stream.shutdown(Shutdown::Write)?,
            "echo" => {
                let mut room = vec![0; 64 * 1024];
                loop {
                    match stream.read(&mut room)? {
                        0 => return stream.shutdown(Shutdown::Write),
                        count => stream.write_all(&room[..count])?,
                    }
                }
            }
            "reset" => {
                break_off(&stream);
                return Ok(());
            }
            "stall" => return stall(&mut stream, shared),
            "release" => {
                *locked(&shared.released) += 1;
                shared.changed.notify_all();
            }
            _ => panic!("nobody knows how to {line:?}"),
        }
    }
}

/// Sends RST: a connect to "no address" drops a connection, whoever else holds its descriptor.
fn break_off(stream: &TcpStream) {
    use std::os::fd::AsRawFd;
    let none = libc::sockaddr {
        sa_family: libc::AF_UNSPEC as libc::sa_family_t,
        sa_data: [0; 14],
    };
    let length = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: an open descriptor and an address of that length.
    #[allow(unsafe_code, reason = "the standard library cannot reset a connection")]
    let answer = unsafe { libc::connect(stream.as_raw_fd(), &raw const none, length) };
    assert_eq!(answer, 0);
}

fn stall(stream: &mut TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut released = locked(&shared.released);
    while *released == 0 {
        let answer = shared.changed.wait(released);
        released = answer.unwrap_or_else(PoisonError::into_inner);
    }
    *released -= 1;
    drop(released);
    let mut room = vec![0; 64 * 1024];
    let mut received = 0;
    loop {
        match stream.read(&mut room)? {
            0 => break,
            count => received += count,
        }
    }
    stream.write_all(received.to_string().as_bytes())?;
    stream.shutdown(Shutdown::Write)
}

/// The wrapper's own C file and its headers, and all that a strict compiler has to say to both.
fn wrapper_arguments(language: &[&str]) -> Vec<String> {
    let wrapper = root().join("bindings/c");
    let strict = ["-pedantic-errors", "-Wconversion", "-O1", "-g", "-pthread"];
    let mut arguments: Vec<String> = language
        .iter()
        .chain(&strict)
        .map(|a| (*a).into())
        .collect();
    arguments.push(format!("-I{}", wrapper.display()));
    arguments.push(wrapper.join("asock_blocking.c").display().to_string());
    arguments
}

fn test_program(workshop: &Workshop, language: &[&str]) -> PathBuf {
    let mut arguments = wrapper_arguments(language);
    arguments.push("-D_GNU_SOURCE".into()); // The test itself asks the system for more than a wrapper should.
    for more in ["c_wrapper_threads.c", "c_wrapper_server.c"] {
        arguments.push(root().join("tests/c").join(more).display().to_string());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    workshop.program_with("c_wrapper.c", &arguments)
}

/// Runs all scenarios; `command` is the program, or somebody who watches it.
#[track_caller]
fn run_scenarios(command: &mut Command, limit: Duration) {
    let script = Script::start();
    let refused = common::peer::Refused::new();
    let silent = BlackHole::new();
    for port in [script.port, refused.port(), silent.port()] {
        command.arg(port.to_string());
    }
    let ran = run(command, limit);
    ran.assert_success("the scenarios");
    assert!(ran.stdout.ends_with("all 26 scenarios\n"), "{ran:#?}");
}

#[test]
fn every_call_keeps_its_promises_in_c99() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let program = test_program(&workshop, &["-std=c99"]);
    run_scenarios(&mut Command::new(program), 180 * SECONDS);
}

#[test]
fn every_call_keeps_its_promises_in_cpp11() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let program = test_program(
        &workshop,
        &["-x", "c++", "-std=c++11", "-fno-exceptions", "-fno-rtti"],
    );
    run_scenarios(&mut Command::new(program), 180 * SECONDS);
}

#[test]
#[allow(
    clippy::print_stderr,
    reason = "a test that is left out must say so where people look"
)]
fn no_call_touches_memory_that_is_not_its_own() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let answer = Command::new("valgrind").arg("--version").output();
    if !answer.is_ok_and(|answer| answer.status.success()) {
        eprintln!("`valgrind` is missing: the memory of the C wrapper was not watched");
        return;
    }
    let program = test_program(&workshop, &["-std=c99"]);
    let mut watched = Command::new("valgrind");
    watched.env("ASOCK_BACKEND", "epoll"); // Valgrind 3.19 does not understand rings.
    watched.args(["-q", "--error-exitcode=99", "--fair-sched=yes"]);
    watched.args(["--leak-check=full", "--errors-for-leak-kinds=definite"]);
    run_scenarios(watched.arg(program), 600 * SECONDS);
}

/// The synchronous client of .NET's documentation, with a server that answers in two pieces and keeps the line open.
#[test]
fn the_sample_prints_what_the_server_says() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let arguments = wrapper_arguments(&["-std=c99"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let program = workshop.program_with("../../bindings/c/examples/blocking_client.c", &arguments);

    let listener = Listener::new();
    let port = listener.port();
    let server = std::thread::spawn(move || {
        let mut stream = listener.accept();
        let mut text = [0; 19];
        stream.read_exact(&mut text).expect("the text comes");
        stream.write_all(&text[..7]).expect("the client is there");
        stream.write_all(&text[7..]).expect("the client is there");
        // It ends because of its <EOF>, not because we do.
        stream.read(&mut [0]).expect("the client closes")
    });
    let ran = run(
        Command::new(&program).args(["127.0.0.1", &port.to_string()]),
        60 * SECONDS,
    );
    ran.assert_success("the sample");
    let expected = format!(
        "Socket connected to 127.0.0.1:{port}\nSent 19 bytes to server.\nResponse received : This is a test<EOF>\n"
    );
    assert_eq!(ran.stdout, expected);
    assert_eq!(ran.stderr, "");
    assert_eq!(server.join().expect("the server is well"), 0);

    let refused = common::peer::Refused::new();
    let ran = run(
        Command::new(&program).args(["127.0.0.1", &refused.port().to_string()]),
        60 * SECONDS,
    );
    assert_eq!(ran.status.and_then(|status| status.code()), Some(1));
    assert_eq!(
        ran.stderr,
        "blocking_client: cannot connect: connection refused\n"
    );
}
