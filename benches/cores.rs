//! The server has one processor to itself, the load the others; and what the server uses of its own.
//!
//! Processors are chosen by `taskset` (util-linux). Where there is only one, or no such program, both share what there is, and
//! only figures per second of the server's processor time mean anything.

use std::{process::Command, sync::OnceLock, thread::available_parallelism, time::Duration};

use crate::process::{Machine, Service};

/// Clock ticks in which Linux counts processor time.
const TICKS_PER_SECOND: f64 = 100.0;

/// The processor of the server.
const SERVER: &str = "0";

/// Keeps this process, and what it starts from now on, to some processors.
fn keep_to(processors: &str) -> bool {
    let own = std::process::id().to_string();
    let outcome = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", processors, &own])
        .output();
    outcome.is_ok_and(|output| output.status.success())
}

/// The processors of the load, once they are shared out; none if there is nothing to share out.
static LOAD: OnceLock<Option<String>> = OnceLock::new();

/// The processors of a machine, shared out.
pub struct Cores {
    load: Option<String>,
}

impl Cores {
    /// Shares them out. This process is the load.
    pub fn new() -> Self {
        // Once, since afterwards this process sees its share alone.
        let load = LOAD.get_or_init(|| {
            let all = available_parallelism().map_or(1, |all| all.get());
            let load = (all > 1).then(|| format!("1-{}", all - 1));
            load.filter(|load| keep_to(load))
        });
        if load.is_none() {
            println!(
                "server and load share the processors: compare figures per processor second only"
            );
        }
        let load = load.clone();
        Self { load }
    }

    /// Starts the core function on the server's processor, of which alone it knows.
    pub async fn core_function(&self, machine: &mut Machine) -> Service {
        without_bounds(machine);
        let Some(load) = &self.load else {
            return machine.core_function().await;
        };
        keep_to(SERVER);
        let service = machine.core_function().await;
        keep_to(load);
        service
    }
}

/// Lifts the bounds on requests of core functions that are started from now on: the load comes from fewer callers than it stands for.
pub fn without_bounds(machine: &mut Machine) {
    for key in [
        "INVOKER_REQUESTS_PER_SECOND",
        "FUNCTION_REQUESTS_PER_SECOND",
        "ANONYMOUS_REQUESTS_PER_SECOND",
        "REQUESTS_AT_ONCE",
    ] {
        machine.set(&format!("CAPIF_LIMITS__{key}"), "0");
    }
}

/// What a process uses.
#[derive(Clone, Copy)]
pub struct Meter(u32);

impl Meter {
    pub fn of(service: &Service) -> Self {
        Self(service.id())
    }

    /// Its processor time so far, user and system.
    pub fn processor(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap();
        // The name of the program may hold anything, but ends with the last bracket.
        let (_, rest) = stat.rsplit_once(')').unwrap();
        let ticks: f64 = rest
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<f64>().unwrap())
            .sum();
        Duration::from_secs_f64(ticks / TICKS_PER_SECOND)
    }

    /// Its private memory in KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .unwrap();
        let number = line.split_whitespace().next().unwrap();
        number.parse().unwrap()
    }
}
