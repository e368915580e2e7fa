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
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::Xxh3;

use super::super::Fault;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;

/// The last bytes of a batch.
const TRAILER: [u8; 4] = *b"FJL\x03";

/// Puts the journal files in a folder in order.
pub(super) fn settle(dir: &Path) -> Result<(), Fault> {
    let mut files = files(dir)?;
    let Some((_, active)) = files.pop() else {
        return Ok(());
    };
    for (_, sealed) in files {
        let bytes = read(&sealed)?;
        if !is_blank(Survey::of(&bytes).rest) {
            return Err(Fault::damaged(sealed, "a batch in it is not whole"));
        }
    }
    let bytes = read(&active)?;
    let survey = Survey::of(&bytes);
    if survey.has_more() {
        return Err(Fault::damaged(active, "a batch in the midst is not whole"));
    }
    let write = || {
        let file = OpenOptions::new().write(true).open(&active)?;
        if let Some(last) = survey.last {
            file.write_all_at(last.bytes, last.position)?;
        }
        if !is_blank(survey.rest) {
            let cut = survey.rest.len();
            tracing::warn!(bytes = cut, "an unfinished batch is cut off the journal");
            file.set_len((bytes.len() - cut) as u64)?;
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

fn read(file: &Path) -> Result<Vec<u8>, Fault> {
    fs::read(file).map_err(|error| Fault::io("read its journal", error))
}

/// Whether nothing was written here: files are made longer than they are needed.
fn is_blank(bytes: &[u8]) -> bool {
    const BLANK: [u8; 4096] = [0; 4096];
    bytes
        .chunks(BLANK.len())
        .all(|chunk| BLANK.starts_with(chunk))
}

/// The whole batches from the beginning of a file, and what follows them.
struct Survey<'b> {
    last: Option<Batch<'b>>,
    rest: &'b [u8],
}

impl<'b> Survey<'b> {
    fn of(bytes: &'b [u8]) -> Self {
        let mut survey = Self {
            last: None,
            rest: bytes,
        };
        while let Some((mut batch, rest)) = Batch::parse(survey.rest) {
            batch.position = (bytes.len() - survey.rest.len()) as u64;
            survey = Self {
                last: Some(batch),
                rest,
            };
        }
        survey
    }

    /// Whether a later batch stands in the rest, so that the one before it was whole once.
    fn has_more(&self) -> bool {
        if is_blank(self.rest) {
            return false;
        }
        let number = self.last.as_ref().map_or(0, |last| last.number);
        self.rest
            .windows(TRAILER.len())
            .enumerate()
            .filter(|(_, window)| **window == TRAILER)
            .filter_map(|(position, _)| self.rest.get(position + TRAILER.len()..))
            .any(|after| Batch::parse(after).is_some_and(|(batch, _)| batch.number > number))
    }
}

/// A batch whose checksum is right.
struct Batch<'b> {
    position: u64,
    number: u64,
    bytes: &'b [u8],
}

impl<'b> Batch<'b> {
    /// Reads the batch at the beginning of `bytes`; returns what follows it as well.
    fn parse(bytes: &'b [u8]) -> Option<(Self, &'b [u8])> {
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
            number,
            bytes: bytes.get(..bytes.len() - reader.0.len())?,
        };
        whole.then_some((batch, reader.0))
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
