//! Bytes of the release binary: the file, and what of it is loaded (not its line tables).

use crate::{Asked, Metrics};
use object::{Object, ObjectSegment};

/// The file's bytes, and its segments'.
pub fn measure(asked: &Asked) -> Result<Metrics, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", asked.server.display());
    let bytes = std::fs::read(&asked.server).map_err(|error| wrong(&error))?;
    let file = object::File::parse(&*bytes).map_err(|error| wrong(&error))?;
    let loaded: u64 = file.segments().map(|it| it.file_range().1).sum();
    Ok([("binary.file", bytes.len() as f64), ("binary.loaded", loaded as f64)]
        .map(|(metric, bytes)| (metric.to_owned(), bytes))
        .into())
}
