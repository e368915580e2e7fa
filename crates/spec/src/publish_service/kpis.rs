//! What a service can bear.

use crate::checked::{Checked, Violation};

object! {
    /// What a service can bear, as its provider says.
    #[derive(Default)]
    pub struct ServiceKpis {
        /// Requests per second.
        pub max_req_rate: Option<u64>,
        /// The longest response time in seconds.
        pub max_restime: Option<u64>,
        /// Availability in percent.
        pub availability: Option<u64>,
        /// Computing power: a number and `kFLOPS` to `ZFLOPS`.
        pub aval_comp: Option<String>,
        /// Graphical computing power, in the same form.
        pub aval_gra_comp: Option<String>,
        /// Memory: a number and `KB` to `YB`.
        pub aval_mem: Option<String>,
        /// Storage, in the same form.
        pub aval_stor: Option<String>,
        /// Bandwidth in kilobits per second.
        pub con_band: Option<u64>,
    }
}

const FLOPS: [&str; 7] = [
    "kFLOPS", "MFLOPS", "GFLOPS", "TFLOPS", "PFLOPS", "EFLOPS", "ZFLOPS",
];
const BYTES: [&str; 8] = ["KB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];

impl Checked for ServiceKpis {
    fn check(&self) -> Result<(), Violation> {
        quantity("avalComp", self.aval_comp.as_deref(), &FLOPS)?;
        quantity("avalGraComp", self.aval_gra_comp.as_deref(), &FLOPS)?;
        quantity("avalMem", self.aval_mem.as_deref(), &BYTES)?;
        quantity("avalStor", self.aval_stor.as_deref(), &BYTES)
    }
}

/// Checks that a text is a decimal number, one blank and one of the units.
fn quantity(member: &str, text: Option<&str>, units: &[&str]) -> Result<(), Violation> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let holds = text.is_none_or(|text| {
        text.split_once(' ').is_some_and(|(number, unit)| {
            let number = match number.split_once('.') {
                Some((whole, fraction)) => digits(whole) && digits(fraction),
                None => digits(number),
            };
            number && units.contains(&unit)
        })
    });
    if holds {
        return Ok(());
    }
    Err(Violation::new(
        format!("/{member}"),
        format!(
            "`{member}` is a number, a blank and one of {}",
            units.join(", ")
        ),
    ))
}
