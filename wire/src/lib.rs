//! Bytes to frames to messages, and back: the wire formats of Downbeat.
//!
//! The way in: [`upgrade::parse`] reads the request, [`decoder::Decoder`] cuts bytes into frames and joins
//! fragments, [`request::Parser`] reads a message of the room protocol. The way out: [`answer`] writes a
//! message of the room protocol as a frame, [`frame`] the header before it.
//!
//! This crate does no I/O and reads no clock: bytes come in as arguments, bytes go out as values.

#![forbid(unsafe_code)]

pub mod answer;
pub mod close;
pub mod decoder;
mod flat;
pub mod frame;
pub mod json;
pub mod mask;
pub mod request;
pub mod text;
pub mod upgrade;
pub mod utf8;
