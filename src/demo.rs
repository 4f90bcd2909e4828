//! The demo player: its files, joined into the one page that the engine serves at `/`.
//!
//! `demo/index.html` names its style and scripts as a folder of files would; here they take their places in it, so
//! that the page asks for nothing but itself. Its policy allows this script, this style, a WebSocket to where the page
//! came from, and nothing else. Made once, at the first call.

use data_encoding::BASE64;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;
use wire::upgrade::Page;

const HTML: &str = include_str!("../demo/index.html");
const STYLE_TAG: &str = r#"<link rel="stylesheet" href="style.css">"#;
const SCRIPT_TAG: &str = r#"<script type="module" src="main.js"></script>"#;
const STYLE: &str = include_str!("../demo/style.css");
/// Callees first. They share one scope, and none of them needs the network.
const SCRIPTS: [&str; 7] = [
    include_str!("../demo/clock.js"),
    include_str!("../demo/tracks.js"),
    include_str!("../demo/audio.js"),
    include_str!("../demo/player.js"),
    include_str!("../demo/room.js"),
    include_str!("../demo/disc.js"),
    include_str!("../demo/main.js"),
];

/// The page.
pub fn page() -> &'static Page {
    static PAGE: LazyLock<Page> = LazyLock::new(|| join(HTML, STYLE, &SCRIPTS.concat()));
    &PAGE
}

fn join(html: &str, style: &str, script: &str) -> Page {
    let body = html.replacen(STYLE_TAG, &format!("<style>{style}</style>"), 1).replacen(
        SCRIPT_TAG,
        &format!("<script type=\"module\">{script}</script>"),
        1,
    );
    let policy = format!(
        "default-src 'none'; connect-src 'self'; img-src data:; script-src {}; style-src {}; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        source(script),
        source(style)
    );
    Page { policy, body: body.into_bytes() }
}

/// How a policy names an inline text.
fn source(text: &str) -> String {
    format!("'sha256-{}'", BASE64.encode(&Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Limits;

    /// Whoever opens it over a phone's line waits for it; and it has to fit into any outbox by default.
    const PAGE_BYTES_MAX: usize = 100_000;

    #[test]
    fn the_page_is_small() {
        let bytes = page().body.len();
        assert!(bytes < PAGE_BYTES_MAX, "{bytes}");
        assert!(PAGE_BYTES_MAX + 4096 < Limits::default().outbox_bytes_max);
    }

    #[test]
    fn style_and_scripts_are_in_it_and_allowed_by_their_digests() {
        let page = page();
        let body = std::str::from_utf8(&page.body).unwrap();
        let between = |start: &str, end: &str| {
            let from = body.find(start).unwrap() + start.len();
            &body[from..from + body[from..].find(end).unwrap()]
        };
        let style = between("<style>", "</style>");
        let script = between("<script type=\"module\">", "</script>");
        assert_eq!((style, script), (STYLE, &*SCRIPTS.concat()), "no tag ends inside either");
        assert!(page.policy.contains(&format!("script-src {};", source(script))));
        assert!(page.policy.contains(&format!("style-src {};", source(style))));
    }

    #[test]
    fn it_needs_nothing_from_elsewhere_and_nothing_that_the_policy_forbids() {
        let body = std::str::from_utf8(&page().body).unwrap();
        for foreign in
            [" src=", "<link rel=\"stylesheet\"", "@import", "url(", "http://", "https://", "fetch("]
        {
            let allowed =
                if foreign == "http://" { body.matches("http://www.w3.org/2000/svg").count() } else { 0 };
            assert_eq!(body.matches(foreign).count(), allowed, "{foreign}");
        }
        for inline in [" style=", " onclick=", " onload=", "javascript:", "eval(", "innerHTML"] {
            assert!(!body.contains(inline), "{inline}");
        }
    }

    /// The vector of FIPS 180-2, B.1.
    #[test]
    fn a_source_is_the_digest_in_base64() {
        assert_eq!(source("abc"), "'sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0='");
    }
}
