//! Plots of single points as inline SVG: costs side by side, ratios with intervals, trials, points on two axes.
//!
//! Data in, text out, as in svg.rs, which has lines and bars; colours are the page's, by class. Void is always
//! said in words too, because grey alone does not print.

use super::svg::escape;
use std::fmt::Write;

const WIDTH: f64 = 760.0;
/// Where plots with a name to each row begin, and the room for numbers at their ends.
const NAME: f64 = 200.0;
const NOTE: f64 = 150.0;
const ROW: f64 = 34.0;
/// Below rows or points: ticks and the axis' title.
const FOOT: f64 = 42.0;

/// From values to places between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
    /// What ticks are round in: 1, or a binary unit.
    unit: f64,
}

impl Scale {
    /// From zero to a round number.
    pub fn from_zero(values: impl Iterator<Item = f64>) -> Scale {
        let high = values.filter(|it| it.is_finite()).fold(f64::MIN_POSITIVE, f64::max);
        let step = step(high / 4.0);
        Scale { low: 0.0, high: (high / step).ceil().max(1.0) * step, is_log: false, unit: 1.0 }
    }

    /// As `from_zero`, in whole KiB or MiB.
    pub fn bytes_from_zero(values: impl Iterator<Item = f64>) -> Scale {
        let high = values.filter(|it| it.is_finite()).fold(f64::MIN_POSITIVE, f64::max);
        let unit = [1_048_576.0, 1_024.0].into_iter().find(|unit| high >= 4.0 * unit).unwrap_or(1.0);
        let scaled = Scale::from_zero(std::iter::once(high / unit));
        Scale { high: scaled.high * unit, unit, ..scaled }
    }

    /// In proportion, with some room at both ends. What is not positive has no place on it.
    pub fn log(values: impl Iterator<Item = f64>) -> Scale {
        let (low, high) = values
            .filter(|it| it.is_finite() && *it > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(low, high), it| (low.min(it), high.max(it)));
        if high <= 0.0 {
            return Scale { low: 1.0, high: 10.0, is_log: true, unit: 1.0 };
        }
        let room = (high / low).powf(0.08).max(1.02);
        Scale { low: low / room, high: high * room, is_log: true, unit: 1.0 }
    }

    /// As `log`, in decades of MiB.
    pub fn bytes_log(values: impl Iterator<Item = f64>) -> Scale {
        Scale { unit: 1_048_576.0, ..Scale::log(values) }
    }

    pub fn place(self, value: f64) -> f64 {
        let place = if self.is_log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        place.clamp(0.0, 1.0)
    }

    /// Round numbers inside, about five.
    pub fn ticks(self) -> Vec<f64> {
        if !self.is_log || self.high / self.low < 5.0 {
            let step = step((self.high - self.low) / self.unit / 5.0) * self.unit;
            let first = (self.low / step).ceil() as i64;
            return (first..)
                .map(|i| i as f64 * step)
                .take_while(|it| *it <= self.high * 1.000_001)
                .collect();
        }
        let (low, high) = (self.low / self.unit, self.high / self.unit);
        let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let factors: &[f64] = if high / low > 1_000.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        decades
            .flat_map(|decade| factors.iter().map(move |factor| factor * 10_f64.powi(decade)))
            .filter(|it| (low..=high).contains(it))
            .map(|it| it * self.unit)
            .collect()
    }
}

/// 1, 2 or 5 times a power of ten, at least `least`.
fn step(least: f64) -> f64 {
    let decade = 10_f64.powf(least.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|factor| factor * decade);
    steps.into_iter().find(|it| *it >= least * 0.999_999).unwrap_or(10.0 * decade)
}

/// What an axis is called, and how its numbers are written.
#[derive(Clone, Copy)]
pub struct Axis<'a> {
    pub title: &'a str,
    pub scale: Scale,
    pub show: fn(f64) -> String,
}

/// One run's bars, from the top; those that are muted are for comparison.
pub struct Costs {
    pub label: String,
    pub is_void: bool,
    /// Name, value, what stands at the end, muted.
    pub bars: Vec<(&'static str, f64, String, bool)>,
}

/// Bars from zero, in groups.
pub fn costs(groups: &[Costs], title: &str) -> String {
    const BAR: f64 = 18.0;
    let height = |group: &Costs| 26.0 + BAR * group.bars.len() as f64;
    let scale = Scale::from_zero(groups.iter().flat_map(|group| &group.bars).map(|bar| bar.1));
    let mut out = open(groups.iter().map(height).sum::<f64>() + 4.0, title);
    let mut y = 0.0;
    for group in groups {
        let label = if group.is_void { format!("{} (void)", group.label) } else { group.label.clone() };
        write_text(&mut out, "label", 0.0, y + 16.0, "start", &label);
        for (i, (name, value, note, is_muted)) in group.bars.iter().enumerate() {
            let top = y + 22.0 + BAR * i as f64;
            let class = match (group.is_void, is_muted) {
                (true, _) => "bar void",
                (false, true) => "bar muted",
                (false, false) => "bar",
            };
            let length = scale.place(*value) * (WIDTH - 90.0 - NOTE);
            write_text(&mut out, "tick", 80.0, top + 11.5, "end", name);
            let _ = write!(
                out,
                r#"<rect class="{class}" x="90" y="{top:.1}" width="{length:.1}" height="14" rx="2"/>"#
            );
            write_text(&mut out, "note", 98.0 + length, top + 11.5, "start", note);
        }
        y += height(group);
    }
    out + "</svg>"
}

/// A ratio with its interval; `class` colours it, `note` says it.
pub struct Effect {
    pub label: String,
    pub ratio: f64,
    pub low: f64,
    pub high: f64,
    pub class: &'static str,
    pub note: String,
}

/// Ratios about 1, with the band of what is too small to count.
pub fn forest(effects: &[Effect], threshold: f64, title: &str) -> String {
    let (band_low, band_high) = (1.0 / (1.0 + threshold), 1.0 + threshold);
    let ends = effects.iter().flat_map(|it| [it.low, it.high]).chain([band_low, band_high]);
    let scale = Scale::log(ends);
    let axis = Axis { title, scale, show: |ratio| format!("{ratio:.2}") };
    let bottom = ROW * effects.len() as f64;
    let at = |value: f64| NAME + scale.place(value) * (WIDTH - NAME - NOTE);
    let mut out = open(bottom + FOOT, title);
    let _ = write!(
        out,
        r#"<rect class="band" x="{:.1}" y="0" width="{:.1}" height="{bottom:.1}"><title>within the threshold</title></rect>"#,
        at(band_low),
        at(band_high) - at(band_low)
    );
    write_x_axis(&mut out, axis, (NAME, WIDTH - NOTE), (0.0, bottom));
    let one = at(1.0);
    let _ = write!(out, r#"<line class="reference" x1="{one:.1}" x2="{one:.1}" y1="0" y2="{bottom:.1}"/>"#);
    for (i, it) in effects.iter().enumerate() {
        let y = ROW * (i as f64 + 0.5);
        write_text(&mut out, "label", NAME - 12.0, y + 4.0, "end", &shorten(&it.label));
        let _ = write!(
            out,
            r#"<g class="{}"><line class="whisker" x1="{:.1}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/><rect class="dot" x="{:.1}" y="{:.1}" width="10" height="10"/></g>"#,
            it.class,
            at(it.low),
            at(it.high),
            at(it.ratio) - 5.0,
            y - 5.0
        );
        write_text(&mut out, "note", WIDTH - NOTE + 12.0, y + 4.0, "start", &it.note);
    }
    out + "</svg>"
}

/// Single values in a row, and their median.
pub struct Strip {
    pub label: String,
    pub values: Vec<f64>,
    pub median: f64,
    pub note: String,
}

/// Dots by row, the median as a bar across.
pub fn strips(strips: &[Strip], axis: Axis) -> String {
    let bottom = ROW * strips.len() as f64;
    let at = |value: f64| NAME + axis.scale.place(value) * (WIDTH - NAME - NOTE);
    let mut out = open(bottom + FOOT, axis.title);
    write_x_axis(&mut out, axis, (NAME, WIDTH - NOTE), (0.0, bottom));
    for (i, it) in strips.iter().enumerate() {
        let y = ROW * (i as f64 + 0.5);
        write_text(&mut out, "label", NAME - 12.0, y + 4.0, "end", &shorten(&it.label));
        for (trial, value) in it.values.iter().enumerate() {
            let _ = write!(
                out,
                r#"<circle class="trial c{}" cx="{:.1}" cy="{:.1}" r="4"><title>{}: {}</title></circle>"#,
                i % super::svg::COLOURS,
                at(*value),
                // Three levels, so that equal values do not hide each other.
                y + ((trial % 3) as f64 - 1.0) * 5.0,
                trial + 1,
                escape(&(axis.show)(*value))
            );
        }
        let _ = write!(
            out,
            r#"<line class="median" x1="{0:.1}" x2="{0:.1}" y1="{1:.1}" y2="{2:.1}"/>"#,
            at(it.median),
            y - 13.0,
            y + 13.0
        );
        write_text(&mut out, "note", WIDTH - NOTE + 12.0, y + 4.0, "start", &it.note);
    }
    out + "</svg>"
}

/// How a point is drawn: shape as well as colour, for readers who do not see the colour.
#[derive(Clone, Copy, PartialEq)]
pub enum Mark {
    Dot,
    Cross,
    Ringed,
}

/// Points of one colour, joined or not.
pub struct Cloud {
    pub label: String,
    pub class: &'static str,
    pub mark: Mark,
    pub is_joined: bool,
    pub points: Vec<(f64, f64)>,
}

/// Points on two axes, with a legend below. `limit` is a line across.
pub fn points(clouds: &[Cloud], x: Axis, y: Axis, limit: Option<(f64, &str)>) -> String {
    let mut out = open(POINTS_BOTTOM + FOOT, &format!("{} by {}", y.title, x.title));
    write_points(&mut out, clouds, x, y, limit);
    out + "</svg>" + &legend(clouds)
}

/// The same as a file of its own, with colours for light and dark, and the legend inside.
pub fn picture(clouds: &[Cloud], x: Axis, y: Axis) -> String {
    const COLUMNS: usize = 3;
    const LINE: f64 = 20.0;
    let named: Vec<&Cloud> = clouds.iter().filter(|it| !it.points.is_empty()).collect();
    let top = POINTS_BOTTOM + FOOT + 12.0;
    let height = top + LINE * named.len().div_ceil(COLUMNS) as f64;
    let svg = open(height, &format!("{} by {}", y.title, x.title));
    let head = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" ");
    let mut out = svg.replacen("<svg ", &head, 1);
    let _ = write!(
        out,
        r#"<style>{}</style><rect class="paper" width="{WIDTH}" height="{height:.0}"/>"#,
        include_str!("picture.css")
    );
    write_points(&mut out, clouds, x, y, None);
    for (i, cloud) in named.iter().enumerate() {
        let at_x = 16.0 + (WIDTH - 16.0) / COLUMNS as f64 * (i % COLUMNS) as f64;
        let at_y = top + LINE * (i / COLUMNS) as f64;
        let _ = write!(out, r#"<g class="{}">"#, cloud.class);
        write_mark(&mut out, cloud.mark, (at_x, at_y));
        out.push_str("</g>");
        write_text(&mut out, "note", at_x + 12.0, at_y + 4.0, "start", &shorten(&cloud.label));
    }
    out + "</svg>\n"
}

/// Where the lowest point is drawn.
const POINTS_BOTTOM: f64 = 270.0;

fn write_points(out: &mut String, clouds: &[Cloud], x: Axis, y: Axis, limit: Option<(f64, &str)>) {
    const LEFT: f64 = 76.0;
    const TOP: f64 = 26.0;
    const BOTTOM: f64 = POINTS_BOTTOM;
    let right = WIDTH - 24.0;
    let at_x = |value: f64| LEFT + x.scale.place(value) * (right - LEFT);
    let at_y = |value: f64| BOTTOM - y.scale.place(value) * (BOTTOM - TOP);
    write_text(out, "axis", 0.0, 12.0, "start", y.title);
    for value in y.scale.ticks() {
        let at = at_y(value);
        let _ = write!(out, r#"<line class="grid" x1="{LEFT}" x2="{right:.1}" y1="{at:.1}" y2="{at:.1}"/>"#);
        write_text(out, "tick", LEFT - 8.0, at + 4.0, "end", &(y.show)(value));
    }
    write_x_axis(out, x, (LEFT, right), (TOP, BOTTOM));
    if let Some((value, name)) = limit {
        let at = at_y(value);
        let _ =
            write!(out, r#"<line class="reference" x1="{LEFT}" x2="{right:.1}" y1="{at:.1}" y2="{at:.1}"/>"#);
        write_text(out, "note", right, at - 5.0, "end", name);
    }
    for cloud in clouds {
        let places: Vec<(f64, f64)> = cloud.points.iter().map(|(a, b)| (at_x(*a), at_y(*b))).collect();
        let _ = write!(out, r#"<g class="{}">"#, cloud.class);
        if cloud.is_joined {
            let path: Vec<String> = places.iter().map(|(a, b)| format!("{a:.1},{b:.1}")).collect();
            let _ = write!(out, r#"<polyline class="line" points="{}"/>"#, path.join(" "));
        }
        places.iter().for_each(|place| write_mark(out, cloud.mark, *place));
        out.push_str("</g>");
    }
}

fn legend(clouds: &[Cloud]) -> String {
    let items = clouds.iter().filter(|it| !it.points.is_empty()).map(|it| {
        let mut mark = String::new();
        write_mark(&mut mark, it.mark, (8.0, 8.0));
        format!(
            r#"<li><svg class="mark {}" viewBox="0 0 16 16" aria-hidden="true">{mark}</svg>{}</li>"#,
            it.class,
            escape(&it.label)
        )
    });
    format!(r#"<ul class="legend">{}</ul>"#, items.collect::<String>())
}

fn write_mark(out: &mut String, mark: Mark, (x, y): (f64, f64)) {
    let _ = match mark {
        Mark::Dot => write!(out, r#"<circle class="dot" cx="{x:.1}" cy="{y:.1}" r="4"/>"#),
        Mark::Ringed => write!(out, r#"<circle class="ring" cx="{x:.1}" cy="{y:.1}" r="7"/>"#),
        Mark::Cross => {
            write!(out, r#"<path class="cross" d="M{:.1} {:.1}l8 8m0 -8l-8 8"/>"#, x - 4.0, y - 4.0)
        }
    };
}

/// Grid lines from `top` to `bottom`, numbers under them, the title under those.
fn write_x_axis(out: &mut String, axis: Axis, (left, right): (f64, f64), (top, bottom): (f64, f64)) {
    for value in axis.scale.ticks() {
        let at = left + axis.scale.place(value) * (right - left);
        let _ =
            write!(out, r#"<line class="grid" x1="{at:.1}" x2="{at:.1}" y1="{top:.1}" y2="{bottom:.1}"/>"#);
        write_text(out, "tick", at, bottom + 17.0, "middle", &(axis.show)(value));
    }
    write_text(out, "axis", f64::midpoint(left, right), bottom + 36.0, "middle", axis.title);
}

fn write_text(out: &mut String, class: &str, x: f64, y: f64, anchor: &str, text: &str) {
    let text = escape(text);
    let _ =
        write!(out, r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#);
}

fn open(height: f64, title: &str) -> String {
    let title = escape(title);
    format!(r#"<svg viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="{title}">"#)
}

/// What fits beside a row.
fn shorten(label: &str) -> String {
    const MAX: usize = 28;
    if label.chars().count() <= MAX {
        return label.to_owned();
    }
    label.chars().take(MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn ticks_are_round_numbers_inside_the_axis() {
        assert_eq!(Scale::from_zero([3.0, 47.0].into_iter()).ticks(), [0.0, 20.0, 40.0, 60.0]);
        assert_eq!(
            Scale::log([10.0, 60_000.0].into_iter()).ticks(),
            [10.0, 100.0, 1_000.0, 10_000.0, 100_000.0]
        );
        assert_eq!(Scale::log([10.0, 80.0].into_iter()).ticks(), [10.0, 20.0, 50.0]);
        for values in [vec![], vec![0.0], vec![f64::NAN, -3.0], vec![7.0], vec![1e12, 1e-3]] {
            for scale in [Scale::log(values.iter().copied()), Scale::from_zero(values.iter().copied())] {
                assert!(scale.ticks().len() < 30, "{scale:?}");
                assert!(values.iter().all(|it| !(scale.place(*it) < 0.0 || scale.place(*it) > 1.0)));
            }
        }
    }

    #[test]
    fn a_small_forest() {
        let effect = |label: &str, class| Effect {
            label: label.to_owned(),
            ratio: 1.08,
            low: 1.05,
            high: 1.11,
            class,
            note: "<1>".to_owned(),
        };
        let plot = forest(&[effect("a & b", "bad")], 0.03, "B over A");
        expect![[r#"
            <svg viewBox="0 0 760 76" role="img" aria-label="B over A">
            <rect class="band" x="246.8" y="0" width="139.7" height="34.0">
            <title>
            within the threshold</title>
            </rect>
            <line class="grid" x1="316.6" x2="316.6" y1="0.0" y2="34.0"/>
            <text class="tick" x="316.6" y="51.0" text-anchor="middle">
            1.00</text>
            <line class="grid" x1="431.9" x2="431.9" y1="0.0" y2="34.0"/>
            <text class="tick" x="431.9" y="51.0" text-anchor="middle">
            1.05</text>
            <line class="grid" x1="541.8" x2="541.8" y1="0.0" y2="34.0"/>
            <text class="tick" x="541.8" y="51.0" text-anchor="middle">
            1.10</text>
            <text class="axis" x="405.0" y="70.0" text-anchor="middle">
            B over A</text>
            <line class="reference" x1="316.6" x2="316.6" y1="0" y2="34.0"/>
            <text class="label" x="188.0" y="21.0" text-anchor="end">
            a &amp; b</text>
            <g class="bad">
            <line class="whisker" x1="431.9" x2="563.2" y1="17.0" y2="17.0"/>
            <rect class="dot" x="493.5" y="12.0" width="10" height="10"/>
            </g>
            <text class="note" x="622.0" y="21.0" text-anchor="start">
            &lt;1&gt;</text>
            </svg>
        "#]]
        .assert_eq(&plot.replace('>', ">\n"));
    }

    #[test]
    fn void_is_said_in_words_and_text_is_escaped() {
        let bars = vec![("server", 1.0, "<&".to_owned(), false)];
        let plot = costs(&[Costs { label: "</svg>".to_owned(), is_void: true, bars }], "t");
        assert!(plot.contains("&lt;/svg&gt; (void)") && plot.contains("&lt;&amp;"), "{plot}");
        assert_eq!(plot.matches("</svg>").count(), 1);
    }
}
