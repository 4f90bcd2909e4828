//! The server as a process.

#![allow(dead_code, reason = "each test crate uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::server::PATIENCE;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

/// A server in a process of its own, which ends with this.
pub struct Process {
    pub child: Child,
    pub banner: String,
    pub port: u16,
}

/// The command, with nothing in its environment.
pub fn downbeat() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_downbeat"));
    command.env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts it and waits for its banner, whose last line is about the host.
pub fn start(command: &mut Command) -> Process {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut banner = String::new();
    for line in &mut lines {
        let line = line.unwrap();
        banner += &format!("{line}\n");
        if line.starts_with("  host ") {
            break;
        }
    }
    let port = banner.lines().find_map(|line| line.strip_prefix("  port "));
    let port = port.unwrap_or_else(|| panic!("no port in {banner}")).split_whitespace().next().unwrap();
    Process { port: port.parse().unwrap(), child, banner }
}

impl Process {
    pub fn signal(&self, signal: Signal) {
        // The child has not been waited for, so the id is its own.
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
