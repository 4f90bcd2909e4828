//! Plots as inline SVG: data in, text out. Colours are the page's, by class, so that both schemes fit.

use super::text;
use std::fmt::Write;

/// The drawing area inside a plot of 760 × 320, in pixels.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;
/// Lines are told apart by colour and, from the seventh on, by nothing: more is unreadable anyway.
pub const COLOURS: usize = 6;

/// One line of a plot.
pub struct Line {
    pub label: String,
    /// Void runs are drawn dashed.
    pub is_void: bool,
    pub points: Vec<(f64, f64)>,
}

/// What an axis shows.
#[derive(Clone, Copy)]
pub struct Axis {
    pub title: &'static str,
    pub is_log: bool,
    pub show: fn(f64) -> String,
}

/// Lines over a common x, which is given as ticks: places from 0 to 1 with their labels.
pub fn lines(lines: &[Line], x_ticks: &[(f64, String)], x_title: &str, y: Axis) -> String {
    let values =
        || lines.iter().flat_map(|line| &line.points).map(|point| point.1).filter(|it| it.is_finite());
    let (low, high) = bounds(values(), y.is_log);
    let at_x = |x: f64| LEFT + x * (WIDTH - LEFT - RIGHT);
    let at_y = |value: f64| {
        let (low, high, value) =
            if y.is_log { (low.log10(), high.log10(), value.max(low).log10()) } else { (low, high, value) };
        HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
    };
    let mut out = open(HEIGHT, &format!("{} by {x_title}", y.title));
    for value in ticks(low, high, y.is_log) {
        let at = at_y(value);
        let _ = write!(
            out,
            r#"<line class="grid" x1="{LEFT}" x2="{:.1}" y1="{at:.1}" y2="{at:.1}"/>"#,
            WIDTH - RIGHT
        );
        let _ = write!(
            out,
            r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            LEFT - 8.0,
            at + 4.0,
            (y.show)(value)
        );
    }
    for (place, label) in x_ticks {
        let at = at_x(*place);
        let _ = write!(
            out,
            r#"<line class="grid" x1="{at:.1}" x2="{at:.1}" y1="{TOP}" y2="{:.1}"/>"#,
            HEIGHT - BOTTOM
        );
        let _ = write!(
            out,
            r#"<text class="tick" x="{at:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            HEIGHT - BOTTOM + 18.0,
            escape(label)
        );
    }
    let _ = write!(
        out,
        r#"<text class="axis" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
        f64::midpoint(LEFT, WIDTH - RIGHT),
        HEIGHT - 6.0,
        escape(x_title)
    );
    for (i, line) in lines.iter().enumerate() {
        let points: Vec<String> =
            line.points.iter().map(|(x, value)| format!("{:.1},{:.1}", at_x(*x), at_y(*value))).collect();
        let class = format!("line c{}{}", i % COLOURS, if line.is_void { " void" } else { "" });
        let _ = write!(
            out,
            r#"<polyline class="{class}" points="{}"><title>{}</title></polyline>"#,
            points.join(" "),
            escape(&line.label)
        );
    }
    out + "</svg>" + &legend(lines)
}

fn legend(lines: &[Line]) -> String {
    let items = lines.iter().enumerate().map(|(i, line)| {
        let void = if line.is_void { " (void)" } else { "" };
        format!(r#"<li><span class="key c{}"></span>{}{void}</li>"#, i % COLOURS, escape(&line.label))
    });
    format!(r#"<ul class="legend">{}</ul>"#, items.collect::<String>())
}

/// One bar of a chart.
pub struct Bar {
    pub label: String,
    pub value: f64,
    /// What stands at its end.
    pub note: String,
    pub is_void: bool,
    /// From and to of an interval, if it has one.
    pub interval: Option<(f64, f64)>,
}

/// Horizontal bars from zero, with a mark where `reference` is.
pub fn bars(bars: &[Bar], title: &str, reference: Option<f64>) -> String {
    const ROW: f64 = 30.0;
    const LABEL: f64 = 240.0;
    const NOTE: f64 = 150.0;
    let height = ROW * bars.len() as f64 + 10.0;
    let ends =
        bars.iter().map(|bar| bar.interval.map_or(bar.value, |interval| interval.1.min(bar.value * 2.0)));
    let high = ends.chain(reference).fold(f64::MIN_POSITIVE, f64::max);
    let length = |value: f64| value / high * (WIDTH - LABEL - NOTE);
    let mut out = open(height, title);
    for (i, bar) in bars.iter().enumerate() {
        let y = ROW * i as f64 + 6.0;
        let class = if bar.is_void { "bar void" } else { "bar" };
        let _ = write!(
            out,
            r#"<text class="label" x="{:.0}" y="{:.1}" text-anchor="end">{}</text>"#,
            LABEL - 10.0,
            y + 14.0,
            escape(&shorten(&bar.label))
        );
        let _ = write!(
            out,
            r#"<rect class="{class}" x="{LABEL}" y="{y:.1}" width="{:.1}" height="18" rx="2"><title>{}</title></rect>"#,
            length(bar.value),
            escape(&bar.label)
        );
        let mut end = bar.value;
        if let Some((from, to)) = bar.interval {
            let to = to.min(high);
            end = end.max(to);
            let _ = write!(
                out,
                r#"<line class="interval" x1="{:.1}" x2="{:.1}" y1="{:.1}" y2="{:.1}"/>"#,
                LABEL + length(from),
                LABEL + length(to),
                y + 9.0,
                y + 9.0
            );
        }
        let _ = write!(
            out,
            r#"<text class="note" x="{:.1}" y="{:.1}">{}</text>"#,
            LABEL + length(end) + 8.0,
            y + 14.0,
            escape(&bar.note)
        );
    }
    if let Some(reference) = reference {
        let x = LABEL + length(reference);
        let _ = write!(out, r#"<line class="reference" x1="{x:.1}" x2="{x:.1}" y1="0" y2="{height:.1}"/>"#);
    }
    out + "</svg>"
}

fn open(height: f64, title: &str) -> String {
    let title = escape(title);
    format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}"><title>{title}</title>"#)
}

/// A label of at most 34 characters.
fn shorten(label: &str) -> String {
    if label.chars().count() <= 34 {
        return label.to_owned();
    }
    label.chars().take(33).chain(['…']).collect()
}

/// The values' range, widened to whole decades or from zero.
fn bounds(values: impl Iterator<Item = f64>, is_log: bool) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), it| (low.min(it), high.max(it)));
    if !low.is_finite() || high <= 0.0 {
        return (if is_log { 1.0 } else { 0.0 }, 10.0);
    }
    if !is_log {
        let step = step(high / 4.0);
        return (0.0, (high / step).ceil() * step);
    }
    let low = 10_f64.powf(low.max(0.1).log10().floor());
    (low, 10_f64.powf(high.log10().ceil()).max(low * 10.0))
}

/// 1, 2 or 5 times a power of ten, at least `least`.
fn step(least: f64) -> f64 {
    let decade = 10_f64.powf(least.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .iter()
        .map(|it| it * decade)
        .find(|it| *it >= least * 0.999_999)
        .unwrap_or(10.0 * decade)
}

fn ticks(low: f64, high: f64, is_log: bool) -> Vec<f64> {
    if is_log {
        let (from, to) = (low.log10().round() as i32, high.log10().round() as i32);
        return (from..=to).map(|decade| 10_f64.powi(decade)).collect();
    }
    let step = step((high - low) / 4.0);
    (0..).map(|i| low + f64::from(i) * step).take_while(|it| *it <= high * 1.000_001).collect()
}

/// Text that is safe in HTML and in attributes.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// A latency axis.
pub const LATENCY: Axis = Axis { title: "latency", is_log: true, show: text::time };
/// An axis of rates.
pub const RATE: Axis = Axis { title: "messages a second", is_log: false, show: text::count };

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn ticks_are_round_numbers_inside_the_axis() {
        assert_eq!(ticks(1.0, 1_000.0, true), [1.0, 10.0, 100.0, 1_000.0]);
        let (low, high) = bounds([3.0, 47.0].into_iter(), false);
        assert_eq!((low, high, ticks(low, high, false)), (0.0, 60.0, vec![0.0, 20.0, 40.0, 60.0]));
        assert_eq!(bounds(std::iter::empty(), true), (1.0, 10.0));
        assert_eq!(bounds([12.0, 4_000.0].into_iter(), true), (10.0, 10_000.0));
    }

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(escape(r#"<a b="c">&'"#), "&lt;a b=&quot;c&quot;&gt;&amp;&#39;");
        let bar = Bar {
            label: "</svg>".to_owned(),
            value: 1.0,
            note: "<".to_owned(),
            is_void: false,
            interval: None,
        };
        assert!(!bars(&[bar], "t", None).trim_end_matches("</svg>").contains("</svg>"));
    }

    #[test]
    fn a_small_plot() {
        let line = Line { label: "a".to_owned(), is_void: true, points: vec![(0.0, 10.0), (1.0, 100.0)] };
        let plot = lines(&[line], &[(0.0, "0".to_owned())], "percentile", LATENCY);
        expect![[r#"
            <svg viewBox="0 0 760 320" role="img" aria-label="latency by percentile">
            <title>
            latency by percentile</title>
            <line class="grid" x1="70" x2="740.0" y1="276.0" y2="276.0"/>
            <text class="tick" x="62.0" y="280.0" text-anchor="end">
            10 µs</text>
            <line class="grid" x1="70" x2="740.0" y1="14.0" y2="14.0"/>
            <text class="tick" x="62.0" y="18.0" text-anchor="end">
            100 µs</text>
            <line class="grid" x1="70.0" x2="70.0" y1="14" y2="276.0"/>
            <text class="tick" x="70.0" y="294.0" text-anchor="middle">
            0</text>
            <text class="axis" x="405.0" y="314.0" text-anchor="middle">
            percentile</text>
            <polyline class="line c0 void" points="70.0,276.0 740.0,14.0">
            <title>
            a</title>
            </polyline>
            </svg>
            <ul class="legend">
            <li>
            <span class="key c0">
            </span>
            a (void)</li>
            </ul>
        "#]]
        .assert_eq(&plot.replace('>', ">\n"));
    }
}
