//! Results for people: on the screen, as a page, as Markdown.

pub mod hdr;
pub mod screen;
pub mod text;
