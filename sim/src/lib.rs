//! What tries to prove the server wrong: a model of the room protocol, and who compares a server with it.
//!
//! [`model`] is written from the protocol's page alone and shares nothing with `wire` or `engine`; [`generate`]
//! makes sessions from seeds; [`differential`] plays them to a server and to the model and compares each frame;
//! [`world`] lets everything else go wrong around the engine's shards, each room beside its model.
//! Nothing here is part of the server.

pub mod differential;
pub mod generate;
pub mod model;
pub mod world;
