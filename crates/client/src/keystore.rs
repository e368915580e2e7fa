//! Where an API invoker or a provider keeps what must survive a restart: private keys and state, in one folder.
//!
//! The folder is for its owner alone (0700), and so is every file (0600). A file is replaced whole: written beside the
//! old one, synced, renamed, and the folder synced, so that a crash leaves the old or the new content and never half of
//! one. Private keys are made here and leave the folder only for a TLS handshake of this process.
//!
//! Only files whose names begin with `capif-` are the keystore's: nothing else in the folder is touched, not even by
//! [`Keystore::erase`].

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::key::PrivateKey;

/// How long a process waits for another one that changes the same folder.
pub const LOCK_WAIT: Duration = Duration::from_secs(10);

const LOCK_POLL: Duration = Duration::from_millis(50);
const LOCK: &str = "capif-lock";
const FILE_BYTES_MAX: u64 = 16 << 20;
const OTHERS: u32 = 0o077;

/// A folder of keys and state. Reading needs no lock; writing does: see [`Keystore::lock`].
#[derive(Clone, Debug)]
pub struct Keystore {
    folder: PathBuf,
}

/// A keystore that no other process changes meanwhile. The lock ends when this is dropped.
#[derive(Debug)]
pub struct Locked {
    keystore: Keystore,
    _file: File,
}

/// One version of stored state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    file: u64,
    changed: (i64, i64),
}

/// Why a keystore cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// Others can read what must stay secret.
    #[error(
        "`{}` is open to other users: run `chmod {mode} '{}'`, and start anew with a fresh folder if somebody may have \
         read it", path.display(), path.display()
    )]
    Exposed {
        /// The file or folder.
        path: PathBuf,
        /// The mode that it should have.
        mode: &'static str,
    },
    /// Another process is changing the folder.
    #[error("another process is using `{}`: wait until it is done, or use another folder", .0.display())]
    InUse(PathBuf),
    /// The folder was erased, by this process or another.
    #[error("`{}` is gone: it was erased after offboarding; onboard again with a new code", .0.display())]
    Gone(PathBuf),
    /// A file does not hold what was written there.
    #[error("`{}` is damaged ({reason}): restore it from a backup, or erase the folder and enrol again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, without its content.
        reason: String,
    },
    /// A name that is no file name of the keystore.
    #[error("`{0}` is not a name for stored state: use lower-case letters, digits and hyphens")]
    Name(String),
    /// The operating system refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The cryptographic library refused.
    #[error("cannot make a key pair: {0}")]
    Key(String),
}

impl Keystore {
    /// Opens a folder, making it if it is not there.
    ///
    /// # Errors
    /// Refuses a folder or files in it that other users can get at.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, KeystoreError> {
        let keystore = Self {
            folder: folder.into(),
        };
        keystore.make_folder()?;
        for path in keystore.own_files()? {
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_file() => check_mode(&path, &metadata)?,
                Ok(_) => {
                    return Err(KeystoreError::Damaged {
                        path,
                        reason: "not a regular file".to_owned(),
                    });
                }
                // Another process may be replacing it just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(failed("inspect", &path, source)),
            }
        }
        Ok(keystore)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps other processes from changing the folder until the answer is dropped. Waits at most [`LOCK_WAIT`].
    ///
    /// # Errors
    /// Says so when another process holds on to the folder, or when it was erased.
    pub async fn lock(&self) -> Result<Locked, KeystoreError> {
        let path = self.folder.join(LOCK);
        let begun = Instant::now();
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(|source| match source.kind() {
                    io::ErrorKind::NotFound => KeystoreError::Gone(self.folder.clone()),
                    _ => failed("open", &path, source),
                })?;
            match file.try_lock() {
                // A lock on a file that was erased meanwhile keeps nobody out: look again.
                Ok(()) if same_file(&file, &path) => {
                    let locked = Locked {
                        keystore: self.clone(),
                        _file: file,
                    };
                    locked.clear_leftovers()?;
                    return Ok(locked);
                }
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_WAIT => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(KeystoreError::InUse(self.folder.clone()));
                }
                Err(TryLockError::Error(source)) => return Err(failed("lock", &path, source)),
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    /// Reads state that [`Locked::store`] wrote; `None` if there is none.
    ///
    /// # Errors
    /// Refuses a file that others can read, and one that is not what was written.
    pub fn load<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, KeystoreError> {
        let path = self.path_of(name, "json")?;
        let Some(octets) = read(&path)? else {
            return Ok(None);
        };
        capif_spec::json::from_slice(&octets)
            .map(Some)
            .map_err(|error| KeystoreError::Damaged {
                path,
                reason: error.to_string(),
            })
    }

    /// What tells one version of stored state from the next, whichever process wrote it; `None` if there is none. A file is
    /// replaced and never changed, so that every version is a file of its own.
    pub(crate) fn version(&self, name: &str) -> Result<Option<Version>, KeystoreError> {
        let path = self.path_of(name, "json")?;
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(Version {
                file: metadata.ino(),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("inspect", &path, source)),
        }
    }

    /// Overwrites and removes every file of the keystore, then the folder unless it holds other things. Repeating it
    /// does no harm.
    ///
    /// # Errors
    /// Says which file could not be removed.
    pub fn erase(self) -> Result<(), KeystoreError> {
        let mut files = self.own_files()?;
        // The lock goes last: until then no other process begins to write here.
        files.sort_by_key(|path| path.ends_with(LOCK));
        for path in files {
            overwrite(&path)?;
            ignore_absent(fs::remove_file(&path))
                .map_err(|source| failed("remove", &path, source))?;
        }
        match fs::remove_dir(&self.folder) {
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                Err(failed("remove", &self.folder, error))
            }
            _ => sync_parent(&self.folder),
        }
    }

    /// The private key of this name; `None` if there is none.
    pub(crate) fn key(&self, name: &str) -> Result<Option<PrivateKey>, KeystoreError> {
        let path = self.path_of(name, "key")?;
        let Some(octets) = read(&path)? else {
            return Ok(None);
        };
        let damaged = |reason: String| KeystoreError::Damaged {
            path: path.clone(),
            reason,
        };
        let text =
            std::str::from_utf8(&octets).map_err(|_| damaged("not a PEM text".to_owned()))?;
        PrivateKey::from_pem(text).map(Some).map_err(damaged)
    }

    /// The names of the private keys that are there.
    pub(crate) fn keys(&self) -> Result<Vec<String>, KeystoreError> {
        let files = self.own_files()?;
        let names = files.iter().filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            name.strip_prefix("capif-")?.strip_suffix(".key")
        });
        Ok(names.map(str::to_owned).collect())
    }

    fn make_folder(&self) -> Result<(), KeystoreError> {
        let folder = &self.folder;
        match fs::metadata(folder) {
            Ok(metadata) if !metadata.is_dir() => {
                let source = io::Error::from(io::ErrorKind::NotADirectory);
                Err(failed("use", folder, source))
            }
            Ok(metadata) if metadata.mode() & OTHERS == 0 => Ok(()),
            Ok(_) => {
                // A folder that somebody made beforehand, and nothing is in it yet.
                let empty = fs::read_dir(folder)
                    .map_err(|source| failed("read", folder, source))?
                    .next()
                    .is_none();
                if !empty {
                    return Err(KeystoreError::Exposed {
                        path: folder.clone(),
                        mode: "700",
                    });
                }
                fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
                    .map_err(|source| failed("close to others", folder, source))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(folder)
                    .map_err(|source| failed("make", folder, source))?;
                sync_parent(folder)
            }
            Err(source) => Err(failed("inspect", folder, source)),
        }
    }

    fn own_files(&self) -> Result<Vec<PathBuf>, KeystoreError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(failed("read", &self.folder, source)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| failed("read", &self.folder, source))?;
            let name = entry.file_name();
            if name
                .to_str()
                .is_some_and(|name| name.trim_start_matches('.').starts_with("capif-"))
            {
                files.push(entry.path());
            }
        }
        Ok(files)
    }

    fn path_of(&self, name: &str, kind: &str) -> Result<PathBuf, KeystoreError> {
        let valid = (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !valid {
            return Err(KeystoreError::Name(name.to_owned()));
        }
        Ok(self.folder.join(format!("capif-{name}.{kind}")))
    }
}

impl Locked {
    /// Writes state whole, in place of what was there under this name. It is on the disk when this returns.
    ///
    /// # Errors
    /// Says what the operating system refused; the old state is then still there.
    pub fn store<T: Serialize>(&self, name: &str, state: &T) -> Result<(), KeystoreError> {
        let path = self.keystore.path_of(name, "json")?;
        let octets = encode(state).map_err(|error| KeystoreError::Damaged {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        self.replace(&path, &octets)
    }

    /// Makes a new private key under this name, in place of the one that was there.
    pub(crate) fn make_key(&self, name: &str) -> Result<PrivateKey, KeystoreError> {
        let key = PrivateKey::generate().map_err(KeystoreError::Key)?;
        let path = self.keystore.path_of(name, "key")?;
        self.replace(&path, key.pem().as_bytes())?;
        Ok(key)
    }

    /// Overwrites and removes the private key of this name; one that is not there is as good as removed.
    pub(crate) fn erase_key(&self, name: &str) -> Result<(), KeystoreError> {
        let path = self.keystore.path_of(name, "key")?;
        overwrite(&path)?;
        ignore_absent(fs::remove_file(&path)).map_err(|source| failed("remove", &path, source))?;
        sync(&self.keystore.folder)
    }

    fn replace(&self, path: &Path, octets: &[u8]) -> Result<(), KeystoreError> {
        let temporary = temporary_of(path);
        ignore_absent(fs::remove_file(&temporary))
            .map_err(|source| failed("remove", &temporary, source))?;
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| {
                file.write_all(octets)?;
                file.sync_all()
            })
            .map_err(|source| failed("write", &temporary, source))?;
        fs::rename(&temporary, path).map_err(|source| failed("replace", path, source))?;
        sync(&self.keystore.folder)
    }

    /// Removes what a crash left in the middle of a write.
    fn clear_leftovers(&self) -> Result<(), KeystoreError> {
        for path in self.keystore.own_files()? {
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            if name.starts_with(b".") {
                overwrite(&path)?;
                ignore_absent(fs::remove_file(&path))
                    .map_err(|source| failed("remove", &path, source))?;
            }
        }
        Ok(())
    }
}

impl std::ops::Deref for Locked {
    type Target = Keystore;

    fn deref(&self) -> &Keystore {
        &self.keystore
    }
}

fn temporary_of(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

/// Reads a file that is the owner's alone, into memory that is erased after use.
fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, KeystoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("read", path, source)),
    };
    // Of the open file, so that nobody can put another in its place in between.
    let metadata = file
        .metadata()
        .map_err(|source| failed("inspect", path, source))?;
    check_mode(path, &metadata)?;
    let size = usize::try_from(metadata.len().min(FILE_BYTES_MAX)).unwrap_or(0);
    // Room for all of it at once: a buffer that grows would leave copies behind.
    let mut octets = Zeroizing::new(Vec::with_capacity(size.saturating_add(1)));
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut octets)
        .map_err(|source| failed("read", path, source))?;
    Ok(Some(octets))
}

fn check_mode(path: &Path, metadata: &fs::Metadata) -> Result<(), KeystoreError> {
    if metadata.mode() & OTHERS == 0 {
        return Ok(());
    }
    Err(KeystoreError::Exposed {
        path: path.to_owned(),
        mode: "600",
    })
}

fn encode<T: Serialize>(state: &T) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    // Measured first, so that the buffer never grows: growing leaves copies of secrets behind.
    struct Length(usize);
    impl Write for Length {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0 = self.0.saturating_add(octets.len());
            Ok(octets.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut length = Length(0);
    serde_json::to_writer(&mut length, state)?;
    let mut octets = Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *octets, state)?;
    Ok(octets)
}

fn overwrite(path: &Path) -> Result<(), KeystoreError> {
    let zeros = |file: &mut File| {
        let length = file.metadata()?.len().min(FILE_BYTES_MAX);
        io::copy(&mut io::repeat(0).take(length), file)?;
        file.sync_all()
    };
    // What a link points to is not ours to overwrite.
    if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return Ok(());
    }
    match OpenOptions::new().write(true).open(path) {
        Ok(mut file) => zeros(&mut file).map_err(|source| failed("overwrite", path, source)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(failed("overwrite", path, source)),
    }
}

fn same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => open.dev() == named.dev() && open.ino() == named.ino(),
        _ => false,
    }
}

fn sync(folder: &Path) -> Result<(), KeystoreError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| failed("sync", folder, source))
}

fn sync_parent(folder: &Path) -> Result<(), KeystoreError> {
    match folder.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync(Path::new(".")),
        Some(parent) => sync(parent),
        None => Ok(()),
    }
}

fn ignore_absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> KeystoreError {
    KeystoreError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
