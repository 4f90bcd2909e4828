//! Silent attackers: upgraded, and not a word after that. Whether the server's pings are answered is the play's.

use super::Kind;

pub struct Mute;

impl Kind for Mute {}
