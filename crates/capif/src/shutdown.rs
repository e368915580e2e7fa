//! How a service is told to end.

use std::{future::Future, io, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    exit::{Exit, Failure},
    output,
};

/// How long what is under way may take once the end was asked for. Ending what is left then takes up to a second more, and all of
/// it together no more than ten (P-42).
pub(crate) const GRACE: Duration = Duration::from_secs(9);

/// SIGTERM and SIGINT.
pub(crate) struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
}

impl Shutdown {
    /// Listens for the signals from now on, so that one that comes during the start is not lost.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = || -> io::Result<Self> {
            Ok(Self {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            })
        };
        listen().map_err(|error| Failure::of(Exit::Usage, &error))
    }

    /// Waits until the end is asked for.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Lets a service come to its end; whoever asks once more does not want to wait.
    pub(crate) async fn drain(&mut self, ending: impl Future<Output = ()>) {
        output::note("stopping: what is under way is finished first, within 10 seconds");
        tokio::select! {
            () = ending => {}
            () = self.asked() => {}
        }
    }
}
