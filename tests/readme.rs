//! The front door: what the README shows is compiled and run as it stands there, and so are the examples that it names.
//!
//! Programs in C and Python are taken from the README's own text; so are the shell commands, save those of cargo, which
//! has built the library for this test already, and of pip, which would build it once more (.ci/run has it installed). Port
//! 11000 stands for that of a server that the test starts.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[path = "common/c.rs"]
#[allow(dead_code, reason = "every test uses a part of it")]
mod c;

use c::Workshop;

const LIMIT: Duration = Duration::from_secs(120);
const TEXT: &str = "This is a test<EOF>";

fn readme() -> String {
    fs::read_to_string(c::root().join("README.md")).expect("there is a README")
}

/// What the README shows in a language.
fn snippets(language: &str) -> Vec<String> {
    let readme = readme();
    let fence = format!("\n```{language}\n");
    let starts = readme
        .match_indices(&fence)
        .map(|(at, _)| &readme[at + fence.len()..]);
    let ends = starts.map(|text| text.split_once("\n```\n").expect("a fence ends").0);
    ends.map(|text| format!("{text}\n")).collect()
}

/// The snippets in C that contain a word; each of them is a whole program.
fn program(word: &str) -> String {
    let mut programs = snippets("c").into_iter().filter(|text| text.contains(word));
    let program = programs.next().expect("the README shows such a program");
    assert!(
        program.contains("int main("),
        "{word}: a program to be run has a main"
    );
    assert!(
        programs.next().is_none(),
        "{word}: more than one program has it"
    );
    program
}

/// The server of .NET's sample: to each client it sends back all up to "<EOF>", and closes. It ends with the process.
fn serve() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback is there");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.expect("a client connects");
            let mut text = Vec::new();
            let mut piece = [0; 64];
            while !text.ends_with(b"<EOF>") {
                match client.read(&mut piece) {
                    Ok(count) if count > 0 => text.extend_from_slice(&piece[..count]),
                    _ => break,
                }
            }
            let _ = client.write_all(&text); // Else the client has something to complain of.
        }
    });
    port.to_string()
}

/// Compiles a C program as strictly as can be, linked against the shared library; one that makes blocking calls gets them.
#[track_caller]
fn compile(workshop: &Workshop, source: &Path, name: &str) -> PathBuf {
    let program = workshop.path(name);
    let mut compiler = workshop.compiler();
    compiler.args([
        "-std=c99",
        "-pedantic-errors",
        "-Wall",
        "-Wextra",
        "-Werror",
    ]);
    compiler.arg(source).arg("-o").arg(&program);
    let text = fs::read_to_string(source).expect("the source is there");
    if text.contains("asock_blocking.h") {
        let wrapper = c::root().join("bindings/c");
        compiler
            .arg(wrapper.join("asock_blocking.c"))
            .arg("-I")
            .arg(&wrapper);
    }
    compiler.arg("-L").arg(workshop.path(""));
    compiler.arg(format!("-Wl,-rpath,{}", workshop.path("").display()));
    compiler.args(["-lasock", "-lpthread", "-ldl"]);
    let answer = compiler.output().expect("the compiler runs");
    let errors = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success(), "{name}: {errors}");
    program
}

/// Compiles and runs a program of the README, and gives what it prints.
#[track_caller]
fn printed(workshop: &Workshop, name: &str, source: &str, arguments: &[&str]) -> String {
    let path = workshop.path(name).with_extension("c");
    fs::write(&path, source).expect("the workshop can be written");
    let program = compile(workshop, &path, name);
    let mut command = Command::new(program);
    let ran = c::run(
        command
            .args(arguments)
            .env("LD_LIBRARY_PATH", workshop.path("")),
        LIMIT,
    );
    ran.assert_success(name);
    assert_eq!(ran.stderr, "", "{name}");
    ran.stdout
}

#[test]
fn the_shortest_program_gets_its_answer() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let told = printed(&workshop, "shortest", &program("asock_end("), &[&serve()]);
    assert_eq!(told, format!("ok: {TEXT}\n"));
}

#[test]
fn the_library_can_be_loaded_at_run_time() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let told = printed(&workshop, "loading", &program("dlopen("), &[]);
    assert_eq!(told, format!("asock {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_game_loop_can_dispatch() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let told = printed(&workshop, "game", &program("asock_dispatch("), &[&serve()]);
    assert_eq!(told, format!("ok: {TEXT}\n"));
}

/// The server listens on one family only, and `localhost` may be both.
#[test]
fn the_blocking_calls_get_their_answer() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let source = program("asock_blocking_connect(");
    let told = printed(&workshop, "blocking", &source, &[&serve()]);
    assert_eq!(told, format!("ok: {TEXT}\n"));
    // The directory of the wrapper shows the same program.
    let own = c::root().join("bindings/c/README.md");
    let own = fs::read_to_string(own).expect("the wrapper has a README");
    assert!(own.contains(&format!("\n```c\n{source}```\n")));
}

/// It serves several clients at the same time, for as long as its input is open.
#[test]
fn the_shortest_server_serves() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let path = workshop.path("server.c");
    fs::write(&path, program("asock_begin_accept(")).expect("the workshop can be written");
    let program = compile(&workshop, &path, "server");
    // A port that nobody has right now; if somebody takes it before the server does, another one is tried.
    for _ in 0..10 {
        let probe = TcpListener::bind(("127.0.0.1", 0)).expect("loopback is there");
        let port = probe.local_addr().expect("it is bound").port();
        drop(probe);
        let mut server = Command::new(&program)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let start = Instant::now();
        let first = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(client) => break Some(client),
                Err(_) if start.elapsed() > LIMIT => break None,
                Err(_) if server.try_wait().expect("our child").is_some() => break None,
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        let Some(first) = first else {
            let _ = server.kill(); // It has ended, mostly.
            let _ = server.wait();
            continue;
        };
        let more = || TcpStream::connect(("127.0.0.1", port)).expect("it accepts again");
        let mut clients = [first, more(), more()];
        for round in ["first", "second"] {
            for client in &mut clients {
                client.set_read_timeout(Some(LIMIT)).expect("it is open");
                client.write_all(round.as_bytes()).expect("it is there");
            }
            for client in &mut clients {
                let mut answer = vec![0; round.len()];
                client.read_exact(&mut answer).expect("it answers");
                assert_eq!(answer, round.as_bytes());
            }
        }
        drop(server.stdin.take()); // The end of its input is its end.
        let ended = server.wait_with_output().expect("our child");
        assert_eq!(ended.status.code(), Some(0));
        assert_eq!((&*ended.stdout, &*ended.stderr), (&b""[..], &b""[..]));
        for client in &mut clients {
            assert_eq!(client.read(&mut [0]).expect("an end, not a reset"), 0);
        }
        return;
    }
    panic!("it never served");
}

/// Every program is run by one of the tests here: none is added without one.
#[test]
fn no_program_is_forgotten() {
    assert_eq!(snippets("c").len(), 5);
    assert_eq!(snippets("python").len(), 2);
    assert_eq!(snippets("sh").len(), 6);
}

/// Whether there is a Python that the package is for. Where releases are built, there must be.
#[allow(
    clippy::print_stderr,
    reason = "a test that is left out must say so where people look"
)]
fn has_python() -> bool {
    let question = "import sys; sys.exit(sys.version_info < (3, 9))";
    let answer = Command::new("python3").args(["-c", question]).output();
    let has = answer.is_ok_and(|answer| answer.status.success());
    if !has {
        let text =
            "`python3`, 3.9 or later, is missing: the README's programs in Python were not run";
        assert!(std::env::var_os("CI").is_none(), "{text}");
        eprintln!("{text}");
    }
    has
}

#[test]
fn the_programs_in_python_get_their_answers() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    if !has_python() {
        return;
    }
    let package = c::root().join("bindings/python");
    let installed = package.join("asock/libasock.so");
    assert!(
        !installed.exists(),
        "{}: the package would prefer this library to the one under test; remove it",
        installed.display()
    );
    for (number, source) in snippets("python").iter().enumerate() {
        let path = workshop.path(&format!("snippet-{number}.py"));
        fs::write(&path, source).expect("the workshop can be written");
        let mut python = Command::new("python3");
        python.args(["-B", "-W", "error"]).arg(path).arg(serve());
        python.env("PYTHONPATH", &package);
        python.env("ASOCK_LIBRARY", workshop.path("libasock.so"));
        let ran = c::run(&mut python, LIMIT);
        ran.assert_success(source);
        assert_eq!(ran.stdout, format!("{TEXT}\n"), "{source}");
        assert_eq!(ran.stderr, "", "{source}");
    }
}

/// A place that looks like the project's root after `cargo build --release`, with the programs in it that the README says
/// are saved there.
fn stage(workshop: &Workshop) -> PathBuf {
    let stage = workshop.path("stage");
    let release = stage.join("target/release");
    fs::create_dir_all(&release).expect("the workshop can be written");
    let library = c::shared_library();
    let archive = library.with_extension("a");
    for (from, to) in [
        (c::root().join("include"), stage.join("include")),
        (c::root().join("bindings"), stage.join("bindings")),
        (library, release.join("libasock.so")),
        (archive, release.join("libasock.a")),
    ] {
        assert!(from.exists(), "{} is not built", from.display());
        std::os::unix::fs::symlink(from, to).expect("a fresh directory");
    }
    for (name, word) in [
        ("client.c", "asock_end("),
        ("blocking.c", "asock_blocking_connect("),
    ] {
        fs::write(stage.join(name), program(word)).expect("the workshop can be written");
    }
    stage
}

#[test]
fn the_commands_work_as_written() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let stage = stage(&workshop);
    let port = serve();
    let mut seen = BTreeSet::new();
    for commands in snippets("sh") {
        let built = |line: &&str| line.starts_with("cargo ") || line.starts_with("pip ");
        let ours = commands.lines().filter(|line| !built(line));
        let ours = ours.collect::<Vec<_>>().join("\n").replace("11000", &port);
        if ours.is_empty() {
            continue;
        }
        let mut shell = Command::new("sh");
        shell.args(["-e", "-u", "-c", &ours]).current_dir(&stage);
        let ran = c::run(shell.env("prefix", stage.join("prefix")), LIMIT);
        ran.assert_success(&ours);
        if ours.contains("\n./") {
            assert_eq!(ran.stdout, format!("ok: {TEXT}\n"), "{ours}");
        }
        let kinds = [
            "libasock.a",
            "client.c -o client -Iinclude -Ltarget",
            "asock_blocking.c",
            "install",
        ];
        seen.extend(kinds.into_iter().filter(|kind| ours.contains(kind)));
    }
    assert_eq!(
        seen.len(),
        4,
        "linking shared, linking static, the blocking calls and installing: {seen:?}"
    );

    // What was installed can be compiled and linked against, with nothing of the project's tree.
    let command = "cc client.c -o installed -Iprefix/include -Lprefix/lib -lasock -Wl,-rpath,\"$PWD/prefix/lib\" && ./installed";
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{command} {port}")])
        .current_dir(&stage);
    let ran = c::run(&mut shell, LIMIT);
    ran.assert_success("the installed library");
    assert_eq!(ran.stdout, format!("ok: {TEXT}\n"));
}

#[test]
fn the_asynchronous_client_in_c_prints_its_three_lines() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let source = c::root().join("bindings/c/examples/async_client.c");
    let client = compile(&workshop, &source, "async_client");
    let port = serve();
    // More than its buffer of 256 bytes takes at once.
    let long = format!("{}<EOF>", "0123456789".repeat(1000));
    for text in [TEXT, &long] {
        let mut command = Command::new(&client);
        command.args(["127.0.0.1", &port]);
        if text != TEXT {
            command.arg(text);
        }
        let ran = c::run(&mut command, LIMIT);
        ran.assert_success("async_client");
        let expected = format!(
            "Socket connected to 127.0.0.1:{port}\nSent {} bytes to server.\nResponse received : {text}\n",
            text.len()
        );
        assert_eq!(ran.stdout, expected);
    }
}

#[test]
fn the_asynchronous_client_in_c_says_what_went_wrong() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let source = c::root().join("bindings/c/examples/async_client.c");
    let client = compile(&workshop, &source, "async_client");
    // The near end of a connection has a port at which nobody listens, and which nobody can take meanwhile.
    let near: u16 = serve().parse().expect("it is a port");
    let near = TcpStream::connect(("127.0.0.1", near)).expect("the server is there");
    let port = near.local_addr().expect("it is connected").port();
    let port = port.to_string();
    let ran = c::run(Command::new(client).args(["127.0.0.1", &port]), LIMIT);
    assert_eq!(
        ran.status.and_then(|status| status.code()),
        Some(1),
        "{ran:?}"
    );
    assert_eq!(ran.stdout, "");
    assert_eq!(
        ran.stderr,
        "async_client: cannot connect: connection refused\n"
    );
}
