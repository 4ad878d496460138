//! A world in which a test decides what names mean.
//!
//! Each test runs once more, in a child process. Where the machine allows it, the child has network and mounts of its
//! own: a loopback that nobody else uses, an `/etc` with the test's hosts file and resolver settings, and a name server
//! on 127.0.0.1:53 that is a thread of the child. Then it is the system's own resolver that is asked, with all that it
//! does. Where the machine does not allow that, the child has a `getaddrinfo` preloaded that answers as it is told.
//! The environment variable `ASOCK_TEST_NAMES` (`namespace` or `preload`) asks for a certain one.

use super::common::c::{root, run};
use super::server::{play_dead, serve, Answer, Table};
use std::ffi::{c_char, c_int, c_uint, CStr, CString};
use std::fs;
use std::io::{Error, Result, Write};
use std::net::{IpAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::null;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// The child finds its kind here.
const KIND: &str = "ASOCK_TEST_NAMES_WORLD";
/// No test's child may take longer; look-ups that hang do so for longer than this.
const LIMIT: Duration = Duration::from_secs(55);
/// The delay by which a preloaded `getaddrinfo` knows that an answer is held.
const HELD: Duration = Duration::from_millis(c_uint::MAX as u64);
/// What a child ends with that was asked to end the whole process.
pub const EXITED: i32 = 42;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Namespace,
    /// The same for those who are not root, in a user namespace too.
    UserNamespace,
    Preload,
}

/// What a world is like from its beginning.
#[derive(Clone, Copy)]
pub struct Setup {
    /// The hosts file: addresses and names.
    pub hosts: &'static [(&'static str, &'static str)],
    /// Whether the system's administrator wants IPv4 first; else it is IPv6.
    pub prefer_ipv4: bool,
    /// How long the resolver waits for a name server each time, and how often.
    pub timeout_s: u32,
    pub attempts: u32,
    /// The first of two name servers is dead.
    pub first_server_is_dead: bool,
    /// The test ends the process itself, with `EXITED`.
    pub exits: bool,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            hosts: &[("127.0.0.1", "localhost"), ("::1", "localhost")],
            prefer_ipv4: false,
            timeout_s: 30, // The most that the system's resolver allows.
            attempts: 2,
            first_server_is_dead: false,
            exits: false,
        }
    }
}

/// The world that a test's body runs in.
pub struct World {
    kind: Kind,
    setup: Setup,
    table: Table,
}

type Tell = unsafe extern "C" fn(*const c_char, c_uint, c_int, *const c_char);

/// Runs the body of the test that calls this, in a world of its own.
pub fn within<Body: Fn(&World)>(setup: Setup, body: Body) {
    if let Ok(kind) = std::env::var(KIND) {
        let kind = match &kind[..] {
            "Preload" => Kind::Preload,
            _ => Kind::Namespace,
        };
        return body(&World::open(kind, setup));
    }
    let Some(kind) = chosen() else { return };
    // The type of a closure is named by the path to it, and that of a test is its name for the harness.
    let path = std::any::type_name::<Body>();
    let path = path.trim_end_matches("::{{closure}}");
    let (_, test) = path.split_once("::").expect("the crate comes first");
    let etc = Etc::new(&setup);
    let mut command = command(kind, &etc);
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(KIND, format!("{kind:?}"));
    let ran = run(&mut command, LIMIT);
    let code = ran.status.and_then(|status| status.code());
    let well = match setup.exits {
        true => code == Some(EXITED),
        false => code == Some(0) && ran.stdout.contains("1 passed"),
    };
    assert!(
        well,
        "in its {kind:?}, {test} ended with {:?} after {:?}\n{}{}",
        ran.status, ran.took, ran.stdout, ran.stderr
    );
}

/// The kind of world for this run, found out once and told in one line. None where there is no way at all.
fn chosen() -> Option<Kind> {
    static CHOSEN: OnceLock<Option<Kind>> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let wanted = std::env::var("ASOCK_TEST_NAMES").unwrap_or_default();
        let kinds: &[Kind] = match &wanted[..] {
            "namespace" => &[Kind::Namespace, Kind::UserNamespace],
            "preload" => &[Kind::Preload],
            "" => &[Kind::Namespace, Kind::UserNamespace, Kind::Preload],
            other => panic!("ASOCK_TEST_NAMES may be namespace or preload, not {other}"),
        };
        let found = kinds.iter().copied().find(|&kind| works(kind));
        let text = match found {
            Some(Kind::Namespace) => "names: asked in a network and mount namespace, of a name server of the test's own",
            Some(Kind::UserNamespace) => "names: asked in a user namespace, of a name server of the test's own",
            Some(Kind::Preload) => "names: asked of a preloaded getaddrinfo, not of a name server",
            None => "names: NOT TESTED; this machine allows no namespaces and has no C compiler for a preloaded getaddrinfo",
        };
        // Not by a macro, which the harness would keep to itself.
        let _ = writeln!(std::io::stderr(), "{text}");
        assert!(
            found.is_some() || (std::env::var_os("CI").is_none() && wanted.is_empty()),
            "names must be tested here"
        );
        found
    })
}

fn works(kind: Kind) -> bool {
    if kind == Kind::Preload && preloaded().is_none() {
        return false;
    }
    let etc = Etc::new(&Setup::default());
    let answer = command(kind, &etc).arg("--help").output();
    answer.is_ok_and(|answer| answer.status.success())
}

/// This very program, to be run in a world.
fn command(kind: Kind, etc: &Etc) -> Command {
    let test = std::env::current_exe().expect("a test knows its executable");
    let mut command = Command::new(test);
    match kind {
        Kind::Preload => {
            command.env("LD_PRELOAD", preloaded().expect("it was tried"));
        }
        Kind::Namespace | Kind::UserNamespace => {
            let passage = Passage::new(kind, &etc.0);
            // SAFETY: between fork and exec it makes system calls only.
            unsafe { command.pre_exec(move || passage.enter()) };
        }
    }
    command
}

/// The preloaded library, compiled once.
fn preloaded() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let built = directory.join(format!("names_preload-{}.so", std::process::id()));
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let answer = Command::new(compiler)
            .args(["-std=gnu99", "-Wall", "-Wextra", "-Werror"])
            .args(["-shared", "-fPIC", "-o"])
            .arg(&built)
            .arg(root().join("tests/c/names_preload.c"))
            .arg("-lpthread")
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&answer.stderr);
        assert!(answer.status.success(), "it does not compile:\n{text}");
        // The same name for every run, so that they do not pile up.
        let library = directory.join("names_preload.so");
        fs::rename(built, &library).expect("the target directory can be written");
        Some(library)
    };
    BUILT.get_or_init(build).as_deref()
}

/// A directory that takes the place of `/etc`. It goes when dropped.
struct Etc(PathBuf);

impl Etc {
    fn new(setup: &Setup) -> Etc {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("etc-{}-{number}", std::process::id());
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).expect("the target directory can be written");
        let write = |name: &str, text: &str| {
            fs::write(directory.join(name), text).expect("a fresh directory can be written");
        };
        let hosts: Vec<String> = setup
            .hosts
            .iter()
            .map(|(address, name)| format!("{address} {name}\n"))
            .collect();
        write("hosts", &hosts.concat());
        write("host.conf", "multi on\n");
        write("nsswitch.conf", "hosts: files dns\n");
        let servers = match setup.first_server_is_dead {
            true => "nameserver 127.0.0.2\nnameserver 127.0.0.1\n",
            false => "nameserver 127.0.0.1\n",
        };
        let (timeout_s, attempts) = (setup.timeout_s, setup.attempts);
        let options = format!("options timeout:{timeout_s} attempts:{attempts}\nsearch .\n");
        write("resolv.conf", &format!("{servers}{options}"));
        if setup.prefer_ipv4 {
            write("gai.conf", "precedence ::ffff:0:0/96 100\n");
        }
        // Without it the loader of programs looks in its standard places only.
        let _ = fs::copy("/etc/ld.so.cache", directory.join("ld.so.cache"));
        Etc(directory)
    }
}

impl Drop for Etc {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // What stays lies in the target directory.
    }
}

/// The way into the namespaces. All texts are made before the fork.
struct Passage {
    flags: c_int,
    etc: CString,
    user_map: CString,
    group_map: CString,
}

fn check(answer: c_int) -> Result<()> {
    match answer {
        0.. => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

/// Writes a file of /proc, with system calls only.
fn put(path: &CStr, text: &CStr) -> Result<()> {
    let bytes = text.to_bytes();
    // SAFETY: texts that end with a zero, and a descriptor that was just opened.
    unsafe {
        let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        check(file)?;
        let written = libc::write(file, bytes.as_ptr().cast(), bytes.len());
        let answer = check(written as c_int);
        libc::close(file);
        answer
    }
}

impl Passage {
    fn new(kind: Kind, etc: &Path) -> Passage {
        // SAFETY: these cannot fail.
        let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
        let own = libc::CLONE_NEWNET | libc::CLONE_NEWNS;
        let text = |text: String| CString::new(text).expect("no zero inside");
        Passage {
            flags: match kind {
                Kind::UserNamespace => own | libc::CLONE_NEWUSER,
                _ => own,
            },
            etc: text(etc.display().to_string()),
            user_map: text(format!("0 {user} 1")),
            group_map: text(format!("0 {group} 1")),
        }
    }

    /// Leaves the machine's network and files behind.
    fn enter(&self) -> Result<()> {
        // SAFETY: no pointers.
        check(unsafe { libc::unshare(self.flags) })?;
        if self.flags & libc::CLONE_NEWUSER != 0 {
            put(c"/proc/self/setgroups", c"deny")?;
            put(c"/proc/self/uid_map", &self.user_map)?;
            put(c"/proc/self/gid_map", &self.group_map)?;
        }
        let private = libc::MS_REC | libc::MS_PRIVATE;
        let (etc, bind) = (self.etc.as_ptr(), libc::MS_BIND);
        // SAFETY: texts that end with a zero; the other pointers may be null.
        unsafe {
            let root = c"/".as_ptr();
            check(libc::mount(null(), root, null(), private, null()))?;
            check(libc::mount(etc, c"/etc".as_ptr(), null(), bind, null()))?;
        }
        loopback_up()
    }
}

fn loopback_up() -> Result<()> {
    // SAFETY: a struct of numbers may be all zero; the descriptor was just made.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        check(socket)?;
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[..2].copy_from_slice(&[b'l' as c_char, b'o' as c_char]);
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
        let answer = check(libc::ioctl(
            socket,
            libc::SIOCSIFFLAGS as _,
            &raw mut request,
        ));
        libc::close(socket);
        answer
    }
}

impl World {
    fn open(kind: Kind, setup: Setup) -> World {
        let world = World {
            kind,
            setup,
            table: Table::default(),
        };
        match kind {
            Kind::Preload => world.fill_from_hosts(),
            Kind::Namespace | Kind::UserNamespace => {
                serve("127.0.0.1:53", world.table.clone());
                if setup.first_server_is_dead {
                    play_dead("127.0.0.2:53");
                }
            }
        }
        let ipv6 = TcpListener::bind("[::1]:0");
        assert!(ipv6.is_ok(), "names are tested on a loopback with IPv6");
        world
    }

    /// A preloaded `getaddrinfo` reads no file.
    fn fill_from_hosts(&self) {
        for (_, name) in self.setup.hosts {
            let lines = self.setup.hosts.iter().filter(|line| line.1 == *name);
            let texts: Vec<&str> = lines.map(|line| line.0).collect();
            self.answers(name, Answer::addresses(&texts));
        }
    }

    /// From now on this name is answered so, at once.
    pub fn answers(&self, name: &str, answer: Answer) {
        self.answers_after(Duration::ZERO, name, answer);
    }

    /// From now on this name is answered so, after a while.
    pub fn answers_after(&self, delay: Duration, name: &str, answer: Answer) {
        if self.kind == Kind::Preload {
            return self.tell_preloaded(delay, name, answer);
        }
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.insert(name.to_owned(), (delay, answer));
    }

    fn tell_preloaded(&self, delay: Duration, name: &str, answer: Answer) {
        let once = Duration::from_secs(self.setup.timeout_s.into());
        let patience = once * self.setup.attempts;
        let lost = match self.setup.first_server_is_dead {
            true => once,
            false => Duration::ZERO,
        };
        let (delay, code, mut addresses) = match answer {
            Answer::Addresses(addresses) => (delay + lost, 0, addresses),
            Answer::NotFound => (delay + lost, libc::EAI_NONAME, Vec::new()),
            Answer::Failure => (delay + lost, libc::EAI_AGAIN, Vec::new()),
            Answer::Silence => (patience, libc::EAI_AGAIN, Vec::new()),
            Answer::Held => (HELD, 0, Vec::new()),
        };
        let code = match (code, &addresses[..]) {
            (0, []) => libc::EAI_NONAME,
            (code, _) => code,
        };
        addresses.sort_by_key(|address| address.is_ipv4() != self.setup.prefer_ipv4);
        let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let text = |text: &str| CString::new(text).expect("no zero inside");
        let (name, addresses) = (text(name), text(&texts.join(" ")));
        // One at a time; the symbol is looked for each time, since that costs nothing here.
        static ORDER: Mutex<()> = Mutex::new(());
        let _order = ORDER.lock();
        // SAFETY: if it is there it is the function of tests/c/names_preload.c, which copies the texts.
        unsafe {
            let tell = libc::dlsym(libc::RTLD_DEFAULT, c"asock_test_name".as_ptr());
            assert!(!tell.is_null(), "the library was preloaded");
            let tell: Tell = std::mem::transmute::<*mut libc::c_void, Tell>(tell);
            let delay_ms = delay.as_millis() as c_uint;
            tell(name.as_ptr(), delay_ms, code, addresses.as_ptr());
        }
    }
}
