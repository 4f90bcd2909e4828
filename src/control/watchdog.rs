//! What a service manager is told: that the server is ready, that it ends, and that every shard still turns.

use crate::server::Running;
use glommio::timer::Timer;
use sd_notify::NotifyState;
use std::rc::Rc;
use tracing::warn;

/// Looks in the time after which the manager gives the server up: some may find a shard that was just then kept from turning.
const LOOKS: u32 = 4;

/// It serves.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// It ends.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

/// Tells the manager that all is well whenever every shard has turned since the look before.
pub fn feed(running: Rc<Running>) -> glommio::Task<()> {
    glommio::spawn_local(async move {
        let Some(interval) = sd_notify::watchdog_enabled() else { return };
        loop {
            let before = running.turns();
            running.wake();
            Timer::new(interval / LOOKS).await;
            let stuck: Vec<usize> = before
                .iter()
                .zip(running.turns())
                .enumerate()
                .filter_map(|(core, (before, after))| (*before == after).then_some(core))
                .collect();
            if stuck.is_empty() {
                tell(NotifyState::Watchdog);
            } else {
                warn!("shards {stuck:?} do not turn; the watchdog is not fed");
            }
        }
    })
}

fn tell(state: NotifyState<'_>) {
    // Without a manager nobody listens, and one that does not answer is no reason to end.
    let _ = sd_notify::notify(&[state]);
}
