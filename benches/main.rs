//! Measurements of the whole product: the program itself in processes of its own, on loopback, with real TLS.
//!
//! ```text
//! cargo bench --bench capif -- w3 [--keys N] [--upstream URL] [--seconds N]
//! cargo bench --bench capif -- s0 [--renewals N] [--invokers N] [--seed N]
//! cargo bench --bench capif -- roll [--invokers N] [--overlap SECONDS]
//! cargo bench --bench capif -- w5 [--seconds N] [--at-once N] [--rate-max N]
//! cargo bench --bench capif -- w6 [--seconds N] [--invokers N]
//! cargo bench --bench capif -- w7 [--apis N] [--seconds N] [--at-once N]
//! cargo bench --bench capif -- w8 [--gateways N] [--invokers N] [--trials N]
//! cargo bench --bench capif -- fanout [--subscribers N] [--events N]
//! cargo bench --bench capif -- w9 [--invokers N] [--starts N]
//! cargo bench --bench capif -- smoke
//! ```
//!
//! `smoke` runs those from w5 to w9 but w8 with small numbers, to see that they work. `CAPIF_PROGRAM` names another program to
//! measure than the one built beside this.
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

mod cores;

mod cuts;

mod discovery;

mod enrolment;

mod fan_out;

mod figures;

mod load;

mod onboarding;

mod people;

mod psk_connections;

mod renewals;

mod roll_over;

mod seed;

mod start;

mod time_to_refusal;

mod tokens;

mod wire;

use std::time::Duration;

use capif_ccf::config::Compat;

/// How long something that must happen is waited for.
const SOON: Duration = Duration::from_secs(30);

/// What is measured keeps to the standard.
fn compat() -> Compat {
    Compat::None
}

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
        Some((name, rest)) if name == "w5" => {
            runtime.block_on(onboarding::run(&arguments::Arguments::new(rest)));
        }
        Some((name, rest)) if name == "w6" => {
            runtime.block_on(tokens::run(&arguments::Arguments::new(rest)));
        }
        Some((name, rest)) if name == "w7" => {
            runtime.block_on(discovery::run(&arguments::Arguments::new(rest)));
        }
        Some((name, rest)) if name == "fanout" => {
            runtime.block_on(fan_out::run(&arguments::Arguments::new(rest)));
        }
        Some((name, rest)) if name == "w9" => {
            runtime.block_on(start::run(&arguments::Arguments::new(rest)));
        }
        Some((name, _)) if name == "smoke" => runtime.block_on(smoke()),
        Some((name, rest)) if name == "w8" => {
            runtime.block_on(time_to_refusal::run(&arguments::Arguments::new(rest)));
        }
        _ => println!(
            "name a workload: s0, roll, w3, w5, w6, w7, w8, fanout, w9 or smoke (see docs/PERFORMANCE.md)"
        ),
    }
    runtime.shutdown_background();
}

/// Runs what takes small numbers with small numbers.
async fn smoke() {
    let told = |words: &str| {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        arguments::Arguments::new(&words)
    };
    onboarding::run(&told("--seconds 1 --at-once 4")).await;
    tokens::run(&told("--seconds 1 --invokers 4")).await;
    discovery::run(&told("--seconds 1 --apis 1000 --at-once 2")).await;
    fan_out::run(&told("--subscribers 20 --events 3")).await;
    start::run(&told("--invokers 1000 --starts 2")).await;
}
