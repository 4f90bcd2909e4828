//! Results for people: on the screen, as a page, as Markdown.

pub mod hdr;
pub mod html;
pub mod markdown;
pub mod plot;
pub mod screen;
pub mod svg;
pub mod text;

/// A result file of any kind, with the name to show for it.
pub struct Named {
    pub name: String,
    pub json: serde_json::Value,
}
