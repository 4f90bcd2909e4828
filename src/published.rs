//! A shard's figures, where other threads can read them: copied out, never shared.
//!
//! The shard counts in plain integers and stores them here when it parks and every few hundred turns. Each
//! figure is right on its own; two of them may be a moment apart.

use crate::driver::DriverStats;
use crate::mesh::MeshStats;
use crate::ring::RingStats;
use engine::Stats;
use std::sync::atomic::{AtomicU64, Ordering};

/// The newest figures of one shard.
pub struct Published {
    engine: [AtomicU64; Stats::COUNT],
    driver: [AtomicU64; DRIVER_FIGURES],
}

const DRIVER_FIGURES: usize = 20;

/// One reading of a shard's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// What the engine counted.
    pub engine: Stats,
    /// What the driver counted.
    pub driver: DriverStats,
    /// What the ring counted.
    pub ring: RingStats,
    /// What came and went between cores.
    pub mesh: MeshStats,
    /// Turns of the loop.
    pub turns: u64,
}

impl Default for Published {
    fn default() -> Published {
        Published {
            engine: [const { AtomicU64::new(0) }; Stats::COUNT],
            driver: [const { AtomicU64::new(0) }; DRIVER_FIGURES],
        }
    }
}

impl Published {
    /// Stores the figures. A plain store each: nobody is waited for.
    pub fn publish(
        &self,
        engine: &Stats,
        driver: &DriverStats,
        ring: &RingStats,
        mesh: &MeshStats,
        turns: u64,
    ) {
        for (slot, figure) in self.engine.iter().zip(engine.to_array()) {
            slot.store(figure, Ordering::Relaxed);
        }
        let figures = [
            driver.sockets,
            driver.armed,
            driver.resting,
            driver.queued,
            driver.ended,
            driver.buffers_exhausted,
            driver.receives_rearmed,
            driver.received_bytes,
            driver.sent_bytes,
            driver.sends_short,
            driver.accepts_failed,
            driver.accepts_over_limit,
            driver.accepts_over_address_limit,
            driver.peers_timed_out,
            ring.enters,
            ring.completions,
            ring.overflows,
            mesh.batches_sent,
            mesh.batches_received,
            turns,
        ];
        for (slot, figure) in self.driver.iter().zip(figures) {
            slot.store(figure, Ordering::Relaxed);
        }
    }

    /// Reads the figures.
    pub fn figures(&self) -> Figures {
        let engine = std::array::from_fn(|i| self.engine[i].load(Ordering::Relaxed));
        let [
            sockets,
            armed,
            resting,
            queued,
            ended,
            buffers_exhausted,
            receives_rearmed,
            received_bytes,
            sent_bytes,
            sends_short,
            accepts_failed,
            accepts_over_limit,
            accepts_over_address_limit,
            peers_timed_out,
            enters,
            completions,
            overflows,
            batches_sent,
            batches_received,
            turns,
        ] = std::array::from_fn(|i| self.driver[i].load(Ordering::Relaxed));
        Figures {
            engine: Stats::from_array(&engine),
            driver: DriverStats {
                sockets,
                armed,
                resting,
                queued,
                ended,
                buffers_exhausted,
                receives_rearmed,
                received_bytes,
                sent_bytes,
                sends_short,
                accepts_failed,
                accepts_over_limit,
                accepts_over_address_limit,
                peers_timed_out,
            },
            ring: RingStats { enters, completions, overflows },
            mesh: MeshStats { batches_sent, batches_received },
            turns,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// No two figures are the same.
    pub fn distinct() -> Figures {
        let mut figure = 1000;
        let mut next = || {
            figure += 1;
            figure
        };
        let engine = Stats::from_array(&std::array::from_fn(|_| next()));
        let driver = DriverStats {
            sockets: next(),
            armed: next(),
            resting: next(),
            queued: next(),
            ended: next(),
            buffers_exhausted: next(),
            receives_rearmed: next(),
            received_bytes: next(),
            sent_bytes: next(),
            sends_short: next(),
            accepts_failed: next(),
            accepts_over_limit: next(),
            accepts_over_address_limit: next(),
            peers_timed_out: next(),
        };
        let ring = RingStats { enters: next(), completions: next(), overflows: next() };
        let mesh = MeshStats { batches_sent: next(), batches_received: next() };
        Figures { engine, driver, ring, mesh, turns: next() }
    }

    #[test]
    fn each_figure_is_read_as_the_one_that_was_published() {
        let Figures { engine, driver, ring, mesh, turns } = distinct();
        let published = Published::default();
        published.publish(&engine, &driver, &ring, &mesh, turns);
        assert_eq!(published.figures(), distinct());
    }
}
