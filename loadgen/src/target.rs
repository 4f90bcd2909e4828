//! What is measured: a URL, a peer by its name, or a command that is started on a free port.

use crate::args::Profile;
use crate::exit::{Exit, Failure};
use crate::peers::Peer;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that is not up after this has failed.
const STARTUP_MAX: Duration = Duration::from_secs(15);
/// Between two looks at a server that is starting.
const LOOK_EVERY: Duration = Duration::from_micros(200);

#[derive(Clone, Debug)]
pub enum Target {
    Url(String),
    Command { title: String, words: Vec<String>, known: BTreeMap<String, String> },
}

impl Target {
    pub fn parse(text: &str, profile: Profile) -> Result<Target, Failure> {
        if text.contains("://") {
            return Ok(Target::Url(text.to_owned()));
        }
        if text.contains("{port}") {
            // TITLE=command gives it a name to print.
            let titled = text.split_once('=').filter(|(title, _)| !title.contains([' ', '/', '{']));
            let (title, command) = titled.unwrap_or((text, text));
            let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            return Ok(Target::Command { title: title.to_owned(), words, known: BTreeMap::new() });
        }
        let peer = Peer::load(text)?;
        let words = peer.command(profile)?;
        Ok(Target::Command { title: peer.title, words, known: peer.known })
    }

    pub fn title(&self) -> &str {
        match self {
            Target::Url(url) => url,
            Target::Command { title, .. } => title,
        }
    }

    /// Why a check is known to fail here, if it is.
    pub fn known(&self, check: &str) -> Option<&str> {
        match self {
            Target::Url(_) => None,
            Target::Command { known, .. } => known.get(check).map(String::as_str),
        }
    }

    /// Starts it if it is a command; `cpus` are those it may use, all if empty.
    pub fn start(&self, cpus: &[usize]) -> Result<Started, Failure> {
        match self {
            Target::Url(url) => Ok(Started { url: url.clone(), child: None }),
            Target::Command { words, title, .. } => {
                let port = free_port().map_err(Failure::fault)?;
                let mut child = spawn(words, port, cpus)
                    .map_err(|error| Failure { exit: Exit::Refused, line: format!("{title}: {error}") })?;
                await_port(&mut child, port)
                    .map_err(|line| Failure { exit: Exit::Refused, line: format!("{title}: {line}") })?;
                Ok(Started { url: format!("ws://127.0.0.1:{port}"), child: Some(child) })
            }
        }
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Starts a server's command. It ends with its parent.
pub fn spawn(words: &[String], port: u16, cpus: &[usize]) -> std::io::Result<Child> {
    let port = port.to_string();
    let mut words = words.iter().map(|word| word.replace("{port}", &port));
    let program = words.next().ok_or_else(|| std::io::Error::other("no command"))?;
    let mut command = Command::new(&program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut set: libc::cpu_set_t = unsafe_zeroed_cpu_set();
    for cpu in cpus {
        // SAFETY: `set` is a whole cpu_set_t; the macro checks the bound.
        unsafe { libc::CPU_SET(*cpu, &mut set) };
    }
    let is_pinned = !cpus.is_empty();
    // SAFETY: only system calls that are safe between fork and exec. Must not outlive its parent: a run that
    // is killed would leave servers behind.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            if is_pinned && libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    command.spawn()
}

fn unsafe_zeroed_cpu_set() -> libc::cpu_set_t {
    // SAFETY: a cpu_set_t is an array of integers, for which zero is the empty set.
    unsafe { std::mem::zeroed() }
}

/// Waits until a server listens.
pub fn await_port(child: &mut Child, port: u16) -> Result<(), String> {
    let start = Instant::now();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    loop {
        if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
            return Ok(());
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("ended before it listened ({status})"));
        }
        if start.elapsed() > STARTUP_MAX {
            return Err("did not listen within 15 s".to_owned());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A running server; if it was started here it ends with this.
pub struct Started {
    pub url: String,
    child: Option<Child>,
}

impl Started {
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        // SAFETY: no memory is involved; the child is ours and not yet waited for, so its id is its own.
        unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(3) {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}
