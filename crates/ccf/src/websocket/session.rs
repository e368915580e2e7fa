//! One open socket: what is sent, what is acknowledged, and when it ends.

use std::{collections::HashMap, time::Duration};

use capif_transport::{Leaving, TakenStream};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{Listed, Outgoing, UNACKNOWLEDGED_MAX, frame};

/// The largest frame, and message, that a receiver may send: an acknowledgement with fields and some content.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// How long a receiver may take to acknowledge before a notification is sent again under the same number.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// How often a notification is sent before the socket is given up.
const ATTEMPTS_MAX: u32 = 3;

/// How often a receiver that says nothing is asked whether it is there.
const PING_PERIOD: Duration = Duration::from_secs(20);

/// How long a receiver may say nothing at all.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How often the session looks at its times and at its right to be.
const TICK: Duration = Duration::from_secs(1);

/// How long a frame may take to be written.
const WRITE_TIME: Duration = Duration::from_secs(10);

type Socket<S> = WebSocketStream<S>;

struct Unacknowledged {
    frame: Vec<u8>,
    answer: oneshot::Sender<Result<(), String>>,
    sent: Instant,
    attempts: u32,
}

/// Why a session ends.
enum End {
    /// The other end closed it, or it broke.
    Gone,
    /// This end closes it.
    Closed(CloseCode, &'static str),
}

/// Serves a socket until either end closes it. `may_stay` says whether it has still a right to be.
pub(super) async fn serve(
    stream: TakenStream,
    leaving: Leaving,
    mut outgoing: mpsc::Receiver<Outgoing>,
    listed: Listed,
    may_stay: impl Fn() -> bool + Send,
) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
        .read_buffer_size(4 * 1024);
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    listed.sockets.wake();
    let end = Session {
        socket: &mut socket,
        unacknowledged: HashMap::new(),
        heard: Instant::now(),
    }
    .run(leaving, &mut outgoing, may_stay)
    .await;
    // Nothing more is given to it from here on.
    drop(listed);
    if let End::Closed(code, reason) = end {
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        let _gone = tokio::time::timeout(Duration::from_secs(1), socket.close(Some(frame))).await;
    }
}

struct Session<'a, S> {
    socket: &'a mut Socket<S>,
    unacknowledged: HashMap<u32, Unacknowledged>,
    heard: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    async fn run(
        mut self,
        mut leaving: Leaving,
        outgoing: &mut mpsc::Receiver<Outgoing>,
        may_stay: impl Fn() -> bool,
    ) -> End {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked = Instant::now();
        loop {
            let has_room = self.unacknowledged.len() < UNACKNOWLEDGED_MAX;
            let step = tokio::select! {
                message = self.socket.next() => match message {
                    Some(Ok(Message::Ping(_))) => self.echo().await,
                    message => self.heard_of(message),
                },
                next = outgoing.recv(), if has_room => match next {
                    Some(next) => self.send(next).await,
                    None => Err(End::Closed(CloseCode::Policy, "another socket took its place")),
                },
                _ = &mut leaving => Err(End::Closed(CloseCode::Restart, "the core function goes away")),
                _ = tick.tick() => {
                    if may_stay() {
                        self.look(&mut asked).await
                    } else {
                        Err(End::Closed(CloseCode::Policy, "what it was opened for is over"))
                    }
                }
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn send(&mut self, next: Outgoing) -> Result<(), End> {
        let frame = frame::notification(next.number, &next.body);
        self.write(Message::Binary(frame.clone().into())).await?;
        let unacknowledged = Unacknowledged {
            frame,
            answer: next.answer,
            sent: Instant::now(),
            attempts: 1,
        };
        self.unacknowledged.insert(next.number, unacknowledged);
        Ok(())
    }

    async fn write(&mut self, message: Message) -> Result<(), End> {
        match tokio::time::timeout(WRITE_TIME, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }

    /// Sends the answer to a ping, which the library has made, before anything more is read: answers that nobody reads would pile up.
    async fn echo(&mut self) -> Result<(), End> {
        self.heard = Instant::now();
        match tokio::time::timeout(WRITE_TIME, self.socket.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }

    fn heard_of(
        &mut self,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<(), End> {
        let message = match message {
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                tracing::debug!(%error, "a WebSocket broke");
                return Err(End::Gone);
            }
            None => return Err(End::Gone),
        };
        self.heard = Instant::now();
        let octets = match &message {
            Message::Binary(octets) => octets.as_ref(),
            Message::Text(text) => text.as_bytes(),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(()),
            Message::Close(_) => return Err(End::Gone),
        };
        let acknowledgement = frame::Acknowledgement::parse(octets).ok_or(End::Closed(
            CloseCode::Protocol,
            "this is no acknowledgement: TS 29.122 clause 5.2.5.4",
        ))?;
        // One that is acknowledged twice, after it was sent twice, is not there any more.
        if let Some(done) = self.unacknowledged.remove(&acknowledgement.number) {
            let outcome = if acknowledgement.is_success() {
                Ok(())
            } else {
                Err(format!("the receiver answered {}", acknowledgement.status))
            };
            // Whoever went away meanwhile sends it again.
            let _gone = done.answer.send(outcome);
        }
        Ok(())
    }

    /// Sends again what was not acknowledged in time, and asks a silent receiver whether it is there.
    async fn look(&mut self, asked: &mut Instant) -> Result<(), End> {
        let now = Instant::now();
        // What nobody waits for any more is not sent again.
        self.unacknowledged
            .retain(|_, held| !held.answer.is_closed());
        let mut again = Vec::new();
        for held in self.unacknowledged.values_mut() {
            if now.saturating_duration_since(held.sent) < ANSWER_TIME {
                continue;
            }
            if held.attempts >= ATTEMPTS_MAX {
                return Err(End::Closed(CloseCode::Policy, "nothing is acknowledged"));
            }
            held.attempts += 1;
            held.sent = now;
            again.push(held.frame.clone());
        }
        for frame in again {
            self.write(Message::Binary(frame.into())).await?;
        }
        let silence = now.saturating_duration_since(self.heard);
        if silence >= SILENCE_MAX {
            return Err(End::Closed(CloseCode::Away, "nothing was heard"));
        }
        if silence >= PING_PERIOD && now.saturating_duration_since(*asked) >= PING_PERIOD {
            *asked = now;
            self.write(Message::Ping(Default::default())).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// A receiver that sends pings and reads no answer is read no more: what is to be sent does not pile up.
    #[tokio::test]
    async fn whoever_reads_nothing_is_read_no_more() {
        let (mut receiver, stream) = tokio::io::duplex(16 * 1024);
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let (_queue, mut outgoing) = mpsc::channel(1);
        let (_leave, leaving) = oneshot::channel();
        let session = Session {
            socket: &mut socket,
            unacknowledged: HashMap::new(),
            heard: Instant::now(),
        };
        let pings = async {
            // Final, a ping, masked with zeros, 125 octets.
            let mut ping = vec![0x89, 0x80 | 125, 0, 0, 0, 0];
            ping.resize(6 + 125, b'x');
            let flood = ping.repeat(8 * 1024);
            tokio::time::timeout(Duration::from_millis(500), receiver.write_all(&flood)).await
        };
        let sent = tokio::select! {
            _end = session.run(leaving, &mut outgoing, || true) => panic!("it ended too early"),
            sent = pings => sent,
        };
        assert!(sent.is_err(), "a megabyte of pings was taken");
    }
}
