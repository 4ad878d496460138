//! The asynchronous client, step by step like .NET's sample: connect, send a line, receive the answer, each with a
//! callback that runs on a thread of the library, while the application waits for nothing but its own three events.
//!
//! It drives the exported C functions, exactly as `async_client.c` beside it does.
//!
//! ```text
//! cargo run --release --example async_client                           a loopback server of its own
//! cargo run --release --example async_client -- HOST PORT [TEXT]       a real one
//! ```
#![allow(unsafe_code, reason = "the C functions take pointers")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a program for the terminal"
)]

use std::cell::UnsafeCell;
use std::ffi::{c_void, CStr, CString};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::process::ExitCode;
use std::ptr::null_mut;
use std::sync::{Condvar, Mutex};
use std::thread::JoinHandle;

use asock::*;

const TEXT: &str = "This is a test<EOF>";
const BUFFER_SIZE: usize = 256;
/// A server that says nothing for so long is given up.
const LIMIT_MS: i64 = 30_000;

/// .NET's ManualResetEvent: it is set once, with the status of what it stands for.
#[derive(Default)]
struct Event {
    outcome: Mutex<Option<asock_status>>,
    changed: Condvar,
}

impl Event {
    fn set(&self, status: asock_status) {
        *self.outcome.lock().expect("nobody panics with it") = Some(status);
        self.changed.notify_all();
    }

    fn wait(&self) -> asock_status {
        let mut outcome = self.outcome.lock().expect("nobody panics with it");
        loop {
            match *outcome {
                Some(status) => return status,
                None => outcome = self.changed.wait(outcome).expect("nobody panics with it"),
            }
        }
    }
}

/// The state object: what the callbacks need. It outlives them, since `main` stops the runtime before it goes.
struct State {
    socket: asock_socket,
    /// The library's from the beginning of a receive until its callback, then the callback's.
    buffer: UnsafeCell<[u8; BUFFER_SIZE]>,
    response: Mutex<Vec<u8>>,
    connect_done: Event,
    send_done: Event,
    receive_done: Event,
}

impl State {
    /// The pointer that the library hands back to each callback, bit by bit.
    fn user_data(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    fn begin_connect(&self, host: &CStr, port: u16) -> asock_status {
        // SAFETY: the host is read during the call; the state outlives the callback.
        unsafe {
            asock_begin_connect(
                self.socket,
                host.as_ptr(),
                port,
                Some(connected),
                self.user_data(),
                null_mut(),
            )
        }
    }

    fn begin_send(&self, text: &str) -> asock_status {
        // SAFETY: `text` and the state outlive the callback, for which `main` waits.
        unsafe {
            asock_begin_send(
                self.socket,
                text.as_ptr().cast(),
                text.len(),
                0,
                Some(sent),
                self.user_data(),
                null_mut(),
            )
        }
    }

    fn begin_receive(&self) -> asock_status {
        // SAFETY: one receive is pending at a time, and the buffer is not looked at before its callback.
        unsafe {
            asock_begin_receive(
                self.socket,
                self.buffer.get().cast(),
                BUFFER_SIZE,
                0,
                Some(received),
                self.user_data(),
                null_mut(),
            )
        }
    }
}

/// What a callback is given, as references.
///
/// Safety: only inside a callback of an operation whose user data is a `State`.
unsafe fn completion<'a>(
    result: *const asock_result,
    user_data: *mut c_void,
) -> (&'a asock_result, &'a State) {
    // SAFETY: the library says so of the result, `State::user_data` of the state.
    unsafe { (&*result, &*user_data.cast::<State>()) }
}

unsafe extern "C" fn connected(result: *const asock_result, user_data: *mut c_void) {
    // SAFETY: begun by `State::begin_connect`.
    let (result, state) = unsafe { completion(result, user_data) };
    if result.status == ASOCK_OK {
        println!("Socket connected to {}", remote_address(state.socket));
    }
    state.connect_done.set(result.status);
}

unsafe extern "C" fn sent(result: *const asock_result, user_data: *mut c_void) {
    // SAFETY: begun by `State::begin_send`.
    let (result, state) = unsafe { completion(result, user_data) };
    if result.status == ASOCK_OK {
        println!("Sent {} bytes to server.", result.bytes);
    }
    state.send_done.set(result.status);
}

/// There may be more data: it is stored, and the rest is received, until the server closes.
unsafe extern "C" fn received(result: *const asock_result, user_data: *mut c_void) {
    // SAFETY: begun by `State::begin_receive`.
    let (result, state) = unsafe { completion(result, user_data) };
    let mut status = result.status;
    if status == ASOCK_OK && result.bytes > 0 {
        // SAFETY: the receive has completed and the next one is not begun yet, so the buffer is ours.
        let buffer = unsafe { &*state.buffer.get() };
        let mut response = state.response.lock().expect("nobody panics with it");
        response.extend_from_slice(&buffer[..result.bytes]);
        drop(response);
        status = state.begin_receive();
        if status == ASOCK_OK {
            return;
        }
    }
    state.receive_done.set(status);
}

fn remote_address(socket: asock_socket) -> String {
    let mut address = asock_address {
        storage: [0; 16],
        length: 0,
        reserved: 0,
    };
    let mut text = [0_u8; ASOCK_ADDRESS_TEXT_MAX];
    // SAFETY: both places may be written, the second for as many bytes as it says.
    let status = unsafe {
        match asock_remote_address(socket, &raw mut address) {
            ASOCK_OK => {
                asock_address_format(&raw const address, text.as_mut_ptr().cast(), text.len())
            }
            status => status,
        }
    };
    match CStr::from_bytes_until_nul(&text) {
        Ok(text) if status == ASOCK_OK => text.to_string_lossy().into_owned(),
        _ => "an unknown address".to_owned(),
    }
}

/// Turns a status into what a person can read.
fn check(what: &str, status: asock_status) -> Result<(), String> {
    if status == ASOCK_OK {
        return Ok(());
    }
    // SAFETY: the text of a status is never NULL and stays for ever.
    let text = unsafe { CStr::from_ptr(asock_status_text(status)) };
    Err(format!("{what}: {}", text.to_string_lossy()))
}

fn converse(state: &State, host: &CStr, port: u16, text: &str) -> Result<(), String> {
    for option in [
        ASOCK_OPTION_CONNECT_TIMEOUT_MS,
        ASOCK_OPTION_SEND_TIMEOUT_MS,
        ASOCK_OPTION_RECEIVE_TIMEOUT_MS,
    ] {
        let status = asock_set_option(state.socket, option, LIMIT_MS);
        check("cannot set a time-out", status)?;
    }
    // .NET's "BeginConnect, connectDone.WaitOne()": the call itself fails only for what its arguments show.
    check("cannot begin to connect", state.begin_connect(host, port))?;
    check("cannot connect", state.connect_done.wait())?;

    check("cannot begin to send", state.begin_send(text))?;
    check("cannot send", state.send_done.wait())?;

    check("cannot begin to receive", state.begin_receive())?;
    check("cannot receive", state.receive_done.wait())?;

    let response = state.response.lock().expect("nobody panics with it");
    println!("Response received : {}", String::from_utf8_lossy(&response));
    drop(response);

    // The server has closed its side already, perhaps with a reset: then there is nothing left to shut down.
    let _ = asock_shutdown(state.socket, ASOCK_SHUTDOWN_BOTH);
    Ok(())
}

fn run(host: &str, port: u16, text: &str) -> Result<(), String> {
    let host = CString::new(host).map_err(|_| "a host has no zero in it".to_owned())?;
    let mut socket = 0;
    // SAFETY: `socket` may be written.
    let status = unsafe { asock_open(0, ASOCK_STREAM, &raw mut socket) };
    check("cannot open a socket", status)?;
    let state = State {
        socket,
        buffer: UnsafeCell::new([0; BUFFER_SIZE]),
        response: Mutex::default(),
        connect_done: Event::default(),
        send_done: Event::default(),
        receive_done: Event::default(),
    };
    let outcome = converse(&state, &host, port, text);
    // After the stop no callback runs or will run: only then may the state go, also when something failed.
    check("cannot close", asock_close(socket))?;
    check("cannot stop", asock_runtime_stop(0))?;
    outcome
}

/// The server of .NET's sample, for one client: it reads up to "<EOF>", sends it all back and closes.
fn serve() -> std::io::Result<(u16, JoinHandle<std::io::Result<()>>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept()?;
        let mut text = Vec::new();
        let mut piece = [0; 1024];
        while !text.ends_with(b"<EOF>") {
            match client.read(&mut piece)? {
                0 => break,
                count => text.extend_from_slice(&piece[..count]),
            }
        }
        client.write_all(&text)?;
        client.shutdown(Shutdown::Write)
    });
    Ok((port, server))
}

fn with_own_server() -> Result<(), String> {
    let (port, server) = serve().map_err(|error| format!("cannot serve: {error}"))?;
    // If the client cannot connect, the server waits for ever: it is not waited for then, and ends with the program.
    run("127.0.0.1", port, TEXT)?;
    let served = server.join().expect("the server does not panic");
    served.map_err(|error| format!("the server failed: {error}"))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        [] => with_own_server(),
        [host, port] | [host, port, _] => match port.parse() {
            Ok(port) => run(host, port, arguments.get(2).copied().unwrap_or(TEXT)),
            Err(_) => Err(format!("'{port}' is no port")),
        },
        _ => Err("arguments: [HOST PORT [TEXT]]".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("async_client: {message}");
            ExitCode::FAILURE
        }
    }
}
