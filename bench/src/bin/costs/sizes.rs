//! Bytes of the records that every connection has, busy or idle.

use crate::{Asked, Metrics};

/// The engine's record, and the driver's.
#[allow(clippy::unnecessary_wraps, reason = "as its siblings, which may fail")]
pub fn measure(_: &Asked) -> Result<Metrics, String> {
    let sizes = [
        ("size.connection", size_of::<engine::connection::Connection>()),
        ("size.socket", downbeat::driver::SOCKET_BYTES),
    ];
    Ok(sizes.map(|(metric, bytes)| (metric.to_owned(), bytes as f64)).into())
}
