//! The engine's journal after a crash, put in order before the engine reads it.
//!
//! The engine syncs each batch before it begins the next, so a crash or a power cut can leave at most the last batch of the
//! last file incomplete, and nobody was told of that one. The engine itself cuts off a batch that ends too early, but refuses
//! to open on one that has its end and lacks sectors in the middle, and passes in silence over damage in batches that were
//! acknowledged. Here the first is cut off too, and the second is refused.
//!
//! The last batch, if whole, is written and synced once more: it may have been read from memory only, after a sync that
//! failed or never came.
//!
//! The format is that of fjall 3: tag 1, items, sequence number; per item tag 2, type, compression, table, lengths, key and
//! value, or tag 4 and a table; tag 3, the checksum of the items, four fixed bytes. Numbers are little-endian.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::Xxh3;

use super::super::Fault;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;

/// How much is read at once in search of the end.
const PIECE_BYTES: usize = 256 << 10;

/// The last bytes of a batch.
const TRAILER: [u8; 4] = *b"FJL\x03";

/// Puts the journal files in a folder in order.
pub(super) fn settle(dir: &Path) -> Result<(), Fault> {
    let mut files = files(dir)?;
    let Some((_, active)) = files.pop() else {
        return Ok(());
    };
    for (_, sealed) in files {
        if !is_blank(&survey(&sealed)?.rest) {
            return Err(Fault::damaged(sealed, "a batch in it is not whole"));
        }
    }
    let survey = survey(&active)?;
    if survey.has_more() {
        return Err(Fault::damaged(active, "a batch in the midst is not whole"));
    }
    let write = || {
        let file = OpenOptions::new().read(true).write(true).open(&active)?;
        if let Some(last) = survey.last {
            let mut bytes = vec![0; last.length];
            file.read_exact_at(&mut bytes, last.position)?;
            file.write_all_at(&bytes, last.position)?;
        }
        if !is_blank(&survey.rest) {
            let cut = survey.rest.len();
            tracing::warn!(bytes = cut, "an unfinished batch is cut off the journal");
            file.set_len(survey.end)?;
        }
        file.sync_all()
    };
    write().map_err(|error| Fault::io("settle its journal", error))
}

/// The journal files by number.
fn files(dir: &Path) -> Result<Vec<(u64, PathBuf)>, Fault> {
    let list = || {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let number = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            if let Some(number) = number
                && path.extension().is_some_and(|extension| extension == "jnl")
            {
                files.push((number, path));
            }
        }
        files.sort_unstable();
        Ok(files)
    };
    list().map_err(|error| Fault::io("list its journal", error))
}

fn survey(file: &Path) -> Result<Survey, Fault> {
    File::open(file)
        .and_then(|file| Survey::of(&file))
        .map_err(|error| Fault::io("read its journal", error))
}

/// Where a file ends but for pieces that are blank: files are made longer than they are needed, many times longer.
fn written(file: &File) -> io::Result<u64> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(PIECE_BYTES as u64);
        // Holds because a piece is no longer than the buffer.
        let length = usize::try_from(end - start).unwrap_or(PIECE_BYTES);
        let piece = piece.get_mut(..length).unwrap_or_default();
        file.read_exact_at(piece, start)?;
        if !is_blank(piece) {
            break;
        }
        end = start;
    }
    Ok(end)
}

/// Whether nothing was written here.
fn is_blank(bytes: &[u8]) -> bool {
    const BLANK: [u8; 4096] = [0; 4096];
    bytes
        .chunks(BLANK.len())
        .all(|chunk| BLANK.starts_with(chunk))
}

/// The whole batches from the beginning of a file, and what follows them.
struct Survey {
    last: Option<Batch>,
    /// Where the whole batches end.
    end: u64,
    /// What follows them, up to blank pieces.
    rest: Vec<u8>,
}

impl Survey {
    /// Reads a file piece by piece: never is more of it held than one batch and one piece.
    fn of(file: &File) -> io::Result<Self> {
        let written = written(file)?;
        let mut survey = Self {
            last: None,
            end: 0,
            rest: Vec::new(),
        };
        // How much of the rest is surveyed already.
        let mut done = 0;
        loop {
            let ahead = survey.rest.get(done..).unwrap_or_default();
            if let Some(mut batch) = Batch::parse(ahead) {
                batch.position = survey.end;
                survey.end += batch.length as u64;
                done += batch.length;
                survey.last = Some(batch);
                continue;
            }
            survey.rest.drain(..done);
            done = 0;
            let held = survey.rest.len();
            let more = written.saturating_sub(survey.end + held as u64);
            if more == 0 {
                return Ok(survey);
            }
            // In steps that double, so that a long batch is not looked at again and again.
            let step =
                usize::try_from(more).map_or(PIECE_BYTES, |more| more.min(PIECE_BYTES.max(held)));
            survey.rest.resize(held + step, 0);
            let piece = survey.rest.get_mut(held..).unwrap_or_default();
            file.read_exact_at(piece, survey.end + held as u64)?;
        }
    }

    /// Whether a later batch stands in the rest, so that the one before it was whole once.
    fn has_more(&self) -> bool {
        if is_blank(&self.rest) {
            return false;
        }
        let number = self.last.as_ref().map_or(0, |last| last.number);
        self.rest
            .windows(TRAILER.len())
            .enumerate()
            .filter(|(_, window)| **window == TRAILER)
            .filter_map(|(position, _)| self.rest.get(position + TRAILER.len()..))
            .any(|after| Batch::parse(after).is_some_and(|batch| batch.number > number))
    }
}

/// A batch whose checksum is right.
struct Batch {
    position: u64,
    length: usize,
    number: u64,
}

impl Batch {
    /// Reads the batch at the beginning of `bytes`.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.byte()? != START {
            return None;
        }
        let items = reader.u32()?;
        let number = reader.u64()?;
        let mut checksum = Xxh3::new();
        for _ in 0..items {
            let before = reader.0;
            reader.item()?;
            checksum.update(before.get(..before.len() - reader.0.len())?);
        }
        let whole = reader.byte()? == END
            && reader.u64()? == checksum.digest()
            && reader.take::<4>()? == TRAILER;
        let batch = Self {
            position: 0,
            length: bytes.len() - reader.0.len(),
            number,
        };
        whole.then_some(batch)
    }
}

/// What is left to read.
struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn item(&mut self) -> Option<()> {
        match self.byte()? {
            ITEM => {
                let [_kind, compression] = self.take()?;
                let _table = self.u64()?;
                let key = u16::from_le_bytes(self.take()?);
                let value = self.u32()?;
                let stored = self.u32()?;
                // Holds because the journal is opened without compression.
                if compression != 0 || stored != value {
                    return None;
                }
                self.skip(usize::from(key))?;
                self.skip(usize::try_from(value).ok()?)
            }
            CLEAR => self.u64().map(drop),
            _ => None,
        }
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests;
