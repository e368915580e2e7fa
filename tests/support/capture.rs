//! An HTTP/1.1 API that keeps every octet that it receives, with a parser of its own that forgives nothing: what it counts is
//! what stands on the wire.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// One request as it stood on the wire.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    pub target: String,
    /// Names as they were written.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Received {
    /// Every value under a name, `_` being read as `-` as some servers do.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let plain = |name: &str| name.to_ascii_lowercase().replace('_', "-");
        self.headers
            .iter()
            .filter(|(found, _)| plain(found) == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

/// The server; it ends with the test.
pub struct Capture {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    faults: Arc<Mutex<Vec<String>>>,
}

impl Capture {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (received, faults) = (Arc::default(), Arc::default());
        let capture = Self {
            address,
            received,
            faults,
        };
        let (received, faults) = (Arc::clone(&capture.received), Arc::clone(&capture.faults));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&received), Arc::clone(&faults)));
            }
        });
        capture
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far; fails the test if something on the wire was not one clear request after the other.
    pub fn received(&self) -> Vec<Received> {
        let faults = self.faults.lock().unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        self.received.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    received: Arc<Mutex<Vec<Received>>>,
    faults: Arc<Mutex<Vec<String>>>,
) {
    let mut octets = Vec::new();
    loop {
        match parse(&octets) {
            Ok(Some((request, used))) => {
                octets.drain(..used);
                let answer: &[u8] = if request.method == "HEAD" {
                    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
                } else {
                    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
                };
                received.lock().unwrap().push(request);
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
            Ok(None) => {
                let mut piece = [0; 16 << 10];
                match stream.read(&mut piece).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => octets.extend_from_slice(&piece[..count]),
                }
            }
            Err(fault) => {
                faults.lock().unwrap().push(fault);
                return;
            }
        }
    }
}

/// The first request and its length, when it is complete.
fn parse(octets: &[u8]) -> Result<Option<(Received, usize)>, String> {
    let Some(end) = octets.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&octets[..end]).into_owned();
    let fault = |what: &str| Err(format!("{what}: {head:?}"));
    if head.replace("\r\n", "").contains(['\r', '\n', '\0']) {
        return fault("a bare line break or NUL");
    }
    let mut lines = head.split("\r\n");
    let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, "HTTP/1.1"] = first.as_slice() else {
        return fault("no request line");
    };
    let mut headers = Vec::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            return fault("no header");
        };
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(token) {
            return fault("no header name");
        }
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut request = Received {
        method: (*method).to_owned(),
        target: (*target).to_owned(),
        headers,
        body: Vec::new(),
    };
    let body = &octets[end + 4..];
    let used = match (
        request.all("content-length").as_slice(),
        request.all("transfer-encoding").as_slice(),
    ) {
        ([], []) => 0,
        ([length], []) => {
            let Ok(length) = length.parse::<usize>() else {
                return fault("no length");
            };
            let Some(body) = body.get(..length) else {
                return Ok(None);
            };
            request.body = body.to_vec();
            length
        }
        ([], ["chunked"]) => match chunks(body) {
            Ok(None) => return Ok(None),
            Ok(Some((whole, used))) => {
                request.body = whole;
                used
            }
            Err(what) => return fault(what),
        },
        _ => return fault("more than one framing"),
    };
    Ok(Some((request, end + 4 + used)))
}

fn chunks(mut octets: &[u8]) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let length = octets.len();
    let mut whole = Vec::new();
    loop {
        let Some(end) = octets.windows(2).position(|window| window == b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(&octets[..end])
            .ok()
            .and_then(|text| usize::from_str_radix(text, 16).ok());
        let size = size.ok_or("no chunk size")?;
        octets = &octets[end + 2..];
        let Some(piece) = octets.get(..size + 2) else {
            return Ok(None);
        };
        if !piece.ends_with(b"\r\n") {
            return Err("no end of chunk");
        }
        whole.extend_from_slice(&piece[..size]);
        octets = &octets[size + 2..];
        if size == 0 {
            return Ok(Some((whole, length - octets.len())));
        }
    }
}
