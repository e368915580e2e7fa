//! A relay in front of a core function that cuts a connection off after so many octets, wherever that is.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The relay; it ends with the test.
pub struct Cutter {
    address: SocketAddr,
    knife: Arc<Knife>,
}

#[derive(Default)]
struct Knife {
    /// After how many octets, both ways and over all connections, the next cut is.
    left: Mutex<Option<usize>>,
    cuts: AtomicUsize,
}

impl Knife {
    /// How many of these octets pass; fewer than all means a cut.
    fn passing(&self, count: usize) -> usize {
        let mut left = self.left.lock().unwrap();
        match left.as_mut() {
            Some(rest) if *rest < count => {
                let rest = *rest;
                *left = None;
                self.cuts.fetch_add(1, Ordering::SeqCst);
                rest
            }
            Some(rest) => {
                *rest -= count;
                count
            }
            None => count,
        }
    }
}

impl Cutter {
    /// In front of this address.
    pub async fn start(to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cutter = Self {
            address: listener.local_addr().unwrap(),
            knife: Arc::default(),
        };
        let (to, knife) = (to.to_owned(), Arc::clone(&cutter.knife));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&to).await else {
                    continue;
                };
                let knife = Arc::clone(&knife);
                tokio::spawn(async move {
                    let (near_in, near_out) = near.into_split();
                    let (far_in, far_out) = far.into_split();
                    // Both ways end together: half a connection is no cut.
                    tokio::select! {
                        () = carry(near_in, far_out, &knife) => {}
                        () = carry(far_in, near_out, &knife) => {}
                    }
                });
            }
        });
        cutter
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Cuts a connection off after so many more octets, once.
    pub fn cut_after(&self, octets: usize) {
        *self.knife.left.lock().unwrap() = Some(octets);
    }

    /// Cuts nothing any more.
    pub fn rest(&self) {
        *self.knife.left.lock().unwrap() = None;
    }

    /// How many connections were cut off.
    pub fn cuts(&self) -> usize {
        self.knife.cuts.load(Ordering::SeqCst)
    }
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, knife: &Knife) {
    let mut piece = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        let passing = knife.passing(count);
        if to.write_all(&piece[..passing]).await.is_err() || passing < count {
            return;
        }
    }
}

/// Numbers that look random and are the same each time.
pub struct Seeded(u64);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }
}
