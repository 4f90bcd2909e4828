//! The budget's file: what each metric may be, in TOML that people read, and its rewriting.

use crate::exit::Failure;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use toml_edit::{DocumentMut, Item, Table, Value, value};

/// A budget. Every other key of the file is a metric.
#[derive(Debug, Deserialize)]
pub struct Budget {
    /// For metrics that are new, by what their names begin with.
    #[serde(default)]
    defaults: BTreeMap<String, Tolerance>,
    /// What was accepted, when and why: for people.
    #[serde(default, rename = "accepted")]
    _accepted: Vec<Accepted>,
    #[serde(flatten)]
    pub metrics: BTreeMap<String, Bounds>,
}

/// What a metric may be, in its own unit.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// What it was when it was accepted; less is better.
    pub value: Option<f64>,
    /// How far from `value` is no change, in percent of it and in its unit; both add up.
    #[serde(default)]
    pub percent: f64,
    #[serde(default)]
    pub absolute: f64,
}

/// As in [`Bounds`].
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tolerance {
    #[serde(default)]
    percent: f64,
    #[serde(default)]
    absolute: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "its form is checked, its content is for people")]
struct Accepted {
    date: String,
    reason: String,
    changes: Vec<String>,
}

impl Budget {
    pub fn parse(text: &str) -> Result<Budget, String> {
        let budget: Budget = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let bad = budget.metrics.iter().find(|(_, it)| it.min.or(it.max).or(it.value).is_none());
        match bad {
            Some((metric, _)) => Err(format!("{metric}: neither min nor max nor value")),
            None if budget.metrics.is_empty() => Err("an empty budget would pass everything".to_owned()),
            None => Ok(budget),
        }
    }

    fn tolerance_of_new(&self, metric: &str) -> Tolerance {
        let fits = self.defaults.iter().filter(|(prefix, _)| metric.starts_with(prefix.as_str()));
        fits.max_by_key(|(prefix, _)| prefix.len()).map_or(Tolerance::default(), |(_, it)| *it)
    }
}

impl Bounds {
    /// How far from `value` is no change.
    pub fn tolerance(&self) -> f64 {
        self.value.unwrap_or(0.0).abs() * self.percent / 100.0 + self.absolute
    }
}

/// A change to be accepted: a metric's new value, or `None` where it is no longer measured.
pub type Changes = BTreeMap<String, Option<f64>>;

/// The file's text with the changes made, and the reason for them at its end. Comments stay.
pub fn rewrite(text: &str, changes: &Changes, reason: &str, date: &str) -> Result<String, String> {
    let budget: Budget = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
    // The file's own comment stands before its first metric, and stays if that one goes.
    let head = first_prefix(&mut document).unwrap_or_default();
    let mut said = toml_edit::Array::new();
    for (metric, now) in changes {
        let before = budget.metrics.get(metric).and_then(|it| it.value);
        let show = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |it| rounded(it).to_string());
        said.push_formatted(
            Value::from(format!("{metric}: {} to {}", show(before), show(*now))).decorated("\n    ", ""),
        );
        let Some(now) = now else {
            document.remove(metric);
            continue;
        };
        if let Some(Item::Value(Value::InlineTable(bounds))) = document.get_mut(metric) {
            bounds.insert("value", rounded(*now).into());
            bounds.fmt();
            continue;
        }
        let tolerance = budget.tolerance_of_new(metric);
        let mut bounds = toml_edit::InlineTable::new();
        bounds.insert("value", rounded(*now).into());
        let parts = [("percent", tolerance.percent), ("absolute", tolerance.absolute)];
        for (name, amount) in parts.into_iter().filter(|(_, amount)| *amount > 0.0) {
            bounds.insert(name, amount.into());
        }
        document.insert(metric, value(bounds));
    }
    if first_prefix(&mut document).is_some_and(|it| it.is_empty())
        && let Some((mut first, _)) = document.iter_mut().next()
    {
        first.leaf_decor_mut().set_prefix(head);
    }
    said.set_trailing("\n");
    said.set_trailing_comma(true);
    let mut accepted = Table::new();
    accepted.insert("date", value(date));
    accepted.insert("reason", value(reason));
    accepted.insert("changes", value(said));
    let all = document.entry("accepted").or_insert(Item::ArrayOfTables(toml_edit::ArrayOfTables::new()));
    all.as_array_of_tables_mut().ok_or("accepted: not a list of tables")?.push(accepted);
    Ok(document.to_string())
}

fn first_prefix(document: &mut DocumentMut) -> Option<String> {
    let (first, _) = document.iter_mut().next()?;
    Some(first.leaf_decor().prefix().and_then(|it| it.as_str()).unwrap_or_default().to_owned())
}

/// As many digits as tell a change.
fn rounded(value: f64) -> f64 {
    let factor = if value.abs() < 1_000.0 { 100.0 } else { 1.0 };
    (value * factor).round() / factor
}

pub fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}
