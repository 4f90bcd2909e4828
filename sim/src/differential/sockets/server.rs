//! A server as its own process, on a free loopback port, for as long as it is held.

use crate::model::Authz;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running server.
pub struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts one. The error says what it said instead of its port.
    pub fn start(binary: &Path, cores: u16, authz: Authz) -> Result<Server, String> {
        let authz = match authz {
            Authz::Member => "member",
            Authz::Host => "host",
            Authz::Off => "off",
        };
        let cores = cores.to_string();
        let mut child = Command::new(binary)
            .args(["--host", "127.0.0.1", "--port", "0", "--cores", &cores, "--authz", authz])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        let banner = child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines);
        let mut said = String::new();
        for line in banner.map_while(Result::ok) {
            let port = line.trim().strip_prefix("port ").map(str::trim_start);
            if let Some(port) = port.and_then(|rest| rest.split(' ').next()?.parse().ok()) {
                return Ok(Server { child, port });
            }
            said += &line;
        }
        Err(format!("{} has named no port: {said}", binary.display()))
    }

    /// Where it listens, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// An error if it has ended by itself.
    pub fn check_running(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("the server has ended: {status}")),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended; nobody waits for what it has to say.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
