//! Invocation logs (TS 23.222 clause 8.19): one entry per call, sent to the CCF in batches.
//!
//! Entries wait in memory. When the CCF cannot be reached they are kept up to a bound, and what goes beyond it is counted and
//! said in an alarm, never a reason to hold up a call.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use capif_client::Provider;
use capif_spec::{
    common::{AefId, ApiInvokerId},
    logging::{InvocationLog, Log},
};
use tokio::sync::{mpsc, watch};

/// How many entries wait at most.
const WAITING_MAX: usize = 50_000;

/// How many entries one report holds.
const REPORT_MAX: usize = 500;

/// How long an entry waits for others.
const PERIOD: Duration = Duration::from_millis(500);

/// The longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// How often the last entries are offered again when the gateway ends.
const LAST_ATTEMPTS: u32 = 3;

/// The pause before each.
const LAST_PAUSE: Duration = Duration::from_millis(200);

type Entry = (ApiInvokerId, Log);

/// Where calls are noted.
#[derive(Clone)]
pub(crate) struct CallLog {
    sender: mpsc::Sender<Entry>,
    lost: Arc<AtomicU64>,
}

impl CallLog {
    /// Makes a log and the task that sends it, which ends once `stopped` says so and all was tried.
    pub(crate) fn start(
        provider: Arc<Provider>,
        aef_id: AefId,
        stopped: watch::Receiver<bool>,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let task = Sender {
            provider,
            aef_id,
            lost: Arc::clone(&lost),
        };
        let handle = tokio::spawn(task.run(receiver, stopped));
        (Self { sender, lost }, handle)
    }

    /// Notes a call.
    pub(crate) fn note(&self, invoker: ApiInvokerId, log: Log) {
        if self.sender.try_send((invoker, log)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Sender {
    provider: Arc<Provider>,
    aef_id: AefId,
    lost: Arc<AtomicU64>,
}

impl Sender {
    async fn run(self, mut receiver: mpsc::Receiver<Entry>, mut stopped: watch::Receiver<bool>) {
        let mut waiting: VecDeque<Entry> = VecDeque::new();
        let mut pause = PERIOD;
        loop {
            let ending = tokio::select! {
                () = tokio::time::sleep(pause) => false,
                _ = stopped.wait_for(|stopped| *stopped) => true,
            };
            while waiting.len() < WAITING_MAX
                && let Ok(entry) = receiver.try_recv()
            {
                waiting.push_back(entry);
            }
            let mut sent = self.send_all(&mut waiting).await;
            if ending {
                // The first attempt may have met a connection that had died meanwhile.
                for _ in 0..LAST_ATTEMPTS {
                    if sent {
                        break;
                    }
                    tokio::time::sleep(LAST_PAUSE).await;
                    sent = self.send_all(&mut waiting).await;
                }
            }
            pause = if sent {
                PERIOD
            } else {
                (pause * 2).min(PAUSE_MAX)
            };
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                tracing::error!(target: "capif::alarm", lost, "invocation log entries were lost: the CAPIF core function takes none");
            }
            if ending {
                if !waiting.is_empty() {
                    tracing::error!(target: "capif::alarm", lost = waiting.len(), "invocation log entries were not delivered before the end");
                }
                return;
            }
        }
    }

    /// Sends what waits, the entries of one invoker together; what is not taken goes on waiting.
    async fn send_all(&self, waiting: &mut VecDeque<Entry>) -> bool {
        while !waiting.is_empty() {
            let mut reports: HashMap<ApiInvokerId, Vec<Log>> = HashMap::new();
            let batch: Vec<Entry> = waiting.drain(..waiting.len().min(REPORT_MAX)).collect();
            for (invoker, log) in batch {
                reports.entry(invoker).or_default().push(log);
            }
            let mut failed = false;
            for (api_invoker_id, logs) in reports {
                let report = InvocationLog {
                    aef_id: self.aef_id.clone(),
                    api_invoker_id,
                    logs,
                    supported_features: None,
                    extra: Default::default(),
                };
                let outcome = if failed {
                    None
                } else {
                    Some(self.provider.send_log(&report).await)
                };
                match outcome {
                    Some(Ok(())) => {}
                    Some(Err(error)) if is_final(&error) => {
                        tracing::error!(%error, entries = report.logs.len(), "invocation log entries were refused");
                    }
                    other => {
                        if let Some(Err(error)) = other {
                            tracing::warn!(%error, "invocation log entries wait");
                        }
                        failed = true;
                        for log in report.logs {
                            waiting.push_front((report.api_invoker_id.clone(), log));
                        }
                    }
                }
            }
            if failed {
                return false;
            }
        }
        true
    }
}

/// Whether repeating the report is pointless: the CCF understood it and said no for good.
fn is_final(error: &capif_client::Error) -> bool {
    let status = error.problem().and_then(|problem| problem.status);
    matches!(status, Some(400 | 403 | 404 | 413 | 415))
}
