//! Whose invoker certificates count (TS 33.122 clause 6.5.2.2): the roots that the CAPIF core function hands out with the contexts,
//! as they are now, without a restart (D-28).
//!
//! Only what came over the connection on which both sides proved themselves is believed. The roots by which the core function
//! itself is known stay as well, since it calls this listener too; a certificate of an invoker counts only if it is, to the
//! last octet, the one that the context names, so that more roots let nobody in.

use std::sync::{Arc, Mutex, PoisonError};

use capif_transport::{Acceptor, Anchors};
use tokio::time::Instant;

/// How many roots are believed at most.
const ANCHORS_MAX: usize = 16;

/// The roots of invokers' certificates, and where they are used.
pub(crate) struct Trust {
    /// Those of the core function itself.
    registered: Anchors,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was told last, in order.
    told: Vec<String>,
    /// When the answer with it was asked for.
    asked: Option<Instant>,
    acceptor: Option<Arc<Acceptor>>,
}

impl Trust {
    pub(crate) fn new(registered: Anchors) -> Self {
        Self {
            registered,
            state: Mutex::default(),
        }
    }

    /// Makes a listener follow.
    pub(crate) fn lead(&self, acceptor: Arc<Acceptor>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.acceptor = Some(acceptor);
        self.apply(&state);
    }

    /// Takes over the roots of an answer that was asked for at this moment. An older answer changes nothing.
    pub(crate) fn believe(&self, mut anchors: Vec<String>, asked: Instant) {
        anchors.sort_unstable();
        anchors.dedup();
        if anchors.len() > ANCHORS_MAX {
            tracing::error!(
                anchors = anchors.len(),
                "the CAPIF core function names too many roots; none of them is taken"
            );
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.asked.is_some_and(|last| asked < last) {
            return;
        }
        state.asked = Some(asked);
        if state.told == anchors {
            return;
        }
        state.told = anchors;
        self.apply(&state);
    }

    fn apply(&self, state: &State) {
        let Some(acceptor) = &state.acceptor else {
            return;
        };
        let own = self.registered.pem();
        let all = std::iter::once(own.as_str()).chain(state.told.iter().map(String::as_str));
        let outcome = Anchors::from_pems(all).and_then(|anchors| {
            let roots = anchors.fingerprints();
            acceptor.set_anchors(anchors).map(|()| roots)
        });
        match outcome {
            Ok(roots) => tracing::debug!(?roots, "roots of invokers' certificates"),
            // What was believed before still is.
            Err(error) => {
                tracing::error!(%error, "the roots that the CAPIF core function names cannot be used");
            }
        }
    }
}

#[cfg(test)]
mod tests;
