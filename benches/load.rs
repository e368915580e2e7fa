//! Load: many at once, either each as fast as it is answered, or all together at a fixed rate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{cores::Meter, figures::summary};

/// What one of many does again and again.
pub trait Worker: Send + 'static {
    /// Does it once; whether it went well, or `None` when there is nothing left to do.
    fn turn(&mut self) -> impl Future<Output = Option<bool>> + Send;
}

const WARM: u8 = 0;
const MEASURED: u8 = 1;
const OVER: u8 = 2;

/// What came of it.
pub struct Outcome {
    pub done: u64,
    pub failed: u64,
    pub latencies: Vec<Duration>,
    pub wall: Duration,
    /// The processor time of the server.
    pub processor: Duration,
}

impl Outcome {
    pub fn per_second(&self) -> f64 {
        self.done as f64 / self.wall.as_secs_f64()
    }

    /// Per second of the server's processor time.
    pub fn per_processor_second(&self) -> f64 {
        self.done as f64 / self.processor.as_secs_f64().max(0.01)
    }

    pub fn print(self, what: &str) {
        assert!(
            self.done > self.failed,
            "{what}: {} of {} failed",
            self.failed,
            self.done
        );
        println!(
            "{what}: {:.0}/s, {:.0} per processor second of the server ({:.0} % of it used), {} failed",
            self.per_second(),
            self.per_processor_second(),
            100.0 * self.processor.as_secs_f64() / self.wall.as_secs_f64(),
            self.failed
        );
        println!("  {}", summary(self.latencies));
    }
}

/// Each works as fast as it can: first to warm up, then measured.
pub async fn closed<W: Worker>(
    workers: Vec<W>,
    meter: Meter,
    warm: Duration,
    time: Duration,
) -> (Outcome, Vec<W>) {
    let phase = Arc::new(AtomicU8::new(WARM));
    let tasks: Vec<_> = workers
        .into_iter()
        .map(|mut worker| {
            let phase = Arc::clone(&phase);
            tokio::spawn(async move {
                let (mut failed, mut latencies) = (0, Vec::new());
                while phase.load(Ordering::Relaxed) != OVER {
                    let begun = Instant::now();
                    let Some(good) = worker.turn().await else {
                        break;
                    };
                    if phase.load(Ordering::Relaxed) == MEASURED {
                        failed += u64::from(!good);
                        latencies.push(begun.elapsed());
                    }
                }
                (worker, failed, latencies)
            })
        })
        .collect();
    tokio::time::sleep(warm).await;
    let (begun, processor) = (Instant::now(), meter.processor());
    phase.store(MEASURED, Ordering::Relaxed);
    tokio::time::sleep(time).await;
    phase.store(OVER, Ordering::Relaxed);
    let (wall, processor) = (begun.elapsed(), meter.processor() - processor);
    finish(tasks, wall, processor).await
}

/// All together begin `rate` turns a second. What is begun late counts from when it was due.
pub async fn paced<W: Worker>(
    workers: Vec<W>,
    meter: Meter,
    rate: f64,
    time: Duration,
) -> (Outcome, Vec<W>) {
    let next = Arc::new(AtomicU64::new(0));
    let (begun, processor) = (Instant::now(), meter.processor());
    let tasks: Vec<_> = workers
        .into_iter()
        .map(|mut worker| {
            let next = Arc::clone(&next);
            tokio::spawn(async move {
                let (mut failed, mut latencies) = (0, Vec::new());
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let after = Duration::from_secs_f64(number as f64 / rate);
                    if after > time {
                        break;
                    }
                    let due = begun + after;
                    tokio::time::sleep_until(due.into()).await;
                    // Timers have milliseconds; what is begun within one of them is in time.
                    let from = due.max(Instant::now() - Duration::from_millis(1));
                    let Some(good) = worker.turn().await else {
                        break;
                    };
                    failed += u64::from(!good);
                    latencies.push(from.elapsed());
                }
                (worker, failed, latencies)
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    let (wall, processor) = (begun.elapsed(), meter.processor() - processor);
    finish(tasks, wall, processor).await
}

async fn finish<W>(
    tasks: Vec<tokio::task::JoinHandle<(W, u64, Vec<Duration>)>>,
    wall: Duration,
    processor: Duration,
) -> (Outcome, Vec<W>) {
    let mut outcome = Outcome {
        done: 0,
        failed: 0,
        latencies: Vec::new(),
        wall,
        processor,
    };
    let mut workers = Vec::new();
    for task in tasks {
        let (worker, failed, latencies) = task.await.unwrap();
        outcome.failed += failed;
        outcome.latencies.extend(latencies);
        workers.push(worker);
    }
    outcome.done = outcome.latencies.len() as u64 - outcome.failed;
    (outcome, workers)
}
