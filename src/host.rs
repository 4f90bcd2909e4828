//! What this host allows, and what would be better: read in one place, judged in another.
//!
//! Reading touches the world and has no opinion; [`advice`] has the opinions and is tested with hosts that
//! do not exist. Nothing is changed but this process's own descriptor limit.

use crate::admin;
use crate::config::Config;
use std::io;

/// Descriptors a server needs besides its connections: listeners, rings, doorbells, files; for each core.
const RESERVED_PER_CORE: u64 = 16;
/// Those of no core, and the admin port's.
const RESERVED: u64 = 64 + admin::CONNECTIONS_MAX as u64;

/// A host is well set up for this many connections a process or more.
const CONNECTIONS_WISHED: u64 = 100_000;
const BACKLOG_WISHED: u64 = 4_096;

/// Memory over what outboxes may hold.
const OUTBOXES_MEMORY_FRACTION: u64 = 5;
/// However little memory there is.
const OUTBOXES_BYTES_LEAST: usize = 1 << 20;

/// The facts that matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// `uname -r`
    pub kernel: String,
    /// RLIMIT_NOFILE's hard limit, to which the soft one was raised.
    pub descriptors_max: u64,
    /// fs.nr_open, which bounds what RLIMIT_NOFILE can be.
    pub nr_open: Option<u64>,
    /// net.core.somaxconn
    pub backlog_max: Option<u64>,
    /// net.ipv4.tcp_max_syn_backlog
    pub syn_backlog_max: Option<u64>,
    /// Cores the server will use.
    pub cores: u64,
    /// CPUs the process may use.
    pub cpus: u64,
    /// Memory that the process may use, bytes: the machine's or its cgroup's.
    pub memory_bytes: u64,
}

/// Reads the facts, after raising this process's soft descriptor limit to the hard one.
pub fn read(cores: usize) -> io::Result<Host> {
    Ok(Host {
        kernel: sysctl("kernel/osrelease").unwrap_or_else(|| "unknown".to_owned()),
        descriptors_max: raise_descriptor_limit()?,
        nr_open: sysctl_number("fs/nr_open"),
        backlog_max: sysctl_number("net/core/somaxconn"),
        syn_backlog_max: sysctl_number("net/ipv4/tcp_max_syn_backlog"),
        cores: cores as u64,
        cpus: core_affinity::get_core_ids().map_or(1, |cpus| cpus.len() as u64),
        memory_bytes: memory_bytes(),
    })
}

/// The machine's memory, or what the process's cgroup leaves of it. Of the groups above its own, which may allow
/// less, nothing is asked.
fn memory_bytes() -> u64 {
    // SAFETY: no memory is involved.
    let (pages, page_bytes) =
        unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    let machine_bytes = pages.max(0) as u64 * page_bytes.max(0) as u64;
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let allowed = std::fs::read_to_string(format!("/sys/fs/cgroup{group}/memory.max")).unwrap_or_default();
    allowed.trim().parse().unwrap_or(u64::MAX).min(machine_bytes)
}

fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives the call, which fills it.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` outlives the call, which reads it.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_max)
}

fn sysctl(name: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/sys/{name}")).ok().map(|text| text.trim().to_owned())
}

/// RLIMIT_MEMLOCK, if there is one.
pub fn locked_memory_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Memlock).current
}

/// The process is under a seccomp filter.
pub fn is_filtered() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("Seccomp:")).is_some_and(|mode| mode.trim() != "0")
}

/// A number of the kernel's settings.
pub fn sysctl_number(name: &str) -> Option<u64> {
    sysctl(name)?.parse().ok()
}

impl Host {
    /// Connections that the descriptor limit allows.
    pub fn connections_by_descriptors(&self) -> u64 {
        self.descriptors_max.saturating_sub(RESERVED + RESERVED_PER_CORE * self.cores).max(1)
    }

    /// Descriptors that so many connections need.
    pub fn descriptors_for(&self, connections: u64) -> u64 {
        connections + RESERVED + RESERVED_PER_CORE * self.cores
    }

    /// The limit in force: as set, but no more than descriptors allow.
    pub fn connections_max(&self, config: &Config) -> usize {
        let by_descriptors = self.connections_by_descriptors() as usize;
        config.connections_max.map_or(by_descriptors, |set| set.min(by_descriptors))
    }

    /// What may be owed to those of a core's connections that are behind: all cores together a fifth of the memory.
    pub fn outboxes_bytes_max(&self, config: &Config) -> usize {
        let share = (self.memory_bytes / OUTBOXES_MEMORY_FRACTION / self.cores.max(1)) as usize;
        config.outboxes_bytes_max.unwrap_or(share.max(OUTBOXES_BYTES_LEAST))
    }
}

/// What should be changed on this host, each with the command that does it.
pub fn advice(host: &Host, config: &Config) -> Vec<String> {
    let mut advice = Vec::new();
    let allowed = host.connections_by_descriptors();
    let wished = config.connections_max.map_or(CONNECTIONS_WISHED, |set| set as u64);
    if allowed < wished {
        let limit = host.descriptors_for(wished);
        advice.push(format!(
            "RLIMIT_NOFILE {} allows {allowed} connections: `ulimit -Hn {limit}`, systemd: LimitNOFILE={limit}",
            host.descriptors_max
        ));
        if host.nr_open.is_some_and(|nr_open| nr_open < limit) {
            advice.push(format!("RLIMIT_NOFILE is capped by the kernel: `sysctl -w fs.nr_open={limit}`"));
        }
    }
    for (name, value) in
        [("net.core.somaxconn", host.backlog_max), ("net.ipv4.tcp_max_syn_backlog", host.syn_backlog_max)]
    {
        if let Some(value) = value.filter(|value| *value < BACKLOG_WISHED) {
            advice.push(format!(
                "{name} is {value}, too few for a storm of reconnects: `sysctl -w {name}=65535`"
            ));
        }
    }
    if host.cores > host.cpus {
        advice.push(format!(
            "{} shards share {} CPUs: `--cores {}` costs less for the same work",
            host.cores, host.cpus, host.cpus
        ));
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host {
            kernel: "6.18.0".to_owned(),
            descriptors_max: 1_048_576,
            nr_open: Some(1_048_576),
            backlog_max: Some(65_535),
            syn_backlog_max: Some(65_535),
            cores: 4,
            cpus: 4,
            memory_bytes: 40 << 30,
        }
    }

    #[test]
    fn all_outboxes_together_have_a_fifth_of_the_memory_unless_set() {
        assert_eq!(host().outboxes_bytes_max(&Config::default()), 2 << 30);
        let set = Config { outboxes_bytes_max: Some(70_000), ..Config::default() };
        assert_eq!(host().outboxes_bytes_max(&set), 70_000);
        assert!(read(2).unwrap().outboxes_bytes_max(&Config::default()) >= 1 << 20);
    }

    #[test]
    fn a_host_that_is_well_set_up_gets_no_advice() {
        assert_eq!(advice(&host(), &Config::default()), Vec::<String>::new());
    }

    #[test]
    fn each_shortcoming_is_a_line_with_its_remedy() {
        let poor = Host {
            descriptors_max: 1024,
            nr_open: Some(65_536),
            backlog_max: Some(128),
            syn_backlog_max: Some(512),
            cpus: 2,
            ..host()
        };
        expect_test::expect![[r"
            RLIMIT_NOFILE 1024 allows 832 connections: `ulimit -Hn 100192`, systemd: LimitNOFILE=100192
            RLIMIT_NOFILE is capped by the kernel: `sysctl -w fs.nr_open=100192`
            net.core.somaxconn is 128, too few for a storm of reconnects: `sysctl -w net.core.somaxconn=65535`
            net.ipv4.tcp_max_syn_backlog is 512, too few for a storm of reconnects: `sysctl -w net.ipv4.tcp_max_syn_backlog=65535`
            4 shards share 2 CPUs: `--cores 2` costs less for the same work"]]
        .assert_eq(&advice(&poor, &Config::default()).join("\n"));
    }

    #[test]
    fn the_limit_on_connections_is_the_set_one_unless_descriptors_allow_fewer() {
        let set = |max| Config { connections_max: max, ..Config::default() };
        assert_eq!(host().connections_max(&set(None)), 1_048_576 - 192);
        assert_eq!(host().connections_max(&set(Some(500))), 500);
        assert_eq!(Host { descriptors_max: 1024, ..host() }.connections_max(&set(Some(5000))), 832);
    }
}
