//! System calls that are answered with an error before the kernel sees them (seccomp), as containers and sandboxes do it;
//! and calls that another thread answers, each as it likes. A filter holds for the thread that installs it and for the
//! threads that it starts from then on, and there is no way back: it belongs into a child.

use std::sync::mpsc::channel;

/// One rule: a call, perhaps only with a certain second argument, gets this answer.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub call: libc::c_long,
    pub second_argument: Option<u32>,
    pub answer: u32,
}

/// The answer is an error.
pub const fn refused(call: libc::c_long, second_argument: Option<u32>, error: i32) -> Rule {
    Rule {
        call,
        second_argument,
        answer: libc::SECCOMP_RET_ERRNO | error as u32,
    }
}

/// Where the kernel puts the number of the call and the lower half of its second argument, on this kind of machine.
const CALL: u32 = 0;
const SECOND_ARGUMENT: u32 = 24;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

fn program(rules: &[Rule]) -> Vec<libc::sock_filter> {
    let step = |code, k, jump_unless| libc::sock_filter {
        code,
        jt: 0,
        jf: jump_unless,
        k,
    };
    let mut program = Vec::new();
    for rule in rules {
        // Each condition that does not hold leads past the rule's return.
        let second = rule.second_argument.map_or(0, |_| 2);
        program.push(step(LOAD, CALL, 0));
        program.push(step(EQUAL, rule.call as u32, second + 1));
        if let Some(argument) = rule.second_argument {
            program.push(step(LOAD, SECOND_ARGUMENT, 0));
            program.push(step(EQUAL, argument, 1));
        }
        program.push(step(RETURN, rule.answer, 0));
    }
    program.push(step(RETURN, libc::SECCOMP_RET_ALLOW, 0));
    program
}

/// Gives the calling thread these rules; with a flag it gives a descriptor.
fn install(rules: &[Rule], flags: libc::c_ulong) -> i64 {
    let mut program = program(rules);
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: no pointers; then a struct whose array is alive, and which the kernel copies.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        let answer = libc::syscall(libc::SYS_seccomp, mode, flags, &raw const filter);
        assert!(answer >= 0, "{}", std::io::Error::last_os_error());
        answer
    }
}

/// The calling thread's calls are answered by these rules.
pub fn refuse(rules: &[Rule]) {
    install(rules, 0);
}

/// Of the calling thread's calls those to `call` go through `decide` first, on a thread that lives as long as the process:
/// it gives the error to answer with, or 0 to let the call happen.
pub fn supervise(call: libc::c_long, mut decide: impl FnMut() -> i32 + Send + 'static) {
    // Started before the filter is there, or it would wait for itself.
    let (sender, receiver) = channel::<i64>();
    std::thread::spawn(move || {
        let listener = receiver.recv().expect("the filter gives one") as i32;
        loop {
            // SAFETY: structs of integers may be all zero, and the calls read and write structs of these types.
            unsafe {
                let mut told: libc::seccomp_notif = std::mem::zeroed();
                if libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut told) != 0 {
                    continue; // A signal has taken the call back.
                }
                let mut answer: libc::seccomp_notif_resp = std::mem::zeroed();
                answer.id = told.id;
                match decide() {
                    0 => answer.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
                    error => answer.error = -error,
                }
                libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer);
            }
        }
    });
    let rule = Rule {
        call,
        second_argument: None,
        answer: libc::SECCOMP_RET_USER_NOTIF,
    };
    let listener = install(&[rule], libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    sender.send(listener).expect("the thread waits for it");
}
