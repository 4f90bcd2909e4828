//! Boot and stop: binds, starts one pinned executor per shard, and ends them.
//!
//! Everything that can fail for the operator's reasons fails here, before the first connection, with one
//! line that says the remedy. A shard's life, and the next one after a fault, is in [`crate::life`].

use crate::admission::Admission;
use crate::backup::Restored;
use crate::check::remedy::{self, RingFacts};
use crate::clock::Clock;
use crate::config::Config;
use crate::demo;
use crate::life::{self, Plan, ShardEnd};
use crate::listener;
use crate::mesh::{Doorbell, Mesh};
use crate::published::{Figures, Published};
use crate::start_error::StartError;
use crate::turn::{Command, Station};
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use engine::snapshot::Slice;
use engine::{CoreId, Seed, Settings};
use futures_channel::oneshot;
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// Locked memory of one executor's own rings, which hardly anything uses.
const EXECUTOR_IO_MEMORY_BYTES: usize = 64 * 1024;
/// Entries of one shard's executor's own rings.
pub const EXECUTOR_RING_ENTRIES: usize = 8;

/// Commands that wait for one shard: a stop, a drain, rooms to keep, and two questions at most (`src/admin/ask.rs`).
const COMMANDS_MAX: usize = 16;

/// A server that listens.
pub struct Running {
    port: u16,
    core_ports: Vec<u16>,
    shards: Vec<RunningShard>,
    doorbells: Arc<[Doorbell]>,
}

struct RunningShard {
    cpu: usize,
    commands: Sender<Command>,
    published: Arc<Published>,
    executor: ExecutorJoinHandle<ShardEnd>,
}

/// Time in which a shard must have started.
const START_TIME: Duration = Duration::from_secs(10);
/// A shard as other threads reach it.
#[derive(Clone)]
pub struct ShardHandle {
    /// The CPU that it is pinned to.
    pub cpu: usize,
    core: usize,
    commands: Sender<Command>,
    published: Arc<Published>,
    doorbells: Arc<[Doorbell]>,
}

impl ShardHandle {
    /// A shard that nobody turns, and where what it is told ends.
    #[cfg(test)]
    pub fn deaf() -> (ShardHandle, crossbeam_channel::Receiver<Command>) {
        let (_, doorbells) = Mesh::new(1, 1).expect("a doorbell can be made");
        let (commands, receiver) = bounded(COMMANDS_MAX);
        (ShardHandle { cpu: 0, core: 0, commands, published: Arc::default(), doorbells }, receiver)
    }

    /// Says something to it and wakes it; false if it has ended, or is behind with what it was told before.
    pub fn say(&self, command: Command) -> bool {
        let is_sent = self.commands.try_send(command).is_ok();
        self.doorbells[self.core].ring();
        is_sent
    }

    /// Its newest figures.
    pub fn figures(&self) -> Figures {
        self.published.figures()
    }
}

/// What a shard tells the control core without being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It has ended, for whatever reason.
    Ended,
    /// Accepts fail for want of descriptors or memory.
    AcceptsFail,
    /// It has failed and begun anew.
    Respawned {
        /// Which.
        core: CoreId,
        /// What went wrong.
        fault: String,
        /// Rooms that it has again.
        rooms: u64,
    },
}

/// How a notice leaves a shard's thread; it must not block.
pub type Notify = Arc<dyn Fn(Notice) + Send + Sync>;

/// A server's sockets, before anyone accepts on them.
pub struct Listeners {
    /// The port of all cores.
    port: u16,
    /// With `port_per_core`: each core's own.
    core_ports: Vec<u16>,
    /// By core.
    sockets: Vec<Vec<OwnedFd>>,
}

impl Listeners {
    /// Binds and listens.
    pub fn bind(config: &Config) -> Result<Listeners, StartError> {
        let (sockets, port) = listen(config, config.port, config.cores)?;
        let mut sockets: Vec<Vec<OwnedFd>> = sockets.into_iter().map(|listener| vec![listener]).collect();
        let core_ports = listen_per_core(config, port, &mut sockets)?;
        Ok(Listeners { port, core_ports, sockets })
    }

    /// Those that a supervisor holds, in the order of [`Listeners::sockets`].
    pub fn inherit(config: &Config, sockets: Vec<OwnedFd>) -> io::Result<Listeners> {
        let ports = sockets.iter().map(listener::port).collect::<io::Result<Vec<u16>>>()?;
        let mut by_core: Vec<Vec<OwnedFd>> = (0..config.cores).map(|_| Vec::new()).collect();
        let mut core_ports = Vec::new();
        for (place, (socket, port)) in sockets.into_iter().zip(&ports).enumerate() {
            by_core[place % config.cores].push(socket);
            if config.port_per_core && (place == 0 || place >= config.cores) {
                core_ports.push(*port);
            }
        }
        let port = ports.first().copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(Listeners { port, core_ports, sockets: by_core })
    }

    /// All of them: each core's on the common port, then each core's own.
    pub fn sockets(&self) -> impl Iterator<Item = &OwnedFd> {
        let common = self.sockets.iter().filter_map(|own| own.first());
        common.chain(self.sockets.iter().flat_map(|own| own.iter().skip(1)))
    }
}

/// Starts a server on its listeners; it serves when this returns. `notify` is called on a shard's thread when the shard ends,
/// for whatever reason.
pub fn start(
    config: &Config,
    listeners: Listeners,
    connections_max: usize,
    restored: Option<&Arc<Restored>>,
    clock: Clock,
    notify: &Notify,
) -> Result<Running, StartError> {
    let cores = config.cores;
    let Listeners { port, core_ports, sockets } = listeners;
    let (meshes, doorbells) = Mesh::new(cores as u16, config.ring.batches_per_link)
        .map_err(|error| StartError::new(format!("cannot make the mesh's doorbells: {error}")))?;
    let seed = draw_seed()?;
    let admission = Admission::new(connections_max, config.address_connections_max, seed);
    let cpus = cpus()?;
    let (started, starts) = bounded(cores);
    let mut shards = Vec::new();
    for (core, (listeners, mesh)) in sockets.into_iter().zip(meshes).enumerate() {
        let (commands, command_receiver) = bounded(COMMANDS_MAX);
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
            admission: admission.clone(),
            started: started.clone(),
        };
        let restored = restored.cloned();
        let station = Station {
            listeners,
            mesh,
            commands: command_receiver,
            published: Arc::clone(&published),
            notify: Arc::clone(notify),
            kept: Arc::default(),
        };
        let executor = executor(&format!("shard-{core}"), EXECUTOR_RING_ENTRIES)
            .spawn(move || async move { life::live(&plan, station, restored) })
            .map_err(|error| StartError::new(format!("cannot start the executor of core {core}: {error}")))?;
        let cpu = cpus[core % cpus.len()].id;
        shards.push(RunningShard { cpu, commands, published, executor });
    }
    drop(started);
    let running = Running { port, core_ports, shards, doorbells };
    for _ in 0..cores {
        let fault = match starts.recv_timeout(START_TIME) {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => remedy::ring(&RingFacts::read(Some(error))),
            Err(RecvTimeoutError::Disconnected) => remedy::ring(&RingFacts::of_executor(config)),
            Err(RecvTimeoutError::Timeout) => Some("a shard does not start; see the kernel's log".to_owned()),
        };
        // Nobody waits for those that have started: the process is about to end.
        running.end();
        return Err(StartError::new(fault.unwrap_or_default()));
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

    /// Turns of each shard so far, some of them not counted yet while it does not sleep.
    pub fn turns(&self) -> Vec<u64> {
        self.shards.iter().map(|shard| shard.published.figures().turns).collect()
    }

    /// Wakes every shard that sleeps.
    pub fn wake(&self) {
        self.doorbells.iter().for_each(Doorbell::ring);
    }

    /// Its shards, for whoever asks them.
    pub fn shards(&self) -> Vec<ShardHandle> {
        let handle = |(core, shard): (usize, &RunningShard)| ShardHandle {
            cpu: shard.cpu,
            commands: shard.commands.clone(),
            published: Arc::clone(&shard.published),
            doorbells: Arc::clone(&self.doorbells),
            core,
        };
        self.shards.iter().enumerate().map(handle).collect()
    }

    /// How many shards there are.
    pub fn cores(&self) -> usize {
        self.shards.len()
    }

    /// Says something to every shard that is still there.
    pub fn tell(&self, command: impl Fn() -> Command) {
        for core in 0..self.shards.len() {
            self.tell_one(core, command());
        }
    }

    /// Asks every shard for its rooms; an answer is empty if nothing has changed since the last one.
    pub fn keep(&self) -> Vec<oneshot::Receiver<Option<Arc<Slice>>>> {
        let ask = |core| {
            let (reply, answer) = oneshot::channel();
            self.tell_one(core, Command::Keep(reply));
            answer
        };
        (0..self.shards.len()).map(ask).collect()
    }

    fn tell_one(&self, core: usize, command: Command) {
        // A shard that has ended needs no telling; one that does not turn has commands enough.
        let _ = self.shards[core].commands.try_send(command);
        self.doorbells[core].ring();
    }

    /// Closes everything with 1001 at once.
    fn end(&self) {
        self.tell(|| Command::StopListening);
        self.tell(|| Command::Drain { per_s: u32::MAX });
    }

    /// Waits for the shards' end: the rooms of each that says, by core, and what went wrong with them, if anything did.
    pub fn join(self) -> (Vec<Option<Arc<Slice>>>, Vec<String>) {
        let (mut slices, mut faults) = (Vec::new(), Vec::new());
        for (core, shard) in self.shards.into_iter().enumerate() {
            let fault = match shard.executor.join() {
                Ok(ShardEnd { rooms, fault }) => {
                    slices.push(Some(rooms));
                    fault
                }
                Err(error) => {
                    slices.push(None);
                    Some(error.to_string())
                }
            };
            faults.extend(fault.map(|fault| format!("shard {core}: {fault}")));
        }
        (slices, faults)
    }

    /// Closes everything with 1001 at once and waits for the end; what went wrong, if anything did.
    pub fn stop(self) -> Vec<String> {
        self.end();
        self.join().1
    }
}

fn listen(config: &Config, port: u16, count: usize) -> Result<(Vec<OwnedFd>, u16), StartError> {
    listener::listen(config.host, port, count, config.tcp)
        .map_err(|error| StartError::new(remedy::listen(port, &error)))
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
            return Err(StartError::new(format!(
                "port {port} + {core} is past 65535; choose a lower --port"
            )));
        }
        let (sockets, bound) = listen(config, wanted, 1)?;
        own.extend(sockets);
        ports.push(bound);
    }
    Ok(ports)
}

/// A shard's executor, or the control core's. A shard's thread pins itself: the executor's own pinning reads the whole CPU
/// topology several times, which is most of the time that a start takes.
pub fn executor(name: &str, ring_entries: usize) -> LocalExecutorBuilder {
    LocalExecutorBuilder::new(Placement::Unbound)
        .name(name)
        .io_memory(EXECUTOR_IO_MEMORY_BYTES)
        .ring_depth(ring_entries)
}

fn draw_seed() -> Result<Seed, StartError> {
    let refused = |error| StartError::new(format!("cannot draw the key of the hashes: {error}"));
    Ok(Seed(getrandom::u64().map_err(refused)?, getrandom::u64().map_err(refused)?))
}

/// The CPUs this process may use.
fn cpus() -> Result<Vec<core_affinity::CoreId>, StartError> {
    let cpus = core_affinity::get_core_ids().unwrap_or_default();
    if cpus.is_empty() {
        return Err(StartError::new("cannot read which CPUs this process may use".to_owned()));
    }
    Ok(cpus)
}
