//! The header is the product: it compiles wherever a C or C++ program is, says the same numbers and layouts as the
//! library, and names exactly what the library exports.
//!
//! The numbers below are written out a second time on purpose. Programs are compiled with them, so they are fixed for
//! ever: a line may be added here, none may ever change.
//!
//! That the committed header is the one that the sources make is for `.ci/run` to see: the build writes it anew, and the
//! tree must stay clean.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::mem::{align_of, offset_of, size_of};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

#[path = "common/c.rs"]
#[allow(dead_code, reason = "every test uses a part of it")]
mod c;

use c::Workshop;

const STRICT: [&str; 5] = ["-pedantic-errors", "-Wall", "-Wextra", "-Werror", "-c"];

/// A constant: its name, its number in Rust, and the number that was promised.
type Number = (&'static str, i64, i64);

macro_rules! numbers {
    ($($name:ident = $number:expr,)*) => {
        [$((stringify!($name), asock::$name as i64, $number),)*]
    };
}

#[rustfmt::skip]
fn numbers() -> Vec<Number> {
    numbers! {
        ASOCK_VERSION_MAJOR = 0, ASOCK_VERSION_MINOR = 1, ASOCK_VERSION_PATCH = 0,

        ASOCK_OK = 0, ASOCK_INVALID_ARGUMENT = -1, ASOCK_INVALID_STATE = -2, ASOCK_BAD_HANDLE = -3,
        ASOCK_NOT_SUPPORTED = -4, ASOCK_WOULD_DEADLOCK = -5, ASOCK_FORKED = -6, ASOCK_OUT_OF_MEMORY = -7,
        ASOCK_QUEUE_FULL = -8, ASOCK_TOO_MANY_SOCKETS = -9, ASOCK_INTERNAL = -10,
        ASOCK_CANCELED = -20, ASOCK_CLOSED = -21, ASOCK_STOPPED = -22, ASOCK_TIMED_OUT = -23,
        ASOCK_HOST_NOT_FOUND = -40, ASOCK_NAME_SERVER_FAILED = -41, ASOCK_CONNECTION_REFUSED = -42,
        ASOCK_CONNECTION_RESET = -43, ASOCK_CONNECTION_ABORTED = -44, ASOCK_NETWORK_UNREACHABLE = -45,
        ASOCK_HOST_UNREACHABLE = -46, ASOCK_NOT_CONNECTED = -47, ASOCK_ALREADY_CONNECTED = -48,
        ASOCK_SHUT_DOWN = -49, ASOCK_ADDRESS_IN_USE = -50, ASOCK_ADDRESS_NOT_AVAILABLE = -51,
        ASOCK_ACCESS_DENIED = -52, ASOCK_MESSAGE_TOO_LONG = -53, ASOCK_OS_ERROR = -99,

        ASOCK_KIND_CONNECT = 1, ASOCK_KIND_SEND = 2, ASOCK_KIND_RECEIVE = 3, ASOCK_KIND_ACCEPT = 4,
        ASOCK_KIND_SEND_TO = 5, ASOCK_KIND_RECEIVE_FROM = 6, ASOCK_KIND_RESOLVE = 7, ASOCK_KIND_TIMER = 8,
        ASOCK_KIND_CLOSE = 9,
        ASOCK_RESULT_TRUNCATED = 1,

        ASOCK_DELIVER_ON_WORKER = 0, ASOCK_DELIVER_ON_POLL = 1,
        ASOCK_BACKEND_AUTO = 0, ASOCK_BACKEND_EPOLL = 1, ASOCK_BACKEND_IO_URING = 2, ASOCK_BACKEND_KQUEUE = 3,
        ASOCK_BACKEND_IOCP = 4,
        ASOCK_STREAM = 1, ASOCK_DATAGRAM = 2,
        ASOCK_SHUTDOWN_RECEIVE = 1, ASOCK_SHUTDOWN_SEND = 2, ASOCK_SHUTDOWN_BOTH = 3,
        ASOCK_CLOSE_DRAIN = 1, ASOCK_CLOSE_RESET = 2,
        ASOCK_SEND_COPY = 1, ASOCK_SEND_MORE = 2, ASOCK_SEND_OUT_OF_BAND = 4,
        ASOCK_RECEIVE_ALL = 1, ASOCK_RECEIVE_PEEK = 2, ASOCK_RECEIVE_OUT_OF_BAND = 4,

        ASOCK_OPTION_NODELAY = 1, ASOCK_OPTION_KEEPALIVE = 2, ASOCK_OPTION_KEEPALIVE_IDLE_S = 3,
        ASOCK_OPTION_KEEPALIVE_INTERVAL_S = 4, ASOCK_OPTION_KEEPALIVE_COUNT = 5, ASOCK_OPTION_LINGER_S = 6,
        ASOCK_OPTION_SEND_BUFFER = 7, ASOCK_OPTION_RECEIVE_BUFFER = 8, ASOCK_OPTION_REUSE_ADDRESS = 9,
        ASOCK_OPTION_REUSE_PORT = 10, ASOCK_OPTION_BROADCAST = 11, ASOCK_OPTION_TTL = 12,
        ASOCK_OPTION_V6_ONLY = 13, ASOCK_OPTION_MULTICAST_LOOP = 14, ASOCK_OPTION_MULTICAST_TTL = 15,
        ASOCK_OPTION_MULTICAST_INTERFACE = 16,
        ASOCK_OPTION_CONNECT_TIMEOUT_MS = 64, ASOCK_OPTION_SEND_TIMEOUT_MS = 65,
        ASOCK_OPTION_RECEIVE_TIMEOUT_MS = 66, ASOCK_OPTION_ACCEPT_TIMEOUT_MS = 67,
        ASOCK_OPTION_SEND_QUEUE_LIMIT = 68, ASOCK_OPTION_SEND_QUEUED = 69,

        ASOCK_FAMILY_NONE = 0, ASOCK_FAMILY_IPV4 = 1, ASOCK_FAMILY_IPV6 = 2, ASOCK_FAMILY_UNIX = 3,
        ASOCK_ADDRESS_TEXT_MAX = 160,

        ASOCK_LOG_OFF = 0, ASOCK_LOG_ERROR = 1, ASOCK_LOG_WARN = 2, ASOCK_LOG_INFO = 3, ASOCK_LOG_DEBUG = 4,
        ASOCK_LOG_TRACE = 5,
    }
    .to_vec()
}

/// A struct: its name, its size and alignment in Rust, and where each member is.
struct Layout {
    name: &'static str,
    size: usize,
    align: usize,
    members: Vec<(&'static str, usize)>,
}

macro_rules! layouts {
    ($($name:ident { $($member:ident),* })*) => {
        vec![$(Layout {
            name: stringify!($name),
            size: size_of::<asock::$name>(),
            align: align_of::<asock::$name>(),
            members: vec![$((stringify!($member), offset_of!(asock::$name, $member))),*],
        }),*]
    };
}

fn layouts() -> Vec<Layout> {
    layouts! {
        asock_result { op, socket, value, bytes, buffer, user_data, kind, status, os_error, flags }
        asock_runtime_config { size, delivery, backend, workers, resolvers, max_sockets, spin_us }
        asock_stats {
            size, operations_begun, operations_completed, operations_pending, bytes_sent, bytes_received,
            sockets_open, wake_ups, longest_callback_ns, backend, workers
        }
        asock_address { storage, length, reserved }
        asock_buffer { data, length }
    }
}

/// The header without its comments.
fn declarations() -> String {
    let header = fs::read_to_string(c::root().join("include/asock.h")).expect("it is committed");
    let mut text = String::new();
    let mut rest = header.as_str();
    while let Some(start) = rest.find("/*") {
        text.push_str(&rest[..start]);
        let end = rest[start..].find("*/").expect("comments end");
        rest = &rest[start + end + 2..];
    }
    text.push_str(rest);
    text
}

/// The constants that the header defines, and the include guard left out.
fn defined() -> BTreeSet<String> {
    let text = declarations();
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("#define "));
    let names = lines.filter_map(|line| line.split_once(' '));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// The functions that the header declares.
fn declared() -> BTreeSet<String> {
    let text = declarations();
    let calls = text
        .match_indices('(')
        .map(|(at, _)| &text[..at])
        .filter_map(|before| before.rsplit(|c: char| !is_word(c)).next());
    calls
        .filter(|name| name.starts_with("asock_"))
        .map(str::to_owned)
        .collect()
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// What a tool of the compiler's says. It comes with the compiler.
#[track_caller]
fn output(command: &mut Command) -> String {
    let answer = command.output().expect("the tool is there");
    let errors = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success(), "{command:?}: {errors}");
    String::from_utf8_lossy(&answer.stdout).into_owned()
}

/// Writes a source, compiles and runs it, and gives what it prints.
#[track_caller]
fn told_by_c(workshop: &Workshop, name: &str, source: &str) -> String {
    let path = workshop.path(name).with_extension("c");
    fs::write(&path, source).expect("the workshop can be written");
    let program = workshop.path(name);
    let mut compile = workshop.compiler();
    compile.args([
        "-std=c99",
        "-pedantic-errors",
        "-Wall",
        "-Wextra",
        "-Werror",
    ]);
    output(compile.arg(&path).arg("-o").arg(&program));
    let ran = c::run(&mut Command::new(program), Duration::from_secs(60));
    ran.assert_success(name);
    ran.stdout
}

#[test]
fn every_number_is_the_promised_one_in_rust_and_in_c() {
    let numbers = numbers();
    for (name, in_rust, promised) in &numbers {
        assert_eq!(in_rust, promised, "{name}");
    }
    let listed: BTreeSet<String> = numbers.iter().map(|number| number.0.to_owned()).collect();
    assert_eq!(
        listed,
        defined(),
        "the constants of the header are not those of this table"
    );

    let Some(workshop) = Workshop::open() else {
        return;
    };
    let mut source = "#include <asock.h>\n#include <stdio.h>\nint main(void) {\n".to_owned();
    for (name, ..) in &numbers {
        // In #if as well: whoever writes a header of his own needs that.
        writeln!(
            source,
            "#if ({name}) + 0 == {name}\nprintf(\"{name} %lld\\n\", (long long){name});\n#endif"
        )
        .expect("a string takes it");
    }
    source.push_str("return 0;\n}\n");
    // Pedantic C99 knows long long.
    let told = told_by_c(&workshop, "numbers", &source);
    let expected: String = numbers
        .iter()
        .map(|(name, _, promised)| format!("{name} {promised}\n"))
        .collect();
    assert_eq!(told, expected);
}

#[test]
fn every_struct_lies_in_memory_as_the_library_thinks() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let mut source = "#include <asock.h>\n#include <stdio.h>\n".to_owned();
    let mut main = String::new();
    let mut expected = String::new();
    for Layout {
        name,
        size,
        align,
        members,
    } in layouts()
    {
        // Alignment in C99: where the compiler puts it behind a single byte. The initialiser without designators ends
        // the compilation (-Wextra) if the header has a member more or fewer than the list above.
        let zeros = vec!["0"; members.len()].join(", ");
        writeln!(
            source,
            "struct behind_{name} {{ char byte; {name} value; }};"
        )
        .expect("taken");
        let initialiser = if name == "asock_address" {
            "{0}, 0, 0".to_owned()
        } else {
            zeros
        };
        writeln!(
            main,
            "{{ static const {name} all = {{ {initialiser} }}; (void)all; }}"
        )
        .expect("taken");
        writeln!(main, "printf(\"{name} %lu %lu\\n\", (unsigned long)sizeof({name}), (unsigned long)offsetof(struct behind_{name}, value));")
            .expect("taken");
        writeln!(expected, "{name} {size} {align}").expect("taken");
        for (member, offset) in members {
            writeln!(
                main,
                "printf(\"{name}.{member} %lu\\n\", (unsigned long)offsetof({name}, {member}));"
            )
            .expect("taken");
            writeln!(expected, "{name}.{member} {offset}").expect("taken");
        }
    }
    writeln!(source, "int main(void) {{\n{main}return 0;\n}}").expect("taken");
    assert_eq!(told_by_c(&workshop, "layouts", &source), expected);

    // No struct is missing from the list.
    let listed: BTreeSet<&str> = layouts().iter().map(|layout| layout.name).collect();
    let text = declarations();
    let structs = text
        .lines()
        .filter_map(|line| line.strip_prefix("typedef struct "));
    let structs: BTreeSet<&str> = structs.filter_map(|line| line.strip_suffix(" {")).collect();
    assert_eq!(listed, structs);
}

/// Compiles sources that include the header first, last, twice, and take every function's address.
fn compile_strictly(workshop: &Workshop, compiler: &mut Command, name: &str) {
    let mut source = "#include <asock.h>\n#include <asock.h>\n".to_owned();
    source.push_str("typedef void (*any_function)(void);\nextern const any_function all[];\n");
    source.push_str("const any_function all[] = {\n");
    for function in declared() {
        writeln!(source, "(any_function){function},").expect("a string takes it");
    }
    source.push_str("};\n");
    let path: PathBuf = workshop.path(name);
    fs::write(&path, source).expect("the workshop can be written");
    output(
        compiler
            .args(STRICT)
            .arg(&path)
            .arg("-o")
            .arg(workshop.path("object")),
    );
}

#[test]
fn it_compiles_as_strict_c99_and_later() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    for standard in ["-std=c99", "-std=c11", "-std=c17", "-std=gnu99"] {
        let mut compiler = workshop.compiler();
        compiler.args([standard, "-Wstrict-prototypes", "-Wundef", "-Wconversion"]);
        compile_strictly(&workshop, &mut compiler, "strict.c");
    }
}

#[test]
#[allow(
    clippy::print_stderr,
    reason = "a test that is left out must say so where people look"
)]
fn it_compiles_as_strict_cplusplus_11_and_later() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    if Command::new(&compiler).arg("--version").output().is_err() {
        let text = format!("`{compiler}` is missing: the header was not compiled as C++");
        assert!(std::env::var_os("CI").is_none(), "{text}");
        eprintln!("{text}");
        return;
    }
    for standard in ["-std=c++11", "-std=c++17", "-std=c++20"] {
        let mut command = Command::new(&compiler);
        command.arg("-I").arg(c::root().join("include")).args([
            standard,
            "-Wundef",
            "-Wconversion",
        ]);
        compile_strictly(&workshop, &mut command, "strict.cpp");
    }
}

#[test]
fn the_library_exports_what_the_header_declares_and_nothing_else() {
    // Without a compiler there is no `nm` either.
    if Workshop::open().is_none() {
        return;
    }
    let library = c::shared_library();
    let symbols = output(
        Command::new("nm")
            .args(["-D", "--defined-only", "-P"])
            .arg(&library),
    );
    let exported = symbols.lines().filter_map(|line| line.split(' ').next());
    let exported: BTreeSet<String> = exported.map(str::to_owned).collect();
    let declared = declared();
    assert!(
        declared.len() >= 40,
        "the header was not understood: {declared:?}"
    );
    assert_eq!(exported, declared);
}

#[test]
fn the_library_has_its_name_and_stays_mapped() {
    if Workshop::open().is_none() {
        return;
    }
    let dynamic = output(
        Command::new("readelf")
            .args(["-d", "-W"])
            .arg(c::shared_library()),
    );
    assert!(dynamic.contains("soname: [libasock.so.0]"), "{dynamic}");
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
}
