//! `downbeat check`: what a server needs of its host, what was found, and what to do about it.
//!
//! Looking touches the world and has no opinion; [`findings`] has the opinions and is tested with hosts that do not
//! exist. A start asks for the same and fails with the same lines ([`remedy`]), one each.

pub mod remedy;

use crate::admin;
use crate::backup::Store;
use crate::config::Config;
use crate::control;
use crate::driver;
use crate::host::{self, Host};
use crate::mesh::Mesh;
use crate::ring::Ring;
use crate::server::{self, Listeners};
use remedy::RingFacts;
use serde::Serialize;
use std::fmt::Write;
use std::io;
use std::time::Duration;

/// What was found, before anyone has an opinion of it.
#[derive(Debug)]
pub struct Facts {
    /// The host.
    pub host: Host,
    /// How making a ring went.
    pub ring: RingFacts,
    /// Why the port cannot be had, if it cannot.
    pub port: Option<String>,
    /// Where the admin port is, or why it cannot be as it was set.
    pub admin: Result<String, String>,
    /// Why the folder for rooms cannot be used, if it cannot.
    pub folder: Option<String>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name.
    pub check: &'static str,
    /// Nothing has to be done.
    pub ok: bool,
    /// What was found; if it is not as needed, what to do.
    pub line: String,
}

/// Looks. The port and the folder are taken for a moment.
pub fn look(config: &Config) -> io::Result<Facts> {
    let host = host::read(config.cores)?;
    Ok(Facts {
        host,
        ring: RingFacts::read(try_rings(config).err()),
        port: Listeners::bind(config).err().map(|error| error.to_string()),
        admin: admin::listen(&config.admin, Duration::ZERO)
            .map(|port| port.to_string())
            .map_err(|error| error.to_string()),
        folder: Store::open(&config.backup).err().map(|error| error.to_string()),
    })
}

/// Makes the rings of all shards and of their executors as a start does, and lets them go.
fn try_rings(config: &Config) -> io::Result<()> {
    let (meshes, _) = Mesh::new(config.cores as u16, 1)?;
    let mut executors = vec![server::executor("control", control::RING_ENTRIES).make()?];
    let mut rings = Vec::new();
    for mesh in &meshes {
        executors.push(server::executor("shard", server::EXECUTOR_RING_ENTRIES).make()?);
        rings.push(Ring::new(&config.ring, mesh.doorbell().listen()?, driver::doorbell_tag())?);
    }
    Ok(())
}

/// What is to be thought of it, in the order in which a start would fail.
pub fn findings(facts: &Facts, config: &Config) -> Vec<Finding> {
    let finding = |check, fault: Option<String>, fine: String| Finding {
        check,
        ok: fault.is_none(),
        line: fault.unwrap_or(fine),
    };
    let host = &facts.host;
    let port = if config.port == 0 { "any free one".to_owned() } else { format!("{} is free", config.port) };
    let folder = match config.backup.paths() {
        Some((folder, _)) => format!("rooms are kept in {}", folder.display()),
        None => "rooms are not kept; BACKUP_DIR names a folder for them".to_owned(),
    };
    let memory =
        facts.ring.memlock_bytes.map_or("no limit".to_owned(), |bytes| format!("{} KiB", bytes / 1024));
    vec![
        finding("kernel", remedy::kernel(&host.kernel), format!("Linux {}", host.kernel)),
        finding("io_uring", remedy::ring(&facts.ring), "has all that is used".to_owned()),
        finding(
            "locked memory",
            remedy::locked_memory(facts.ring.memlock_bytes),
            format!("RLIMIT_MEMLOCK {memory}"),
        ),
        finding(
            "descriptors",
            remedy::descriptors(host, config),
            format!(
                "RLIMIT_NOFILE {} allows {} connections",
                host.descriptors_max,
                host.connections_max(config)
            ),
        ),
        finding("port", facts.port.clone(), port),
        finding("admin port", facts.admin.clone().err(), facts.admin.clone().unwrap_or_default()),
        finding("folder", facts.folder.clone(), folder),
    ]
}

/// All of it for people, with what would be better on this host behind it.
pub fn text(findings: &[Finding], advice: &[String]) -> String {
    let mut text = String::new();
    for Finding { check, ok, line } in findings {
        let verdict = if *ok { "ok" } else { "FAIL" };
        let _ = writeln!(text, "{verdict:<5} {check:<14} {line}");
    }
    for line in advice {
        let _ = writeln!(text, "hint  {:<14} {line}", "host");
    }
    text
}

/// The same as JSON.
pub fn json(findings: &[Finding], advice: &[String]) -> String {
    let is_fine = findings.iter().all(|finding| finding.ok);
    let all = serde_json::json!({ "ok": is_fine, "checks": findings, "hints": advice });
    format!("{all:#}\n")
}

#[cfg(test)]
mod tests;
