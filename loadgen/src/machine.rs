//! What /proc tells: CPU time of processes and of the machine, memory, limits, what machine this is.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;

/// Nanoseconds on a CPU from a schedstat file.
pub fn schedstat_ns(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

/// CPU time of each thread of a process, ns by thread id; `None` if the process is gone.
pub fn threads_cpu_ns(pid: u32) -> Option<BTreeMap<u32, u64>> {
    let mut threads = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A thread may end between the listing and the reading.
        if let Some(cpu_ns) = schedstat_ns(&format!("/proc/{pid}/task/{id}/schedstat")) {
            threads.insert(id, cpu_ns);
        }
    }
    (!threads.is_empty()).then_some(threads)
}

/// CPU time of every thread that can be seen but those of some processes, ns: the machine's work to the
/// nanosecond, where /proc/stat counts ticks and misses what is short.
pub fn all_threads_cpu_ns(but: &[u32]) -> BTreeMap<(u32, u32), u64> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pids = pids.filter(|pid| !but.contains(pid));
    let threads = pids.flat_map(|pid| {
        let threads = threads_cpu_ns(pid).unwrap_or_default();
        threads.into_iter().map(move |(thread, cpu_ns)| ((pid, thread), cpu_ns))
    });
    threads.collect()
}

/// What threads used between two readings; those that came in between count whole.
pub fn used_ns<K: Ord>(before: &BTreeMap<K, u64>, after: &BTreeMap<K, u64>) -> u64 {
    after.iter().map(|(thread, ns)| ns.saturating_sub(before.get(thread).copied().unwrap_or(0))).sum()
}

/// A process and its children: servers may be started through a wrapper, and some run several processes.
pub fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut next = 0;
    while next < family.len() {
        let parent = family[next];
        next += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|it| it.parse::<u32>().ok()));
        }
    }
    family
}

/// A line `name: value` of /proc/PID/status, in KiB or as a number.
pub fn status(pid: u32, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    value_of(&text, name)
}

fn value_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(1)?.split_whitespace().next()?.parse().ok()
}

/// How often all threads of a process went to sleep by themselves.
pub fn voluntary_switches(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let statuses =
        tasks.flatten().map(|task| fs::read_to_string(task.path().join("status")).unwrap_or_default());
    statuses.filter_map(|text| value_of(&text, "voluntary_ctxt_switches")).sum()
}

/// Resident bytes of processes.
pub fn rss_bytes(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| status(*pid, "VmRSS")).sum::<u64>() * 1024
}

/// Open descriptors of processes.
pub fn open_descriptors(pids: &[u32]) -> usize {
    pids.iter().map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)).sum()
}

/// CPU time of the whole machine since boot, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineCpu {
    /// All but idle, waiting and stolen.
    pub busy_ns: u64,
    pub stolen_ns: u64,
    /// All of it.
    pub total_ns: u64,
}

impl MachineCpu {
    pub fn read() -> MachineCpu {
        // SAFETY: no memory is involved.
        let ticks_per_s = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
        MachineCpu::parse(&fs::read_to_string("/proc/stat").unwrap_or_default(), 1_000_000_000 / ticks_per_s)
    }

    fn parse(stat: &str, tick_ns: u64) -> MachineCpu {
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|it| it.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal; guests are counted in user already.
        let [user, nice, system, idle, iowait, irq, softirq, steal] =
            std::array::from_fn(|i| ticks.get(i).copied().unwrap_or(0));
        let busy = user + nice + system + irq + softirq;
        MachineCpu {
            busy_ns: busy * tick_ns,
            stolen_ns: steal * tick_ns,
            total_ns: (busy + idle + iowait + steal) * tick_ns,
        }
    }

    pub fn since(&self, before: &MachineCpu) -> MachineCpu {
        MachineCpu {
            busy_ns: self.busy_ns.saturating_sub(before.busy_ns),
            stolen_ns: self.stolen_ns.saturating_sub(before.stolen_ns),
            total_ns: self.total_ns.saturating_sub(before.total_ns),
        }
    }
}

/// Kernel memory that grows with sockets, bytes, of the whole machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelMemory {
    pub slab: u64,
    /// Pages of socket buffers, from sockstat.
    pub tcp_buffers: u64,
}

impl KernelMemory {
    pub fn read() -> KernelMemory {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let sockstat = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
        let tcp = sockstat.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
        let pages = tcp.split_whitespace().skip_while(|it| *it != "mem").nth(1);
        let pages: u64 = pages.and_then(|it| it.parse().ok()).unwrap_or(0);
        KernelMemory {
            slab: value_of(&meminfo, "Slab").unwrap_or(0) * 1024,
            tcp_buffers: pages * page_bytes(),
        }
    }
}

fn page_bytes() -> u64 {
    // SAFETY: no memory is involved.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(4096) as u64
}

/// What machine this is, for whoever reads a result later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    pub cpu: String,
    pub cpus: usize,
    pub memory_bytes: u64,
    pub kernel: String,
    pub descriptors_max: u64,
}

impl Host {
    pub fn read() -> Host {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Host {
            cpu: model.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown").to_owned(),
            cpus: core_affinity::get_core_ids().map_or(1, |ids| ids.len()),
            memory_bytes: value_of(&meminfo, "MemTotal").unwrap_or(0) * 1024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            descriptors_max: descriptors().1,
        }
    }
}

/// Soft and hard limit on descriptors.
pub fn descriptors() -> (u64, u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives the call.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    (limit.rlim_cur, limit.rlim_max)
}

/// Raises the soft limit on descriptors to the hard one.
pub fn raise_descriptors() {
    let (soft, hard) = descriptors();
    if soft < hard {
        let limit = libc::rlimit { rlim_cur: hard, rlim_max: hard };
        // SAFETY: `limit` outlives the call. If it is refused, what fits is what the limit says.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
}

/// A sysctl by its path under /proc/sys.
pub fn sysctl(path: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/{path}")).ok().map(|text| text.trim().replace('\t', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_time_is_busy_idle_or_stolen() {
        let stat = "cpu  100 1 50 800 20 3 6 20 99 0\ncpu0 1 1 1 1\n";
        let cpu = MachineCpu::parse(stat, 10);
        assert_eq!(cpu, MachineCpu { busy_ns: 1600, stolen_ns: 200, total_ns: 10_000 });
    }

    #[test]
    fn a_process_has_threads_memory_and_itself_as_family() {
        let pid = std::process::id();
        assert!(threads_cpu_ns(pid).unwrap().values().sum::<u64>() > 0);
        assert!(rss_bytes(&[pid]) > 100_000);
        assert_eq!(family(pid)[0], pid);
        assert_eq!(threads_cpu_ns(u32::MAX), None);
    }
}
