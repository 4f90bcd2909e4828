//! HdrHistogram's own formats: .hgrm (percentile distribution) and .hlog (interval log).

use crate::outcome::{Measure, Outcome};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Steps of the distribution for each halving of what is left, as the Java tools have it.
const TICKS_PER_HALF: u32 = 5;

/// Writes FILE-response.hgrm and so on, and FILE.hlog with a line for each latency. Values are in µs in the
/// first and in ns in the second, as is usual for each.
pub fn write(
    stem: &Path,
    outcome: &mut Outcome,
    started_unix_s: u64,
    seconds: f64,
) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut log = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment("[loadgen, values in ns]")
        .with_start_time(std::time::UNIX_EPOCH + Duration::from_secs(started_unix_s))
        .with_max_value_divisor(1_000_000.0)
        .begin_log_with(&mut log, &mut serializer)?;
    for measure in Measure::ALL {
        let Some(latency) = outcome.latency.get_mut(&measure) else { continue };
        if latency.count() == 0 {
            continue;
        }
        let histogram = latency.histogram();
        let path = with_suffix(stem, &format!("-{}.hgrm", measure.name()));
        fs::write(&path, hgrm(histogram))?;
        files.push(path);
        writer
            .write_histogram(
                histogram,
                Duration::ZERO,
                Duration::from_secs_f64(seconds),
                Tag::new(measure.name()),
            )
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
    }
    let path = with_suffix(stem, ".hlog");
    fs::write(&path, log)?;
    files.push(path);
    Ok(files)
}

fn with_suffix(stem: &Path, suffix: &str) -> PathBuf {
    let mut name = stem.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The percentile distribution as HdrHistogram's Java and C tools print it, in µs.
fn hgrm(histogram: &Histogram<u64>) -> String {
    let mut out =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut count = 0;
    for it in histogram.iter_quantiles(TICKS_PER_HALF) {
        let (value, quantile) = (it.value_iterated_to() as f64 / 1e3, it.quantile_iterated_to());
        count += it.count_since_last_iteration();
        // Writing to a String cannot fail.
        let _ = if quantile < 1.0 {
            writeln!(out, "{value:12.3} {quantile:14.12} {count:10} {:14.2}", 1.0 / (1.0 - quantile))
        } else {
            writeln!(out, "{value:12.3} {quantile:14.12} {count:10}")
        };
    }
    let _ = writeln!(
        out,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n#[Max     = {:12.3}, Total count    = {:12}]\n#[Buckets = {:12}, SubBuckets     = {:12}]",
        histogram.mean() / 1e3,
        histogram.stdev() / 1e3,
        histogram.max() as f64 / 1e3,
        histogram.len(),
        histogram.buckets(),
        2048
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    fn outcome() -> Outcome {
        let mut outcome = Outcome::default();
        let response = outcome.latency.entry(Measure::Response).or_default();
        [10_000, 20_000, 20_000, 4_000_000].into_iter().for_each(|ns| response.record(ns));
        outcome
    }

    #[test]
    fn a_distribution_is_as_hdrhistograms_tools_print_it() {
        let text = hgrm(outcome().latency.get_mut(&Measure::Response).unwrap().histogram());
        expect![[r#"
                   Value     Percentile TotalCount 1/(1-Percentile)

                  10.047 0.000000000000          1           1.00
                  10.047 0.100000000000          1           1.11
                  10.047 0.200000000000          1           1.25
                  20.031 0.300000000000          3           1.43
                  20.031 0.400000000000          3           1.67
                  20.031 0.500000000000          3           2.00
                  20.031 0.550000000000          3           2.22
                  20.031 0.600000000000          3           2.50
                  20.031 0.650000000000          3           2.86
                  20.031 0.700000000000          3           3.33
                4001.791 0.750000000000          4           4.00
                4001.791 1.000000000000          4
            #[Mean    =     1012.696, StdDeviation   =     1725.169]
            #[Max     =     4001.791, Total count    =            4]
            #[Buckets =           26, SubBuckets     =         2048]
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn a_log_is_read_back_by_the_crate() {
        let stem = std::env::temp_dir().join(format!("loadgen-hdr-{}", std::process::id()));
        let files = write(&stem, &mut outcome(), 1_700_000_000, 2.5).unwrap();
        let log = fs::read(files.last().unwrap()).unwrap();
        let entries: Vec<_> = IntervalLogIterator::new(&log).collect::<Result<_, _>>().unwrap();
        let intervals: Vec<_> = entries
            .iter()
            .filter_map(|entry| if let LogEntry::Interval(it) = entry { Some(it) } else { None })
            .collect();
        assert_eq!(intervals.len(), 1);
        assert_eq!(intervals[0].tag().unwrap().as_str(), "response");
        assert_eq!(intervals[0].duration(), Duration::from_millis(2_500));
        let bytes = base64(intervals[0].encoded_histogram());
        let back: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        assert_eq!(back.len(), 4);
        files.iter().for_each(|file| fs::remove_file(file).unwrap());
    }

    /// Plain base64, which the log's histograms are in.
    fn base64(text: &str) -> Vec<u8> {
        const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
        for digit in text.chars().filter_map(|it| ALPHABET.find(it)) {
            bits = bits << 6 | digit as u32;
            count += 6;
            if count >= 8 {
                count -= 8;
                bytes.push((bits >> count) as u8);
            }
        }
        bytes
    }
}
