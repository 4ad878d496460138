//! C programs over the public header: compiled with the machine's `cc` against the shared library that this very test
//! run has built, and run with a limit of time, so that a program that hangs is a failure and not a hang.
#![allow(unsafe_code)] // A program that hangs is killed together with its children, which only the system can do.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A directory for compiled programs, with the library in it under the name that programs load. It goes when dropped.
pub struct Workshop {
    directory: PathBuf,
    compiler: String,
}

/// What a program did.
#[derive(Debug)]
pub struct Ran {
    /// None if it outlived its limit and was killed.
    pub status: Option<ExitStatus>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ran {
    /// It ended by itself with 0, and had nothing to complain of.
    #[track_caller]
    pub fn assert_success(&self, what: &str) {
        let ended_well = self.status.is_some_and(|status| status.success());
        assert!(ended_well, "{what}: {self:#?}");
    }
}

/// The root of the crate.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The shared library that was built together with the running test. Cargo puts it beside the test's executable, and
/// sometimes a directory up; the other one may then be of an earlier build, so the newest is taken.
pub fn shared_library() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its executable");
    let places = test.ancestors().skip(1).take(2);
    let libraries = places.map(|place| place.join("libasock.so"));
    let newest = libraries
        .filter_map(|library| Some((fs::metadata(&library).ok()?.modified().ok()?, library)))
        .max();
    newest
        .expect("cargo builds the shared library together with its tests")
        .1
}

impl Workshop {
    /// None where there is no C compiler, after a line that says so. On a machine that builds releases (`CI` is set)
    /// that is a failure: a check that is left out there would never be missed.
    #[allow(
        clippy::print_stderr,
        reason = "a test that is left out must say so where people look"
    )]
    pub fn open() -> Option<Workshop> {
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let answer = Command::new(&compiler).arg("--version").output();
        if !answer.is_ok_and(|answer| answer.status.success()) {
            let text = format!("`{compiler}` is missing: the C programs of this test were not run");
            assert!(std::env::var_os("CI").is_none(), "{text}");
            eprintln!("{text}");
            return None;
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("c-{}-{number}", std::process::id());
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).expect("the target directory can be written");
        let workshop = Workshop {
            directory,
            compiler,
        };
        for name in ["libasock.so.0", "libasock.so"] {
            let link = workshop.path(name);
            std::os::unix::fs::symlink(shared_library(), link).expect("a fresh directory");
        }
        Some(workshop)
    }

    /// A path in this directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The C compiler, told where the header is. `CC` in the environment names another one than `cc`.
    pub fn compiler(&self) -> Command {
        let mut command = Command::new(&self.compiler);
        command.arg("-I").arg(root().join("include"));
        command
    }

    /// Compiles `tests/c/SOURCE` into a program that finds the library, with all that a strict compiler has to say.
    #[track_caller]
    pub fn program(&self, source: &str) -> PathBuf {
        self.program_with(source, &["-std=gnu99", "-O1", "-g"])
    }

    /// The same with other arguments. The program is linked against the library and the thread library.
    #[track_caller]
    pub fn program_with(&self, source: &str, arguments: &[&str]) -> PathBuf {
        let mut command = self.compiler();
        command
            .args(arguments)
            .args(["-Wall", "-Wextra", "-Werror"]);
        command.arg(root().join("tests/c").join(source));
        command.arg("-L").arg(&self.directory);
        command.arg(format!("-Wl,-rpath,{}", self.directory.display()));
        command.args(["-lasock", "-lpthread", "-ldl"]);
        let stem = Path::new(source).file_stem().and_then(OsStr::to_str);
        let program = self.path(stem.expect("a source has a name"));
        command.arg("-o").arg(&program);
        let answer = command.output().expect("the compiler runs");
        let text = String::from_utf8_lossy(&answer.stderr);
        assert!(
            answer.status.success(),
            "{source} does not compile:\n{text}"
        );
        program
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory); // What stays lies in the target directory.
    }
}

/// Runs a program to its end, or kills it when `limit` has passed.
pub fn run(command: &mut Command, limit: Duration) -> Ran {
    let start = Instant::now();
    let mut child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break Some(status);
        }
        if start.elapsed() > limit {
            // With its own children, which would keep its output open.
            let group = -i32::try_from(child.id()).expect("a process number");
            // SAFETY: a system call without pointers, on the group that the child was started as.
            unsafe { libc::kill(group, libc::SIGKILL) };
            child.wait().expect("it is our child");
            break None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let took = start.elapsed();
    Ran {
        status,
        stdout: stdout.join().expect("reads"),
        stderr: stderr.join().expect("reads"),
        took,
    }
}

/// Takes what a program writes while it runs, so that a full pipe does not stop it.
fn reader(stream: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
