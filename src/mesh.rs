//! The way from core to core: one bounded lock-free channel for each ordered pair, and a doorbell each.
//!
//! A batch per peer and turn, `try_send` only: what a full channel does not take stays in the engine's link,
//! whose policy it is. A core is woken only if it is parked, by the protocol of [`parked`].

pub mod parked;

mod atomic {
    pub(super) use std::sync::atomic::{AtomicBool, Ordering, fence};
}

use crossbeam_channel::{Receiver, Sender, bounded};

use engine::{CoreId, Envelope, Moved};
use parked::Parked;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;

/// What one core has for another, of one turn.
#[derive(Default)]
pub struct Batch {
    /// In order.
    pub envelopes: Vec<Envelope>,
    /// Connections on their way to the core of their room.
    pub connections: Vec<(OwnedFd, Moved)>,
}

/// Figures of a core's ends of the mesh, for whoever publishes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeshStats {
    /// Batches that went to peers.
    pub batches_sent: u64,
    /// Batches that came from peers.
    pub batches_received: u64,
}

/// Wakes one core.
pub struct Doorbell {
    parked: Parked,
    eventfd: File,
}

impl Doorbell {
    fn new() -> io::Result<Doorbell> {
        // SAFETY: no memory is involved; the result is checked before it is owned.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: eventfd has just made it, for us alone.
        let eventfd = unsafe { File::from_raw_fd(fd) };
        Ok(Doorbell { parked: Parked::default(), eventfd })
    }

    /// Says whether the core sleeps; its own side of the protocol.
    pub fn parked(&self) -> &Parked {
        &self.parked
    }

    /// After something was sent to the core: wakes it if it is parked.
    pub fn ring(&self) {
        if self.parked.must_ring() {
            // An eventfd's counter takes 2^64 - 2 rings before it refuses one.
            let _ = (&self.eventfd).write(&1u64.to_ne_bytes());
        }
    }

    /// The descriptor to listen on.
    pub fn listen(&self) -> io::Result<OwnedFd> {
        self.eventfd.try_clone().map(OwnedFd::from)
    }
}

/// One core's ends of the mesh.
pub struct Mesh {
    core: CoreId,
    /// By core; none to itself.
    outgoing: Vec<Option<Sender<Batch>>>,
    incoming: Vec<(CoreId, Receiver<Batch>)>,
    doorbells: Arc<[Doorbell]>,
}

impl Mesh {
    /// The meshes of `cores` cores, each channel with room for `batches_per_link`.
    pub fn new(cores: u16, batches_per_link: usize) -> io::Result<(Vec<Mesh>, Arc<[Doorbell]>)> {
        let doorbells: Vec<Doorbell> = (0..cores).map(|_| Doorbell::new()).collect::<io::Result<_>>()?;
        let doorbells: Arc<[Doorbell]> = doorbells.into();
        let mesh = |core| Mesh {
            core: CoreId(core),
            outgoing: Vec::new(),
            incoming: Vec::new(),
            doorbells: Arc::clone(&doorbells),
        };
        let mut meshes: Vec<Mesh> = (0..cores).map(mesh).collect();
        for from in 0..usize::from(cores) {
            for to in 0..usize::from(cores) {
                let link = (from != to).then(|| bounded(batches_per_link));
                let (sender, receiver) = link.unzip();
                meshes[from].outgoing.push(sender);
                meshes[to].incoming.extend(receiver.map(|receiver| (CoreId(from as u16), receiver)));
            }
        }
        Ok((meshes, doorbells))
    }

    /// The other cores.
    pub fn peers(&self) -> impl Iterator<Item = CoreId> + use<> {
        let core = self.core;
        (0..self.outgoing.len() as u16).map(CoreId).filter(move |peer| *peer != core)
    }

    /// This core's doorbell.
    pub fn doorbell(&self) -> &Doorbell {
        &self.doorbells[usize::from(self.core.0)]
    }

    /// The channel to `peer` takes another batch. Only this core sends into it, so what is true stays true
    /// until [`Mesh::send`].
    pub fn has_room(&self, peer: CoreId) -> bool {
        self.outgoing[usize::from(peer.0)].as_ref().is_some_and(|link| !link.is_full())
    }

    /// Sends a batch and wakes the peer if it is parked; gives the batch back if the channel is full or the
    /// peer is gone.
    pub fn send(&self, peer: CoreId, batch: Batch) -> Result<(), Batch> {
        let Some(link) = &self.outgoing[usize::from(peer.0)] else { return Err(batch) };
        link.try_send(batch).map_err(|refused| refused.into_inner())?;
        self.doorbells[usize::from(peer.0)].ring();
        Ok(())
    }

    /// The next batch from any peer, in order for each.
    pub fn receive(&self) -> Option<(CoreId, Batch)> {
        self.incoming.iter().find_map(|(peer, link)| Some((*peer, link.try_recv().ok()?)))
    }

    /// Nothing has come.
    pub fn is_empty(&self) -> bool {
        self.incoming.iter().all(|(_, link)| link.is_empty())
    }
}
