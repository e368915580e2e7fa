//! Notifications over a WebSocket (TS 29.122 clause 5.2.5.4, RFC 6455): the receiver connects, so that whoever cannot be called
//! hears of things too.
//!
//! A receiver asks for a WebSocket with its subscription, its profile or its security context, and is given an address of this
//! core function's own listener. It connects over mutual TLS, with its own certificate, and asks for the upgrade of HTTP/1.1. One
//! socket is open per resource: a later one takes the place of an earlier one. While none is open, what is to be told waits, as
//! it does for a receiver that does not answer; it is not sent by POST.
//!
//! A socket ends with the certificate, the enrolment, the registration or the resource that it was opened for.

mod frame;
mod opening;
mod session;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use capif_procedures::{changes::Kind, delivery};
use tokio::sync::{Notify, mpsc, oneshot, watch};

pub(crate) use self::opening::open;
use crate::view::{Lane, Records};

/// How many notifications of one socket wait for their acknowledgement at the same time.
const UNACKNOWLEDGED_MAX: usize = 16;

/// The resource that a WebSocket brings notifications of: subscriber, `/`, subscription or what stands for it.
pub(crate) fn key(uri: &str) -> &str {
    uri.split_once(delivery::WEBSOCKET_PATH)
        .map_or("", |(_, rest)| rest.trim_matches('/'))
}

/// The sockets that are open.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    open: Mutex<HashMap<String, Arc<Line>>>,
    opened: Notify,
    last: AtomicU64,
}

/// The way to the receiver at the other end of an open socket.
#[derive(Debug)]
pub(crate) struct Line {
    id: u64,
    queue: mpsc::Sender<Outgoing>,
}

/// A notification on its way.
#[derive(Debug)]
pub(super) struct Outgoing {
    number: u32,
    body: Bytes,
    answer: oneshot::Sender<Result<(), String>>,
}

/// A socket that is listed for as long as this lives.
pub(super) struct Listed {
    sockets: Arc<Sockets>,
    key: String,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut open = self.sockets.all();
        if open.get(&self.key).is_some_and(|line| line.id == self.id) {
            open.remove(&self.key);
        }
    }
}

impl Line {
    /// Sends a notification and waits for its acknowledgement.
    ///
    /// # Errors
    /// Says why there is none.
    pub(crate) async fn deliver(
        &self,
        number: u32,
        body: Bytes,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<(), String> {
        let over = || "the WebSocket was closed".to_owned();
        let (answer, answered) = oneshot::channel();
        let outgoing = Outgoing {
            number,
            body,
            answer,
        };
        let exchange = async {
            self.queue.send(outgoing).await.map_err(|_| over())?;
            answered.await.map_err(|_| over())?
        };
        tokio::select! {
            outcome = exchange => outcome,
            _ = stopped.wait_for(|stopped| *stopped) => Err("the delivery has ended".to_owned()),
        }
    }
}

impl Sockets {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Arc<Line>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when another socket was opened.
    pub(crate) async fn opened(&self) {
        self.opened.notified().await;
    }

    /// The open socket of a resource.
    pub(crate) fn line(&self, key: &str) -> Option<Arc<Line>> {
        self.all().get(key).map(Arc::clone)
    }

    /// Whether something that waits in a lane can be sent: by POST at any time, over a WebSocket while it is open.
    pub(crate) fn is_way_open(&self, records: &Records, lane: &Lane) -> bool {
        match lane.kind {
            Kind::Notification => {
                let socket = records.subscription_of(lane).and_then(|held| {
                    let config = held.record.subscription.websock_notif_config.as_ref()?;
                    config.websocket_uri.as_ref()
                });
                socket.is_none_or(|uri| self.all().contains_key(key(uri.as_str())))
            }
            Kind::Callback => match lane.prefix.trim_end_matches('/').split_once("/ws/") {
                Some((invoker, resource)) => {
                    self.all().contains_key(&format!("{invoker}/{resource}"))
                }
                None => true,
            },
            _ => true,
        }
    }

    /// Lists a socket in the place of an earlier one, whose session hears nothing any more and ends.
    fn list(self: &Arc<Self>, key: &str) -> (Listed, mpsc::Receiver<Outgoing>) {
        let (queue, outgoing) = mpsc::channel(UNACKNOWLEDGED_MAX);
        let id = self.last.fetch_add(1, Ordering::Relaxed);
        let line = Arc::new(Line { id, queue });
        self.all().insert(key.to_owned(), line);
        let listed = Listed {
            sockets: Arc::clone(self),
            key: key.to_owned(),
            id,
        };
        (listed, outgoing)
    }

    /// Wakes whoever delivers.
    fn wake(&self) {
        self.opened.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_has_one_open_socket() {
        let sockets = Arc::new(Sockets::default());
        let (first, _outgoing) = sockets.list("AEF1/SUB1");
        let (second, _later) = sockets.list("AEF1/SUB1");
        drop(first);
        assert!(sockets.line("AEF1/SUB1").is_some());
        drop(second);
        assert!(sockets.line("AEF1/SUB1").is_none());
    }

    #[test]
    fn resources_are_named_by_the_end_of_the_address() {
        let uri = delivery::websocket_uri("ccf.example:1", "AEF1", "SUB1");
        assert_eq!(key(uri.as_str()), "AEF1/SUB1");
        assert_eq!(key("wss://elsewhere/x"), "");
    }
}
