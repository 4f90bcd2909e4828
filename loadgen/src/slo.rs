//! Objectives such as `p99<1ms` or `skew.p99.9<=5ms`.

use crate::outcome::Measure;
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    pub text: String,
    pub measure: Measure,
    /// 0 to 1.
    pub quantile: f64,
    pub limit_us: f64,
}

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Slo, String> {
        let wrong = || format!("{text}: an SLO is like p99<1ms, max<50ms or skew.p99.9<5ms");
        let (left, limit) = text.split_once('<').ok_or_else(wrong)?;
        let limit = limit.trim_start_matches('=').trim();
        let limit_us = humantime::parse_duration(limit).map_err(|_| wrong())?.as_secs_f64() * 1e6;
        let left = left.trim();
        let named = Measure::ALL
            .iter()
            .find_map(|it| left.strip_prefix(it.name())?.strip_prefix('.').map(|q| (*it, q)));
        let (measure, quantile) = named.unwrap_or((Measure::Response, left));
        let quantile = match quantile {
            "max" => 1.0,
            _ => {
                let percent: f64 =
                    quantile.strip_prefix('p').and_then(|it| it.parse().ok()).ok_or_else(wrong)?;
                percent / 100.0
            }
        };
        if !(0.0..=1.0).contains(&quantile) {
            return Err(wrong());
        }
        Ok(Slo { text: text.to_owned(), measure, quantile, limit_us })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_slo_is_a_measure_a_quantile_and_a_limit() {
        let read = |text: &str| text.parse::<Slo>().map(|it| (it.measure, it.quantile, it.limit_us));
        assert_eq!(read("p99<1ms"), Ok((Measure::Response, 0.99, 1_000.0)));
        assert_eq!(read("service.p50 <= 250us"), Ok((Measure::Service, 0.5, 250.0)));
        assert_eq!(read("start_spread.max<30ms"), Ok((Measure::StartSpread, 1.0, 30_000.0)));
        let (_, quantile, _) = read("skew.p99.9<5ms").unwrap();
        assert!((quantile - 0.999).abs() < 1e-9);
        for wrong in ["p99", "p99<", "p101<1ms", "q<1ms", "p99<fast"] {
            assert!(read(wrong).unwrap_err().contains("an SLO is like"), "{wrong}");
        }
    }
}
