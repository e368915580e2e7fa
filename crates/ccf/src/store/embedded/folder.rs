//! The folder of a store: whose it is, which format it has, and what a crash left half made in it.
//!
//! ```text
//! lock         held while a process has the store
//! format       one line; written last, so that a store that has it was made completely
//! records/     the engine's
//! records.new/ the engine's while it is being made
//! ```

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{
    super::Fault,
    engine::{Engine, Fjall, Volume},
    journal,
};

/// The format that this version writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// What stands before the number in the format file.
const FORMAT_NAME: &str = "capif store ";

/// The folder while this process has it.
pub(super) struct Folder {
    dir: PathBuf,
    /// Let go of when the folder is.
    _lock: File,
}

impl Folder {
    /// Takes the folder and sees to it that there is a store in it.
    pub(super) fn open(dir: &Path) -> Result<Self, Fault> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| Fault::io("make its folder", error))?;
        let folder = Self {
            dir: dir.to_owned(),
            _lock: lock(dir)?,
        };
        match folder.format()? {
            Some(FORMAT) => {}
            Some(0) | None => folder.make()?,
            Some(newer) => return Err(folder.unknown(newer.to_string())),
        }
        Ok(folder)
    }

    /// The number in the format file, if there is one.
    fn format(&self) -> Result<Option<u32>, Fault> {
        let text = match fs::read(self.dir.join("format")) {
            Ok(text) => String::from_utf8_lossy(&text).trim_end().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Fault::io("read its format", error)),
        };
        match text.strip_prefix(FORMAT_NAME).map(str::parse) {
            Some(Ok(number)) => Ok(Some(number)),
            _ => Err(self.unknown(text.chars().take(40).collect())),
        }
    }

    fn unknown(&self, found: String) -> Fault {
        Fault::UnknownFormat {
            path: self.dir.clone(),
            found,
            known: FORMAT,
        }
    }

    /// Makes an empty store, or finishes making one.
    fn make(&self) -> Result<(), Fault> {
        let records = self.records();
        if !exists(&records)? {
            let new = self.dir.join("records.new");
            if exists(&new)? {
                fs::remove_dir_all(&new).map_err(|error| Fault::io("clear its folder", error))?;
            }
            // Closed again before it gets its name, since until then a crash may leave it half made.
            drop(Fjall::open(&new)?);
            fs::rename(&new, &records).map_err(|error| Fault::io("name its files", error))?;
            sync(&self.dir)?;
        }
        self.write_format()
            .map_err(|error| Fault::io("write its format", error))?;
        sync(&self.dir)
    }

    fn write_format(&self) -> io::Result<()> {
        let new = self.dir.join("format.new");
        let mut file = File::create(&new)?;
        writeln!(file, "{FORMAT_NAME}{FORMAT}")?;
        file.sync_all()?;
        fs::rename(&new, self.dir.join("format"))
    }

    fn records(&self) -> PathBuf {
        self.dir.join("records")
    }
}

impl Volume for Folder {
    fn open(&self) -> Result<Box<dyn Engine>, Fault> {
        let records = self.records();
        if !exists(&records)? {
            // The engine would make an empty store in the place of a lost one.
            return Err(Fault::damaged(records, "the folder is missing"));
        }
        journal::settle(&records)?;
        Ok(Box::new(Fjall::open(&records)?))
    }

    fn dir(&self) -> &Path {
        &self.dir
    }

    fn free_bytes(&self) -> Result<u64, Fault> {
        let volume = rustix::fs::statvfs(&self.dir)
            .map_err(|error| Fault::io("ask for the room on its disk", error.into()))?;
        Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
    }
}

fn lock(dir: &Path) -> Result<File, Fault> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join("lock"))
        .map_err(|error| Fault::io("make its lock", error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Fault::Locked { path: dir.into() }),
        Err(TryLockError::Error(error)) => Err(Fault::io("take its lock", error)),
    }
}

fn exists(path: &Path) -> Result<bool, Fault> {
    path.try_exists()
        .map_err(|error| Fault::io("look into its folder", error))
}

/// Makes what was named in a folder last.
fn sync(dir: &Path) -> Result<(), Fault> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| Fault::io("sync its folder", error))
}
