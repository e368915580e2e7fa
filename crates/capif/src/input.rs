//! What is read from files and standard input.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use bytes::Bytes;
use capif_transport::{Body, BoxError, boxed, full};
use http_body_util::channel::Channel;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::exit::{Exit, Failure};

/// The largest text that a code, a bundle or a certificate may be.
const TEXT_BYTES_MAX: u64 = 256 << 10;

/// How much of a body is read at once. One that ends within this can be sent again if need be.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// Reads a small text; `-` is standard input.
///
/// # Errors
/// Says which file cannot be read.
pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    if path == Path::new("-") {
        return small(io::stdin().lock(), "standard input");
    }
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| unreadable(&name, &error))?;
    small(file, &name)
}

fn small(reader: impl Read, name: &str) -> Result<String, Failure> {
    let mut text = String::new();
    reader
        .take(TEXT_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| unreadable(name, &error))?;
    if text.len() as u64 > TEXT_BYTES_MAX {
        return Err(Failure::usage(format!(
            "{name} is too large to be what was asked for"
        )));
    }
    Ok(text)
}

/// The body of a request: `@FILE`, `-` for standard input, or the text itself. What is long is streamed.
///
/// # Errors
/// Says which file cannot be read.
pub(crate) async fn body(given: &str) -> Result<Body, Failure> {
    if given == "-" {
        return streamed(tokio::io::stdin(), "standard input").await;
    }
    let Some(name) = given.strip_prefix('@') else {
        return Ok(full(given.to_owned()));
    };
    let file = tokio::fs::File::open(name)
        .await
        .map_err(|error| unreadable(name, &error))?;
    streamed(file, name).await
}

async fn streamed(
    mut reader: impl AsyncRead + Unpin + Send + 'static,
    name: &str,
) -> Result<Body, Failure> {
    let first = piece(&mut reader)
        .await
        .map_err(|error| unreadable(name, &error))?;
    if first.len() < PIECE_BYTES_MAX {
        return Ok(full(first));
    }
    let (mut sender, body) = Channel::<Bytes, BoxError>::new(2);
    tokio::spawn(async move {
        let mut next = Ok(first);
        loop {
            match next {
                Ok(octets) if octets.is_empty() => return,
                Ok(octets) => {
                    // Whoever reads it no more needs no more.
                    if sender.send_data(octets).await.is_err() {
                        return;
                    }
                }
                // An end that looks like the end would let half a body pass for a whole one.
                Err(error) => return sender.abort(Box::new(error)),
            }
            next = piece(&mut reader).await;
        }
    });
    Ok(boxed(body))
}

/// Reads until a piece is full or there is no more.
async fn piece(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let mut octets = Vec::with_capacity(PIECE_BYTES_MAX);
    let limit = u64::try_from(PIECE_BYTES_MAX).unwrap_or(u64::MAX);
    reader.take(limit).read_to_end(&mut octets).await?;
    Ok(octets.into())
}

/// What to say about a file that cannot be read.
pub(crate) fn unreadable(name: &str, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound => Failure::new(Exit::NotFound, format!("there is no file {name}")),
        _ => Failure::usage(format!("cannot read {name} ({error})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_kept_if_short_and_streamed_if_long() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("body");
        for length in [
            0,
            1,
            PIECE_BYTES_MAX - 1,
            PIECE_BYTES_MAX,
            3 * PIECE_BYTES_MAX + 5,
        ] {
            let octets: Vec<u8> = (0..=255).cycle().take(length).collect();
            std::fs::write(&path, &octets).unwrap();
            let body = body(&format!("@{}", path.display())).await.unwrap();
            let known = http_body_util::BodyExt::collect(body)
                .await
                .unwrap()
                .to_bytes();
            assert!(known == octets, "{length}");
        }
        let failure = body("@/nowhere/at/all").await.unwrap_err();
        assert_eq!(failure.exit, Exit::NotFound);
    }

    #[test]
    fn files_are_read_within_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("code");
        assert_eq!(text(&path).unwrap_err().exit, Exit::NotFound);
        std::fs::write(&path, "capif1.abc\n").unwrap();
        assert_eq!(text(&path).unwrap(), "capif1.abc\n");
        std::fs::write(&path, vec![b'a'; 300_000]).unwrap();
        assert_eq!(text(&path).unwrap_err().exit, Exit::Usage);
        assert_eq!(text(dir.path()).unwrap_err().exit, Exit::Usage);
    }
}
