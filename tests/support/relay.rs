//! A relay in front of a core function, which loses what comes back when a test wants it to.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The relay; it ends with the test.
pub struct Relay {
    address: SocketAddr,
    loses: Arc<AtomicBool>,
}

impl Relay {
    /// In front of this address.
    pub async fn start(to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self {
            address: listener.local_addr().unwrap(),
            loses: Arc::default(),
        };
        let (to, loses) = (to.to_owned(), Arc::clone(&relay.loses));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&to).await else {
                    continue;
                };
                tokio::spawn(carry(near, far, Arc::clone(&loses)));
            }
        });
        relay
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Whether every connection ends, from now on, with the first octets that come back.
    pub fn lose(&self, loses: bool) {
        self.loses.store(loses, Ordering::SeqCst);
    }
}

async fn carry(near: TcpStream, far: TcpStream, loses: Arc<AtomicBool>) {
    let (mut near_in, mut near_out) = near.into_split();
    let (mut far_in, mut far_out) = far.into_split();
    let there = tokio::spawn(async move { tokio::io::copy(&mut near_in, &mut far_out).await });
    let mut piece = vec![0; 16 << 10];
    while let Ok(count @ 1..) = far_in.read(&mut piece).await {
        if loses.load(Ordering::SeqCst) || near_out.write_all(&piece[..count]).await.is_err() {
            break;
        }
    }
    there.abort();
}
