//! The parent of a supervised server: holds the listeners, starts the server, and starts it anew if it dies.
//!
//! Connects that come while there is no server wait in the listeners' queues. It does nothing else, so that nothing else
//! can end it. Signals go on to the server, which drains; then both end, with the server's exit status.

use crate::config::Config;
use crate::control::EXIT_SOFTWARE;
use crate::life::Faults;
use crate::server::Listeners;
use crate::start_error::StartError;
use rustix::io::FdFlags;
use rustix::process::{Pid, Signal, getppid, kill_process};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::env;
use std::error::Error;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// The parent's id and the listeners' descriptors, by which a server knows that it has a parent: `1234:3,4`.
const LISTENERS: &str = "DOWNBEAT_LISTENERS";
const PATIENCE: Duration = Duration::from_secs(2);
/// Exit statuses that say that another start would end alike: an orderly stop, bad settings, a host that cannot run it.
const FINAL_CODES: [i32; 3] = [0, 64, 78];

/// Runs the server until it ends for good; its exit status. `say` gets lines for the operator.
pub fn run(config: &Config, say: impl Fn(&str)) -> Result<u8, Box<dyn Error>> {
    let mut signals = Signals::new([SIGCHLD, SIGINT, SIGTERM])?;
    let listeners = Listeners::bind(config)?;
    let sockets: Vec<&OwnedFd> = listeners.sockets().collect();
    for socket in &sockets {
        // Only the server is ever started from here.
        rustix::io::fcntl_setfd(socket, FdFlags::empty())?;
    }
    let descriptors: Vec<String> = sockets.iter().map(|socket| socket.as_raw_fd().to_string()).collect();
    let inheritance = format!("{}:{}", std::process::id(), descriptors.join(","));
    let mut held = Some(listeners);
    let mut server = start(&inheritance)?;
    let mut faults = Faults::default();
    for signal in &mut signals {
        if signal != SIGCHLD {
            // Whoever connects from now on is refused, once the server listens no more either.
            held = None;
            pass_on(&server, signal);
            continue;
        }
        let Some(status) = server.try_wait()? else { continue };
        if held.is_none() || status.code().is_some_and(|code| FINAL_CODES.contains(&code)) {
            return Ok(exit_code(status));
        }
        if faults.add(Instant::now()) {
            say(&format!("the server ended ({status}), too often to start it anew"));
            return Ok(EXIT_SOFTWARE);
        }
        say(&format!("the server ended ({status}); starting it anew"));
        server = start(&inheritance)?;
    }
    Ok(EXIT_SOFTWARE)
}

/// The time that a server which a supervisor has started may wait for what the one before still holds.
pub fn patience() -> Duration {
    if env::var_os(LISTENERS).is_some() { PATIENCE } else { Duration::ZERO }
}

/// The listeners that a parent holds, if this process has one. It ends with its parent.
pub fn inherited(config: &Config) -> Result<Option<Listeners>, StartError> {
    let Ok(inheritance) = env::var(LISTENERS) else { return Ok(None) };
    let refused = |error: &dyn std::fmt::Display| {
        StartError::new(format!("{LISTENERS}={inheritance}: {error}; only a supervisor sets it"))
    };
    let (parent, descriptors) = inheritance.split_once(':').ok_or_else(|| refused(&"no parent"))?;
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM)).map_err(|error| refused(&error))?;
    // Had it ended before that, no signal would come.
    if getppid().map(|parent| parent.as_raw_nonzero().to_string()).as_deref() != Some(parent) {
        return Err(refused(&"its parent has gone"));
    }
    // The kernel names it after the link that it was started by. A name is no reason not to serve.
    let _ = rustix::thread::set_name(c"downbeat");
    let numbers = descriptors.split(',').map(str::parse).collect::<Result<Vec<RawFd>, _>>();
    let numbers = numbers.map_err(|error| refused(&error))?;
    let own = |number: &RawFd| {
        if rustix::io::fcntl_getfd(borrowed(*number)).is_err() {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        // SAFETY: it is open, the parent has left it to this process, and nothing else here has been told its number.
        let socket = unsafe { OwnedFd::from_raw_fd(*number) };
        rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
        Ok(socket)
    };
    let sockets = numbers.iter().map(own).collect::<io::Result<Vec<OwnedFd>>>();
    let sockets = sockets.map_err(|error| refused(&error))?;
    Listeners::inherit(config, sockets).map(Some).map_err(|error| refused(&error))
}

fn borrowed<'fd>(number: RawFd) -> std::os::fd::BorrowedFd<'fd> {
    // SAFETY: whatever it is, it is only asked whether it is open.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(number) }
}

fn start(inheritance: &str) -> io::Result<Child> {
    // This very program, also if its file was replaced or removed meanwhile.
    let mut server = Command::new("/proc/self/exe");
    let mut arguments = env::args_os();
    if let Some(name) = arguments.next() {
        server.arg0(name);
    }
    // A group of its own: a terminal's Ctrl-C comes to us alone, and from us to it, once. The server feeds the watchdog.
    server.args(arguments).env(LISTENERS, inheritance).env_remove("WATCHDOG_PID").process_group(0).spawn()
}

fn pass_on(server: &Child, signal: i32) {
    let signal = if signal == SIGINT { Signal::INT } else { Signal::TERM };
    if let Some(pid) = Pid::from_raw(server.id() as i32) {
        // If it has just ended, that is what it was to do.
        let _ = kill_process(pid, signal);
    }
}

/// As a shell says it.
fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(EXIT_SOFTWARE)
}
