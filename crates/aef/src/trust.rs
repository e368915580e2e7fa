//! Whose invoker certificates count (TS 33.122 clause 6.5.2.2): the roots that the CAPIF core function names, as they are now,
//! without a restart (D-28).
//!
//! One that keeps a list of its roots is taken at its word: those, and nobody else. Of another one, those that it hands out with
//! the contexts count, and the ones by which it is known itself, since it calls this listener too.
//!
//! Only what came over the connection on which both sides proved themselves is believed. A certificate of an invoker counts only
//! if it is, to the last octet, one that the context names, so that more roots let nobody in.

use std::sync::{Arc, Mutex, PoisonError};

use capif_transport::{Acceptor, Anchors};
use tokio::time::Instant;

/// How many roots are believed at most.
const ANCHORS_MAX: usize = 16;

/// The roots of invokers' certificates, and where they are used.
pub(crate) struct Trust {
    state: Mutex<State>,
}

struct State {
    /// Those of the core function itself.
    own: Anchors,
    /// Whether these are all, because it said so.
    listed: bool,
    /// What was told with a context last, in order.
    told: Vec<String>,
    /// When the answer with it was asked for.
    asked: Option<Instant>,
    acceptor: Option<Arc<Acceptor>>,
}

impl Trust {
    pub(crate) fn new(registered: Anchors) -> Self {
        Self {
            state: Mutex::new(State {
                own: registered,
                listed: false,
                told: Vec::new(),
                asked: None,
                acceptor: None,
            }),
        }
    }

    /// Takes over the list of roots, which from now on are all that count.
    pub(crate) fn follow(&self, anchors: Anchors) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = (
            state.listed,
            state.own.fingerprints(),
            state.own.distrusted_keys().to_vec(),
        );
        let after = (
            true,
            anchors.fingerprints(),
            anchors.distrusted_keys().to_vec(),
        );
        if before == after {
            return;
        }
        state.own = anchors;
        state.listed = true;
        self.apply(&state);
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
        if state.listed {
            return;
        }
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
        let all = if state.listed {
            Ok(state.own.clone())
        } else {
            let own = state.own.pem();
            let all = std::iter::once(own.as_str()).chain(state.told.iter().map(String::as_str));
            Anchors::from_pems(all)
                .map(|all| all.distrusting(state.own.distrusted_keys().iter().copied()))
        };
        let outcome = all.and_then(|anchors| {
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
