//! A server's message, as far as a client needs it.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Debug, Deserialize)]
pub struct Heard<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    #[serde(borrow)]
    pub id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub t0: Option<&'a RawValue>,
    #[serde(rename = "serverTimeMonotonic")]
    pub server_time_ms: Option<f64>,
    #[serde(rename = "masterClockMs")]
    pub master_clock_ms: Option<f64>,
    #[serde(rename = "checkId", borrow)]
    pub check_id: Option<Cow<'a, str>>,
}

/// A ping's id, which carries what a stamp does: number, intended time since the origin in ns, lag in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingId {
    pub sequence: u32,
    pub intended_ns: u64,
    pub lag_ns: u64,
}

impl PingId {
    pub fn parse(text: &str) -> Option<PingId> {
        let mut parts = text.split('-');
        let mut next = || u64::from_str_radix(parts.next()?, 16).ok();
        let (sequence, intended_ns, lag_ns) = (next()?, next()?, next()?);
        Some(PingId { sequence: sequence.try_into().ok()?, intended_ns, lag_ns })
    }
}

impl std::fmt::Display for PingId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{:x}-{:x}", self.sequence, self.intended_ns, self.lag_ns)
    }
}
