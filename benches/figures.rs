//! Distributions.

use std::time::Duration;

/// Median, 99th percentile and maximum of what was measured, in milliseconds.
pub fn summary(mut values: Vec<Duration>) -> String {
    values.sort_unstable();
    let milliseconds = |value: Duration| value.as_secs_f64() * 1000.0;
    let at = |share: f64| {
        let last = values.len() - 1;
        let index = (values.len() as f64 * share).ceil() as usize;
        milliseconds(values[index.saturating_sub(1).min(last)])
    };
    if values.is_empty() {
        return "nothing measured".to_owned();
    }
    format!(
        "n {:5}  p50 {:7.1} ms  p99 {:7.1} ms  max {:7.1} ms",
        values.len(),
        at(0.5),
        at(0.99),
        milliseconds(values[values.len() - 1])
    )
}
