//! What a service can bear, against what is asked of it.

use capif_spec::publish_service::ServiceKpis;

/// Whether an offer is at least as good as what is wanted.
///
/// Choice: TS 29.222 leaves open what a match is. An offer meets a wish if it is no worse: no lower, or for the response time no
/// longer. What is not offered is not known to be good enough.
pub(super) fn suffices(wanted: &ServiceKpis, offered: Option<&ServiceKpis>) -> bool {
    let Some(offered) = offered else {
        return *wanted == ServiceKpis::default();
    };
    let more = |wanted: Option<u64>, offered: Option<u64>| {
        wanted.is_none_or(|wanted| offered.is_some_and(|offered| offered >= wanted))
    };
    let less = |wanted: Option<u64>, offered: Option<u64>| {
        wanted.is_none_or(|wanted| offered.is_some_and(|offered| offered <= wanted))
    };
    let much = |wanted: Option<&String>, offered: Option<&String>| {
        wanted.is_none_or(|wanted| {
            let quantities = (
                Quantity::of(wanted),
                offered.and_then(|it| Quantity::of(it)),
            );
            matches!(quantities, (Some(wanted), Some(offered)) if offered >= wanted)
        })
    };
    more(wanted.max_req_rate, offered.max_req_rate)
        && less(wanted.max_restime, offered.max_restime)
        && more(wanted.availability, offered.availability)
        && much(wanted.aval_comp.as_ref(), offered.aval_comp.as_ref())
        && much(
            wanted.aval_gra_comp.as_ref(),
            offered.aval_gra_comp.as_ref(),
        )
        && much(wanted.aval_mem.as_ref(), offered.aval_mem.as_ref())
        && much(wanted.aval_stor.as_ref(), offered.aval_stor.as_ref())
        && more(wanted.con_band, offered.con_band)
}

/// A quantity in basic units, roughly.
pub(super) fn roughly(text: &str) -> Option<f32> {
    let (number, unit) = text.split_once(' ')?;
    let thousands = thousands(unit)?;
    let number: f64 = number.parse().ok()?;
    Some((number * 1000_f64.powi(thousands)) as f32)
}

/// How many times a unit is a thousand basic ones, by its prefix.
fn thousands(unit: &str) -> Option<i32> {
    let prefix = unit.chars().next()?.to_ascii_lowercase();
    let place = "kmgtpezy".find(prefix)?;
    i32::try_from(place + 1).ok()
}

/// A decimal number in basic units, exactly. The order of the members makes the order of quantities.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Quantity {
    places: usize,
    /// The digits before the point, without zeros in front.
    whole: String,
    /// The digits after the point, without zeros at the end.
    fraction: String,
}

impl Quantity {
    /// Reads `12.5 GFLOPS` or `3 KB`. Each prefix is a thousand times the one before.
    fn of(text: &str) -> Option<Self> {
        let (number, unit) = text.split_once(' ')?;
        let thousands = thousands(unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let mut digits = fraction.chars();
        let mut shifted = whole.to_owned();
        shifted.extend((0..3 * thousands).map(|_| digits.next().unwrap_or('0')));
        let whole = shifted.trim_start_matches('0').to_owned();
        Some(Self {
            places: whole.len(),
            whole,
            fraction: digits.as_str().trim_end_matches('0').to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantities compare by what they say, not by how it is written.
    #[test]
    fn quantities() {
        let ascending = [
            "0 KB",
            "0.0004 KB",
            "0.5 KB",
            "0.51 KB",
            "1 KB",
            "999.999 KB",
            "1 MB",
            "1000.0001 KB",
            "12 MB",
            "100 MB",
            "0.2 GB",
            "123456789012345678901234567890 YB",
        ];
        for (index, low) in ascending.iter().enumerate() {
            for high in &ascending[index + 1..] {
                assert!(Quantity::of(low) < Quantity::of(high), "{low} {high}");
            }
        }
        for (one, other) in [
            ("1000 KB", "1 MB"),
            ("0.0010 GB", "01 MB"),
            ("1.50 TFLOPS", "1500 GFLOPS"),
            ("0 KB", "0.00 YB"),
        ] {
            assert_eq!(Quantity::of(one), Quantity::of(other));
        }
        for text in ["", "5", "5 ", "5 xB"] {
            assert_eq!(Quantity::of(text), None);
        }
    }
}
