//! Runs steps and tells what became of them.

use std::{fmt::Display, future::Future, time::Duration};

use serde::Serialize;
use tokio::time::Instant;

use super::Output;
use crate::{
    exit::{Exit, Failure},
    output,
};

/// The longest that one step may take.
const STEP_TIME_MAX: Duration = Duration::from_secs(15);

/// Where steps are played.
pub(super) struct Stage {
    output: Output,
    begun: Instant,
    count: usize,
    failed: usize,
}

/// A step as `--output ndjson` writes it.
#[derive(Serialize)]
struct Report<'a> {
    step: &'a str,
    clause: &'a str,
    ok: bool,
    ms: u128,
    detail: &'a str,
}

impl Stage {
    pub(super) fn new(output: Output) -> Self {
        Self {
            output,
            begun: Instant::now(),
            count: 0,
            failed: 0,
        }
    }

    /// Says what is about to happen.
    pub(super) fn open(&self, folder: &str) -> Result<(), Failure> {
        self.say(&format!(
            "CAPIF on loopback, with real sockets and TLS, in {folder}, which is removed at the end"
        ))
    }

    /// Begins a group of steps.
    pub(super) fn chapter(&self, title: &str) -> Result<(), Failure> {
        self.say(&format!("\n{title}"))
    }

    /// Plays a step: `work` says what was seen, or why that is not what the clause asks for. A step whose ground is missing,
    /// because an earlier one failed, fails as well.
    pub(super) async fn step(
        &mut self,
        part: &str,
        name: &str,
        clause: &str,
        work: impl Future<Output = anyhow::Result<String>>,
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        let outcome = tokio::time::timeout(STEP_TIME_MAX, work).await;
        let ms = begun.elapsed().as_millis();
        let (ok, detail) = match outcome {
            Ok(Ok(detail)) => (true, detail),
            Ok(Err(error)) => (false, format!("{error:#}")),
            Err(_) => (
                false,
                format!("not done within {} seconds", STEP_TIME_MAX.as_secs()),
            ),
        };
        self.count += 1;
        self.failed += usize::from(!ok);
        let step = format!("{part}: {name}");
        match self.output {
            Output::Text => {
                let verdict = if ok { "ok" } else { "FAILED" };
                output::line(&format!(
                    "{:>3}. {verdict:<6} {step} ({clause}, {ms} ms)\n            {}",
                    self.count,
                    output::plain(&detail)
                ))
            }
            Output::Ndjson => {
                let report = Report {
                    step: &step,
                    clause,
                    ok,
                    ms,
                    detail: &detail,
                };
                let line = serde_json::to_string(&report)
                    .map_err(|error| Failure::of(Exit::Usage, &error))?;
                output::line(&line)
            }
        }
    }

    /// Says how it went.
    pub(super) fn close(self) -> Result<Exit, Failure> {
        let seconds = self.begun.elapsed().as_secs_f32();
        if self.failed == 0 {
            self.say(&format!(
                "\nall {} steps held, in {seconds:.1} s",
                self.count
            ))?;
            Ok(Exit::Done)
        } else {
            self.say(&format!(
                "\n{} of {} steps FAILED, in {seconds:.1} s",
                self.failed, self.count
            ))?;
            Ok(Exit::Refused)
        }
    }

    fn say(&self, line: &str) -> Result<(), Failure> {
        match self.output {
            Output::Text => output::line(line),
            Output::Ndjson => Ok(()),
        }
    }
}

/// What is missing when a step stands on one that failed.
pub(super) fn missing(what: impl Display) -> anyhow::Error {
    anyhow::anyhow!("{what} is missing, since an earlier step failed")
}

/// Waits until something holds, for a few seconds at most.
pub(super) async fn eventually(
    what: &str,
    mut holds: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<Duration> {
    const PATIENCE: Duration = Duration::from_secs(5);
    const PAUSE: Duration = Duration::from_millis(10);
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if holds().await? {
            return Ok(begun.elapsed());
        }
        tokio::time::sleep(PAUSE).await;
    }
    anyhow::bail!(
        "{what} did not come about within {} seconds",
        PATIENCE.as_secs()
    )
}
