//! Sockets in the file system.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// The kernel's address holds 108 bytes; longer paths go through the opened parent directory.
const PATH_BYTES_MAX: usize = 100;

/// A listening socket whose file is removed with it.
pub(crate) struct Socket {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    inode: (u64, u64),
}

impl Socket {
    /// Listens at `path`, for the owner alone.
    ///
    /// The socket is made inside a private directory and then moved, so that nobody else can reach it at any moment. A
    /// file that is there already is replaced only if it is a socket on which nobody answers.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        let (parent, name) = split(path)?;
        refuse_if_alive(path)?;
        let private = PrivateDirectory::new(&parent)?;
        let unfinished = private.0.join(name);
        let listener = UnixListener::from_std({
            let short = Short::new(&unfinished)?;
            let listener = std::os::unix::net::UnixListener::bind(&short.path)?;
            listener.set_nonblocking(true)?;
            listener
        })?;
        let placed = std::fs::set_permissions(&unfinished, Permissions::from_mode(0o600))
            .and_then(|()| inode(&unfinished))
            .and_then(|inode| std::fs::rename(&unfinished, path).map(|()| inode));
        match placed {
            Ok(inode) => Ok(Self {
                listener,
                path: path.to_owned(),
                inode,
            }),
            Err(error) => {
                let _ = std::fs::remove_file(&unfinished);
                Err(error)
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Another process may have put its own socket there since.
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Connects to the socket at `path`.
pub(crate) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let short = Short::new(path)?;
    UnixStream::connect(&short.path).await
}

fn refuse_if_alive(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file that is no socket is in the way",
        )),
        Ok(_) => {
            let short = Short::new(path)?;
            match std::os::unix::net::UnixStream::connect(&short.path) {
                Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            }
        }
    }
}

fn split(path: &Path) -> io::Result<(PathBuf, &std::ffi::OsStr)> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file name"))?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    Ok((parent, name))
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// A path that fits into a socket address for as long as this lives.
struct Short {
    path: PathBuf,
    _parent: Option<File>,
}

impl Short {
    fn new(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= PATH_BYTES_MAX {
            return Ok(Self {
                path: path.to_owned(),
                _parent: None,
            });
        }
        let (parent, name) = split(path)?;
        let parent = File::open(parent)?;
        let mut path = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd()));
        path.push(name);
        Ok(Self {
            path,
            _parent: Some(parent),
        })
    }
}

/// A directory that only the owner can enter, removed with this if it is empty.
struct PrivateDirectory(PathBuf);

impl PrivateDirectory {
    fn new(parent: &Path) -> io::Result<Self> {
        let mut attempt = 0_u32;
        loop {
            let path = parent.join(format!(".bind-{}-{attempt}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 1000 => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}
