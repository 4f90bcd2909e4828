//! Other servers to compare with: one TOML file each in bench/peers.

use crate::args::Profile;
use crate::exit::{Exit, Failure};
use crate::target;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where peers are described, from the repository's root.
const FOLDER: &str = "bench/peers";

#[derive(Clone, Debug, Deserialize)]
pub struct Peer {
    /// Name and version as tables print them.
    pub title: String,
    pub version: String,
    /// Installs it; quick if it is there.
    pub install: Vec<String>,
    /// Checks that it is known to fail, with what its upstream says or does.
    #[serde(default)]
    pub known: BTreeMap<String, String>,
    /// Commands by what they are to speak.
    pub apps: BTreeMap<String, Vec<String>>,
}

impl Peer {
    pub fn load(name: &str) -> Result<Peer, Failure> {
        let path = Path::new(FOLDER).join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&path).map_err(|_| {
            Failure::usage(format!(
                "{name}: not a ws:// URL, not a command with {{port}}, and no peer of {FOLDER} (loadgen peers list)"
            ))
        })?;
        toml::from_str(&text)
            .map_err(|error| Failure::usage(format!("{}: {}", path.display(), error.message())))
    }

    /// The command for a profile; installs the peer if it is not there.
    pub fn command(&self, profile: Profile) -> Result<Vec<String>, Failure> {
        let words = self
            .apps
            .get(profile.name())
            .ok_or_else(|| Failure::usage(format!("{} does not speak {}", self.title, profile.name())))?;
        if !self.is_installed() {
            eprintln!("installing {}", self.title);
            let (program, args) =
                self.install.split_first().ok_or_else(|| Failure::usage("a peer without `install`"))?;
            let status = Command::new(program).args(args).stdout(std::io::stderr()).status();
            if !status.is_ok_and(|status| status.success()) {
                let line = format!("{} could not be installed: {}", self.title, self.install.join(" "));
                return Err(Failure { exit: Exit::Fault, line });
            }
        }
        Ok(words.clone())
    }

    /// True if every file that its commands name exists.
    pub fn is_installed(&self) -> bool {
        let words = self.apps.values().flatten();
        words.filter(|word| word.contains('/')).all(|word| Path::new(word).exists())
    }
}

/// Prints all peers.
pub fn list() -> Result<(), Failure> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(FOLDER)
        .map_err(|error| Failure::usage(format!("{FOLDER}: {error} (run from the repository's root)")))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let peer = Peer::load(&name)?;
        let apps: Vec<&str> = peer.apps.keys().map(String::as_str).collect();
        let state = if peer.is_installed() { "installed" } else { "not installed" };
        println!("{name:<18} {:<28} {:<8} {state:<14} {}", peer.title, peer.version, apps.join(", "));
    }
    Ok(())
}

/// Starts a peer in the foreground.
pub fn start(name: &str, profile: Profile, port: u16) -> Result<(), Failure> {
    let peer = Peer::load(name)?;
    let words = peer.command(profile)?;
    let mut child = target::spawn(&words, port, &[]).map_err(Failure::fault)?;
    println!("{} speaks {} on ws://127.0.0.1:{port} as process {}", peer.title, profile.name(), child.id());
    let status = child.wait().map_err(Failure::fault)?;
    if status.success() {
        return Ok(());
    }
    Err(Failure { exit: Exit::Died, line: format!("{} ended: {status}", peer.title) })
}
