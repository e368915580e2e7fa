//! A wire that breaks: a relay on loopback that cuts connections at random places, the same ones for the same seed.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The longest that a connection lives, in octets of both directions, when it is to be cut.
const OCTETS_MAX: u64 = 12_000;

/// A relay in front of a server.
pub struct Relay {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    cuts: AtomicBool,
    random: AtomicU64,
    cut: AtomicU64,
}

impl Shared {
    /// The next number of the sequence (SplitMix64).
    fn random(&self) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15;
        let mut number = self
            .random
            .fetch_add(step, Ordering::Relaxed)
            .wrapping_add(step);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }
}

impl Relay {
    /// Relays to `server`, without a cut until it is told.
    pub async fn start(server: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            cuts: AtomicBool::new(false),
            random: AtomicU64::new(seed),
            cut: AtomicU64::new(0),
        });
        let of_task = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, server, Arc::clone(&of_task)));
            }
        });
        Self { address, shared }
    }

    /// Whether every second connection from now on is cut somewhere.
    pub fn set_cuts(&self, cuts: bool) {
        self.shared.cuts.store(cuts, Ordering::Relaxed);
    }

    /// How many connections were cut.
    pub fn cut(&self) -> u64 {
        self.shared.cut.load(Ordering::Relaxed)
    }
}

async fn relay(client: TcpStream, server: SocketAddr, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let is_cut = shared.cuts.load(Ordering::Relaxed) && shared.random().is_multiple_of(2);
    let mut left = if is_cut {
        shared.random() % OCTETS_MAX
    } else {
        u64::MAX
    };
    let (mut client, mut server) = (client, server);
    let (mut up, mut down) = ([0; 4096], [0; 4096]);
    loop {
        let (octets, writer) = tokio::select! {
            read = client.read(&mut up) => match read {
                Ok(octets @ 1..) => (&up[..octets], &mut server),
                _ => return,
            },
            read = server.read(&mut down) => match read {
                Ok(octets @ 1..) => (&down[..octets], &mut client),
                _ => return,
            },
        };
        let passed = octets
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        if writer.write_all(&octets[..passed]).await.is_err() {
            return;
        }
        left -= passed as u64;
        if passed < octets.len() {
            shared.cut.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }
}
