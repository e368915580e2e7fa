//! Measurements of the whole product: the program itself in processes of its own, on loopback, with real TLS.
//!
//! ```text
//! cargo bench --bench capif -- w3 [--keys N] [--upstream URL] [--seconds N]
//! cargo bench --bench capif -- s0 [--renewals N] [--invokers N] [--seed N]
//! cargo bench --bench capif -- roll [--invokers N] [--overlap SECONDS]
//! cargo bench --bench capif -- w8 [--gateways N] [--invokers N] [--trials N]
//! ```
//!
//! What the workloads are and what they gave stands in `docs/PERFORMANCE.md`.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement that cannot go on ends, and its result is what it prints"
)]
#![expect(unreachable_pub, reason = "a benchmark has no outside")]

#[expect(dead_code, reason = "shared with the tests, which use more of it")]
#[path = "../tests/support/process.rs"]
mod process;

mod arguments;

mod cuts;

mod enrolment;

mod figures;

mod psk_connections;

mod renewals;

mod roll_over;

mod time_to_refusal;

use std::time::Duration;

/// How long something that must happen is waited for.
const SOON: Duration = Duration::from_secs(30);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    // `cargo bench` adds a flag of its own.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    match words.split_first() {
        Some((name, rest)) if name == "s0" => {
            runtime.block_on(renewals::run(&arguments::Arguments::new(rest)));
        }
        Some((name, rest)) if name == "roll" => {
            runtime.block_on(roll_over::run(&arguments::Arguments::new(rest)));
        }
        Some((name, rest)) if name == "w3" => {
            runtime.block_on(psk_connections::run(&arguments::Arguments::new(rest)));
        }
        Some((name, rest)) if name == "w8" => {
            runtime.block_on(time_to_refusal::run(&arguments::Arguments::new(rest)));
        }
        _ => println!("name a workload: s0, roll, w3 or w8 (see docs/PERFORMANCE.md)"),
    }
    runtime.shutdown_background();
}
