//! Boot and stop: binds, starts one pinned executor per shard, and ends them.
//!
//! Everything that can fail for the operator's reasons fails here, before the first connection, with one
//! line that says the remedy. The shards themselves are in [`crate::turn`].

use crate::admission::Admission;
use crate::clock::Clock;
use crate::config::Config;
use crate::demo;
use crate::driver::{self, Driver};
use crate::listener;
use crate::mesh::{Doorbell, Mesh};
use crate::published::{Figures, Published};
use crate::ring::Ring;
use crate::turn::{Command, Core};
use crossbeam_channel::{Receiver, Sender, bounded};
use engine::{CoreId, Seed, Settings, Shard};
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Locked memory of one executor's own rings, which a shard hardly uses.
const EXECUTOR_IO_MEMORY_BYTES: usize = 64 * 1024;
/// Entries of one executor's own rings.
const EXECUTOR_RING_ENTRIES: usize = 8;

/// A server that listens.
pub struct Running {
    port: u16,
    core_ports: Vec<u16>,
    shards: Vec<RunningShard>,
    doorbells: Arc<[Doorbell]>,
}

struct RunningShard {
    commands: Sender<Command>,
    published: Arc<Published>,
    executor: ExecutorJoinHandle<ShardEnd>,
}

/// What a shard tells the control core without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It has ended, for whatever reason.
    Ended,
    /// Accepts fail for want of descriptors or memory.
    AcceptsFail,
}

/// How a notice leaves a shard's thread; it must not block.
pub type Notify = Arc<dyn Fn(Notice) + Send + Sync>;

/// How a shard ended.
type ShardEnd = Result<(), String>;

/// Why a server did not start: one line for the operator.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// All that a shard's thread is given.
struct Plan {
    config: Config,
    settings: Settings,
    cpu: core_affinity::CoreId,
    clock: Clock,
    listeners: Vec<OwnedFd>,
    admission: Admission,
    mesh: Mesh,
    commands: Receiver<Command>,
    published: Arc<Published>,
    started: Sender<io::Result<()>>,
    notify: Notify,
}

/// Starts a server; it listens when this returns. `notify` is called on a shard's thread when the shard ends,
/// for whatever reason.
pub fn start(config: &Config, connections_max: usize, notify: &Notify) -> Result<Running, StartError> {
    let cores = config.cores;
    let (listeners, port) = listen(config, config.port, cores)?;
    let mut listeners: Vec<Vec<OwnedFd>> = listeners.into_iter().map(|listener| vec![listener]).collect();
    let core_ports = listen_per_core(config, port, &mut listeners)?;
    let (meshes, doorbells) = Mesh::new(cores as u16, config.ring.batches_per_link)
        .map_err(|error| StartError(format!("cannot make the mesh's doorbells: {error}")))?;
    let clock = Clock::start();
    let seed = draw_seed()?;
    let admission = Admission::new(connections_max, config.address_connections_max, seed);
    let cpus = cpus()?;
    let (started, starts) = bounded(cores);
    let mut shards = Vec::new();
    for (core, (listeners, mesh)) in listeners.into_iter().zip(meshes).enumerate() {
        let (commands, command_receiver) = bounded(4);
        let published = Arc::new(Published::default());
        let plan = Plan {
            config: config.clone(),
            settings: Settings {
                core: CoreId(core as u16),
                cores: cores as u16,
                app: config.app,
                authz: config.authz,
                limits: config.limits.clone(),
                seed,
                page: config.has_demo().then(demo::page),
            },
            // More shards than CPUs wrap around.
            cpu: cpus[core % cpus.len()],
            clock,
            listeners,
            admission: admission.clone(),
            mesh,
            commands: command_receiver,
            published: Arc::clone(&published),
            started: started.clone(),
            notify: Arc::clone(notify),
        };
        // The thread pins itself: the executor's own pinning reads the whole CPU topology several times,
        // which is most of the time that a start takes.
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .name(&format!("shard-{core}"))
            .io_memory(EXECUTOR_IO_MEMORY_BYTES)
            .ring_depth(EXECUTOR_RING_ENTRIES)
            .spawn(move || async move { run_shard(plan) })
            .map_err(|error| StartError(format!("cannot start the executor of core {core}: {error}")))?;
        shards.push(RunningShard { commands, published, executor });
    }
    drop(started);
    let running = Running { port, core_ports, shards, doorbells };
    for _ in 0..cores {
        let start = starts.recv().unwrap_or_else(|_| Err(io::Error::other("its executor ended")));
        if let Err(error) = start {
            running.stop();
            return Err(StartError(ring_refused(&error)));
        }
    }
    Ok(running)
}

impl Running {
    /// The port of all cores.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// With `port_per_core`: each core's own port.
    pub fn core_ports(&self) -> &[u16] {
        &self.core_ports
    }

    /// Each shard's newest figures.
    pub fn figures(&self) -> Vec<Figures> {
        self.shards.iter().map(|shard| shard.published.figures()).collect()
    }

    /// Asks every shard to close its connections with 1001 and end.
    pub fn drain(&self) {
        for (shard, doorbell) in self.shards.iter().zip(self.doorbells.iter()) {
            // A shard that has ended, or has been told before, needs no telling.
            let _ = shard.commands.try_send(Command::Drain);
            doorbell.ring();
        }
    }

    /// Drains and waits for the shards' end; what went wrong with them, if anything did.
    pub fn stop(self) -> Vec<String> {
        self.drain();
        let ends = self.shards.into_iter().enumerate().map(|(core, shard)| {
            let end = shard.executor.join().map_err(|error| error.to_string()).and_then(|end| end);
            end.map_err(|fault| format!("shard {core}: {fault}"))
        });
        ends.filter_map(Result::err).collect()
    }
}

/// The whole life of a shard, on its own thread.
fn run_shard(plan: Plan) -> ShardEnd {
    let Plan {
        config,
        settings,
        cpu,
        clock,
        listeners,
        admission,
        mesh,
        commands,
        published,
        started,
        notify,
    } = plan;
    // Whatever happens below, the control core hears of the end.
    let _ended = OnDrop(Arc::clone(&notify));
    let life = || {
        if !core_affinity::set_for_current(cpu) {
            let _ = started.send(Err(io::Error::other(format!("CPU {} cannot be pinned to", cpu.id))));
            return Ok(());
        }
        let ring = mesh
            .doorbell()
            .listen()
            .and_then(|doorbell| Ring::new(&config.ring, doorbell, driver::doorbell_tag()));
        let ring = match ring {
            Ok(ring) => ring,
            Err(error) => {
                let _ = started.send(Err(error));
                return Ok(());
            }
        };
        let driver = Driver::new(Shard::new(settings), clock, listeners, admission);
        let mut core = Core::new(ring, driver, mesh, commands, published, notify);
        let _ = started.send(Ok(()));
        core.run()
    };
    match catch_unwind(AssertUnwindSafe(life)) {
        Ok(result) => result.map_err(|error| format!("its ring failed: {error}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("panicked: {}", text.unwrap_or("no message")))
        }
    }
}

struct OnDrop(Notify);

impl Drop for OnDrop {
    fn drop(&mut self) {
        (self.0)(Notice::Ended);
    }
}

fn listen(config: &Config, port: u16, count: usize) -> Result<(Vec<OwnedFd>, u16), StartError> {
    listener::listen(config.host, port, count, config.tcp).map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another process listens there; stop it or choose another with --port"
            }
            io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE",
            io::ErrorKind::AddrNotAvailable => "this host does not have that address; see --host",
            _ => "see --port and --host",
        };
        StartError(format!("cannot listen on port {port}: {error}; {remedy}"))
    })
}

/// With `port_per_core`, core i listens on port + i too; core 0 has the common port.
fn listen_per_core(
    config: &Config,
    port: u16,
    listeners: &mut [Vec<OwnedFd>],
) -> Result<Vec<u16>, StartError> {
    if !config.port_per_core {
        return Ok(Vec::new());
    }
    let mut ports = vec![port];
    for (core, own) in listeners.iter_mut().enumerate().skip(1) {
        // Beside a port that the kernel chose, the next ones may be taken: the kernel chooses them too.
        let wanted = if config.port == 0 { 0 } else { port.checked_add(core as u16).unwrap_or(0) };
        if wanted == 0 && config.port != 0 {
            return Err(StartError(format!("port {port} + {core} is past 65535; choose a lower --port")));
        }
        let (sockets, bound) = listen(config, wanted, 1)?;
        own.extend(sockets);
        ports.push(bound);
    }
    Ok(ports)
}

fn draw_seed() -> Result<Seed, StartError> {
    let refused = |error| StartError(format!("cannot draw the key of the hashes: {error}"));
    Ok(Seed(getrandom::u64().map_err(refused)?, getrandom::u64().map_err(refused)?))
}

/// The CPUs this process may use.
fn cpus() -> Result<Vec<core_affinity::CoreId>, StartError> {
    let cpus = core_affinity::get_core_ids().unwrap_or_default();
    if cpus.is_empty() {
        return Err(StartError("cannot read which CPUs this process may use".to_owned()));
    }
    Ok(cpus)
}

fn ring_refused(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::Unsupported {
        return format!("cannot set up io_uring: {error}");
    }
    let remedy = match error.raw_os_error() {
        Some(libc::EPERM) => {
            "io_uring is blocked: by kernel.io_uring_disabled (sysctl), or by the container's \
            seccomp profile"
        }
        Some(libc::ENOSYS) => "this kernel has no io_uring; 6.1 is the oldest that will do",
        Some(libc::EINVAL) => "this kernel's io_uring lacks a feature; 6.1 is the oldest that will do",
        Some(libc::ENOMEM) => "raise RLIMIT_MEMLOCK (systemd: LimitMEMLOCK=) or lower --buffers",
        _ => "see the kernel's log",
    };
    format!("cannot set up io_uring: {error}; {remedy}")
}
