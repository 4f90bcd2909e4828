//! Why a server does not start.

use std::fmt;

/// One line for the operator, with the remedy.
#[derive(Debug)]
pub struct StartError(String);

impl StartError {
    /// The line.
    pub fn new(line: impl Into<String>) -> StartError {
        StartError(line.into())
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}
