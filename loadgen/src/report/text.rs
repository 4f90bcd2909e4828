//! Numbers as people read them.

/// A latency in µs with its unit, three digits.
pub fn time(us: f64) -> String {
    match us {
        us if us < 0.05 => "0".to_owned(),
        us if us < 1_000.0 => format!("{} µs", digits(us)),
        us if us < 1_000_000.0 => format!("{} ms", digits(us / 1e3)),
        us => format!("{} s", digits(us / 1e6)),
    }
}

/// A number with k, M or G, three digits.
pub fn count(number: f64) -> String {
    match number {
        number if number < 10_000.0 => digits(number),
        number if number < 1e6 => format!("{} k", digits(number / 1e3)),
        number if number < 1e9 => format!("{} M", digits(number / 1e6)),
        number => format!("{} G", digits(number / 1e9)),
    }
}

/// Bytes with a binary unit.
pub fn bytes(bytes: f64) -> String {
    match bytes {
        bytes if bytes < 10_240.0 => format!("{} B", digits(bytes)),
        bytes if bytes < 1_048_576.0 => format!("{} KiB", digits(bytes / 1024.0)),
        bytes => format!("{} MiB", digits(bytes / 1_048_576.0)),
    }
}

/// Nanoseconds of CPU with their unit.
pub fn cost(ns: Option<f64>) -> String {
    ns.map_or_else(
        || "-".to_owned(),
        |ns| if ns < 10_000.0 { format!("{} ns", digits(ns)) } else { time(ns / 1e3) },
    )
}

fn digits(number: f64) -> String {
    match number.abs() {
        it if it >= 100.0 || it == it.trunc() => format!("{number:.0}"),
        it if it >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        let times = [0.0, 0.7, 12.34, 999.0, 1_234.0, 2_500_000.0].map(time);
        assert_eq!(times, ["0", "0.70 µs", "12.3 µs", "999 µs", "1.23 ms", "2.50 s"]);
        assert_eq!([5.0, 9_999.0, 46_700.0, 5_123_000.0].map(count), ["5", "9999", "46.7 k", "5.12 M"]);
        assert_eq!([435.0, 20_480.0, 10_485_760.0].map(bytes), ["435 B", "20 KiB", "10 MiB"]);
        assert_eq!([Some(8_123.0), Some(57_000.0), None].map(cost), ["8123 ns", "57 µs", "-"]);
    }
}
