//! What one operation takes from the allocator: the difference between two counts of it, divided.

use crate::{Asked, Metrics, tool};

const FEW: u32 = 200;
const MANY: u32 = 1_200;

/// Allocations of each operation.
pub fn measure(asked: &Asked) -> Result<Metrics, String> {
    let metrics = tool::operations().map(|operation| (operation, format!("allocations.{operation}")));
    let wanted = metrics.filter(|(_, metric)| asked.wants(metric));
    wanted.map(|(operation, metric)| Ok((metric, tool::each("allocations", operation, FEW, MANY)?))).collect()
}
