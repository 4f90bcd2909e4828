//! What is wrong with a host, each as one line that says what to do about it.

use crate::config::Config;
use crate::host::{self, Host};
use std::io;

/// The oldest kernel that has all flags of `src/ring.rs`.
const KERNEL_MIN: (u32, u32) = (6, 1);

/// What an executor refuses to begin with less of, whoever it runs as (glommio, `sys/uring.rs`).
const LOCKED_BYTES_MIN: u64 = 512 * 1024;

/// How making a ring went, and what may be the reason.
#[derive(Clone, Debug, Default)]
pub struct RingFacts {
    /// What the kernel said, if it refused.
    pub errno: Option<i32>,
    /// Why it cannot be had, if that is known already.
    pub unsupported: Option<String>,
    /// kernel.io_uring_disabled
    pub disabled: Option<u64>,
    /// The process is under a seccomp filter.
    pub is_filtered: bool,
    /// RLIMIT_MEMLOCK, if there is one.
    pub memlock_bytes: Option<u64>,
}

impl RingFacts {
    /// Looks for what may have led to it.
    pub fn read(error: Option<io::Error>) -> RingFacts {
        let unsupported = error.as_ref().filter(|error| error.kind() == io::ErrorKind::Unsupported);
        RingFacts {
            unsupported: unsupported.map(ToString::to_string),
            // What has no number is no fault of the kernel's, and none that a remedy is known for.
            errno: error.map(|error| error.raw_os_error().unwrap_or(libc::EIO)),
            disabled: host::sysctl_number("kernel/io_uring_disabled"),
            is_filtered: host::is_filtered(),
            memlock_bytes: host::locked_memory_max(),
        }
    }

    /// What may have ended an executor before it had a ring of ours: its own rings failed. They lock memory, which ours
    /// hardly do.
    pub fn of_executor(config: &Config) -> RingFacts {
        let error = super::try_rings(config).err();
        RingFacts::read(Some(error.unwrap_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))))
    }
}

/// The kernel is too old.
pub fn kernel(release: &str) -> Option<String> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else { return None };
    let (oldest_major, oldest_minor) = KERNEL_MIN;
    ((major, minor) < KERNEL_MIN).then(|| {
        format!("Linux {release} is too old; {oldest_major}.{oldest_minor} is the oldest that will do")
    })
}

/// RLIMIT_MEMLOCK is too little for any start, also of who is not bound by it.
pub fn locked_memory(allowed_bytes: Option<u64>) -> Option<String> {
    allowed_bytes.filter(|bytes| *bytes < LOCKED_BYTES_MIN).map(|bytes| {
        format!(
            "RLIMIT_MEMLOCK ({} KiB) is too little, {} KiB are the least, for root too; systemd: LimitMEMLOCK=infinity",
            bytes / 1024,
            LOCKED_BYTES_MIN / 1024
        )
    })
}

/// A ring cannot be had.
pub fn ring(facts: &RingFacts) -> Option<String> {
    let errno = facts.errno?;
    if let Some(line) = &facts.unsupported {
        return Some(line.clone());
    }
    Some(match (errno, facts.disabled) {
        (libc::EPERM, Some(2)) => {
            "io_uring is disabled by kernel.io_uring_disabled=2; run `sysctl -w kernel.io_uring_disabled=0`".to_owned()
        }
        (libc::EPERM, Some(1)) => {
            "io_uring is left to some users by kernel.io_uring_disabled=1; run `sysctl -w \
            kernel.io_uring_disabled=0`, or set kernel.io_uring_group to a group of this user"
                .to_owned()
        }
        (libc::EPERM | libc::EACCES, _) if facts.is_filtered => {
            "io_uring is blocked by the container's seccomp profile; run with --security-opt \
            seccomp=deploy/seccomp.json"
                .to_owned()
        }
        (libc::EPERM | libc::EACCES, _) => {
            "io_uring is blocked by a security policy of this host (SELinux, AppArmor); allow it for this user".to_owned()
        }
        (libc::ENOSYS, _) if facts.is_filtered => {
            "io_uring is hidden by the container's seccomp profile; run with --security-opt \
            seccomp=deploy/seccomp.json"
                .to_owned()
        }
        (libc::ENOSYS, _) => {
            "this kernel was built without io_uring; 6.1 with CONFIG_IO_URING is the oldest that will do".to_owned()
        }
        (libc::EINVAL, _) => {
            "this kernel's io_uring lacks a feature; 6.1 is the oldest that will do".to_owned()
        }
        (libc::ENOMEM, _) => {
            let allowed = facts.memlock_bytes.map_or("no limit".to_owned(), |bytes| format!("{} KiB", bytes / 1024));
            format!(
                "RLIMIT_MEMLOCK ({allowed}) is too little for the rings; systemd: LimitMEMLOCK=infinity, or lower \
                --buffers and --cores"
            )
        }
        (errno, _) => {
            let error = io::Error::from_raw_os_error(errno);
            format!("cannot set up io_uring: {error}; see the kernel's log")
        }
    })
}

/// Descriptors do not suffice for what is asked.
pub fn descriptors(host: &Host, config: &Config) -> Option<String> {
    let allowed = host.connections_by_descriptors();
    let wished = config.connections_max.unwrap_or(1) as u64;
    (allowed < wished || allowed <= 1).then(|| {
        format!(
            "RLIMIT_NOFILE {} allows about {allowed} connections, {wished} are asked for; systemd: LimitNOFILE={}",
            host.descriptors_max,
            host.descriptors_for(wished)
        )
    })
}

/// A port cannot be listened on.
pub fn listen(port: u16, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("port {port} is taken by another process; stop it or choose another with --port")
        }
        io::ErrorKind::PermissionDenied => {
            format!(
                "port {port} is for privileged processes; choose one from 1024 on with --port, or give \
                CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=)"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            "this host does not have the address to listen on; see --host".to_owned()
        }
        _ => format!("cannot listen on port {port}: {error}; see --port and --host"),
    }
}
