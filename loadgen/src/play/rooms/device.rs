//! A simulated device: a clock that is off and drifts, a way to the server that takes time, and what the
//! device believes of the master clock.
//!
//! Delays are added on paper, not waited for: a ping counts as sent earlier and heard later than it really
//! was. The estimate is the real client's kind: of each burst the sample with the shortest round trip.

/// Of one device's clock against ours, and of its way.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    /// local = true × (1 + drift) + offset, in ms.
    offset_ms: f64,
    drift: f32,
    /// One-way delay without its jitter, ms.
    delay_ms: f32,
    /// Of the burst that is under way: its shortest round trip, and master minus local by it.
    best_round_trip_ms: f32,
    best_estimate_ms: f64,
    /// Master minus local, NaN before the first burst is over.
    estimate_ms: f64,
}

/// Ranges that devices are drawn from: phones on home and mobile networks, in ms and parts of one.
const OFFSET_MS: f64 = 500.0;
const DRIFT: f64 = 50e-6;
const DELAY_MS: std::ops::Range<f64> = 5.0..40.0;
const JITTER_MS: f64 = 10.0;

impl Device {
    pub fn draw(random: &mut fastrand::Rng) -> Device {
        Device {
            offset_ms: (random.f64() * 2.0 - 1.0) * OFFSET_MS,
            drift: ((random.f64() * 2.0 - 1.0) * DRIFT) as f32,
            delay_ms: (DELAY_MS.start + random.f64() * (DELAY_MS.end - DELAY_MS.start)) as f32,
            best_round_trip_ms: f32::INFINITY,
            best_estimate_ms: f64::NAN,
            estimate_ms: f64::NAN,
        }
    }

    fn local_ms(&self, true_ms: f64) -> f64 {
        true_ms * (1.0 + f64::from(self.drift)) + self.offset_ms
    }

    fn true_ms(&self, local_ms: f64) -> f64 {
        (local_ms - self.offset_ms) / (1.0 + f64::from(self.drift))
    }

    /// One way's delay now.
    pub fn delay_ms(&self, random: &mut fastrand::Rng) -> f64 {
        f64::from(self.delay_ms) + random.f64() * JITTER_MS
    }

    /// A pong: when its ping really left and it really came, and the master clock it names, all in ms.
    pub fn hear_pong(&mut self, sent_ms: f64, heard_ms: f64, master_ms: f64, random: &mut fastrand::Rng) {
        let (up, down) = (self.delay_ms(random), self.delay_ms(random));
        let (from, to) = (self.local_ms(sent_ms - up), self.local_ms(heard_ms + down));
        if ((to - from) as f32) < self.best_round_trip_ms {
            self.best_round_trip_ms = (to - from) as f32;
            self.best_estimate_ms = master_ms - (from + to) / 2.0;
        }
    }

    /// The burst is over: what it showed is believed. How far off that is, ms, if it is known.
    pub fn end_burst(&mut self, now_ms: f64, master_minus_true_ms: f64) -> Option<f64> {
        if self.best_estimate_ms.is_nan() {
            return None;
        }
        self.estimate_ms = self.best_estimate_ms;
        (self.best_round_trip_ms, self.best_estimate_ms) = (f32::INFINITY, f64::NAN);
        Some((self.local_ms(now_ms) + self.estimate_ms - now_ms - master_minus_true_ms).abs())
    }

    /// When this device would start what is to start at `master_ms`, in true ms.
    pub fn starts_ms(&self, master_ms: f64) -> Option<f64> {
        (!self.estimate_ms.is_nan()).then(|| self.true_ms(master_ms - self.estimate_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_believes_what_its_shortest_round_trip_showed() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..100 {
            let mut device = Device::draw(&mut random);
            assert_eq!(device.starts_ms(0.0), None, "nothing is known before the first burst");
            let master_minus_true_ms = 60_000.0;
            for ping in 0..7 {
                let sent = 10_000.0 + f64::from(ping) * 70.0;
                device.hear_pong(sent, sent + 0.2, sent + 0.1 + master_minus_true_ms, &mut random);
            }
            let error = device.end_burst(10_500.0, master_minus_true_ms).unwrap();
            // Half of the jitter, and 50 ppm of half a second.
            assert!(error <= JITTER_MS / 2.0 + 0.1, "{error}");
            let starts = device.starts_ms(master_minus_true_ms + 12_000.0).unwrap();
            assert!((starts - 12_000.0).abs() <= JITTER_MS / 2.0 + 0.3, "{starts}");
        }
    }
}
