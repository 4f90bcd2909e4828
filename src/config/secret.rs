//! A value that is never shown.

use std::fmt;
use std::hint::black_box;

/// A token or a password: compared, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// What one may be.
    pub const ALLOWED: &str = "16 to 512 characters of ASCII without spaces";

    /// As it is.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// One that is hard to guess and fits into a header; nothing else.
    pub fn parse(text: &str) -> Option<Secret> {
        let is_allowed = (16..=512).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_allowed.then(|| Secret(text.to_owned()))
    }

    /// Whether it is this, in a time that says nothing of how much of it is right.
    pub fn is(&self, text: &str) -> bool {
        let differing =
            self.0.bytes().zip(text.bytes()).fold(0, |differing, (a, b)| black_box(differing | (a ^ b)));
        self.0.len() == text.len() && differing == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_long_enough_and_is_not_shown() {
        assert_eq!(Secret::parse("short"), None);
        assert_eq!(Secret::parse("sixteen letters!"), None);
        let secret = Secret::parse("sixteen-letters!").unwrap();
        assert!(
            secret.is("sixteen-letters!") && !secret.is("sixteen-letters") && !secret.is("sixteen-letters?")
        );
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
