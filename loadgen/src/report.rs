//! Results for people: on the screen, as a page, as Markdown.

mod curves;
pub mod floods;
pub mod hdr;
pub mod html;
pub mod markdown;
pub mod picture;
pub mod plot;
pub mod screen;
pub mod svg;
pub mod text;

/// The kinds of results that can be reported.
pub const KINDS: [&str; 8] = ["run", "bench", "compare", "curve", "search", "mem", "start", "flood"];

/// A result file of any kind, with the name to show for it.
pub struct Named {
    pub name: String,
    pub json: serde_json::Value,
}

/// The results of one kind, with their names. An error is one line that names the file.
pub fn of_kind<T: serde::de::DeserializeOwned>(
    results: &[Named],
    kind: &str,
) -> Result<Vec<(String, T)>, String> {
    let chosen = results.iter().filter(|it| it.json["kind"] == kind);
    let read = chosen.map(|it| {
        let value =
            serde_json::from_value(it.json.clone()).map_err(|error| format!("{}: {error}", it.name))?;
        Ok((it.name.clone(), value))
    });
    read.collect()
}
