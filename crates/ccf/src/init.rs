//! Making a CCF's folder: authority, keys and configuration file.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use capif_transport::Clock;

use crate::{
    authority::{self, AuthorityError, tokens},
    config,
    random::{self, NoRandomness},
    sealing,
};

/// The file that holds the CCF's id.
pub const ID_FILE: &str = "ccf-id";

/// A folder was not made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is one already.
    #[error("{0} already holds a CAPIF core function; nothing was changed")]
    Exists(PathBuf),
    /// A file could not be written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Keys or certificates could not be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// Makes the folder. The id file is written last: a folder without it is taken up again by the next `init`.
///
/// # Errors
/// When it exists, or cannot be written.
pub fn init(dir: &Path, clock: &dyn Clock) -> Result<(), InitError> {
    if dir.join(ID_FILE).exists() {
        return Err(InitError::Exists(dir.to_owned()));
    }
    let ccf_id = random::id("CCF")?;
    let authority = authority::create(&ccf_id, clock.now())?;
    for folder in ["", "ca", "keys"] {
        let path = dir.join(folder);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o700)))
            .map_err(|source| InitError::File { path, source })?;
    }
    let write = |name: &str, text: &str, mode: u32| {
        let path = dir.join(name);
        write(&path, text, mode).map_err(|source| InitError::File { path, source })
    };
    write(authority::files::ROOT, &authority.root, 0o644)?;
    write(authority::files::ROOT_KEY, &authority.root_key, 0o600)?;
    write(authority::files::ISSUING, &authority.issuing, 0o644)?;
    write(authority::files::ISSUING_KEY, &authority.issuing_key, 0o600)?;
    write(tokens::files::ACCESS, &tokens::create()?, 0o600)?;
    write(tokens::files::CREDENTIAL, &tokens::create()?, 0o600)?;
    write(sealing::FILE, &sealing::create()?, 0o600)?;
    if !dir.join(config::FILE_NAME).exists() {
        write(config::FILE_NAME, config::TEMPLATE, 0o644)?;
    }
    // Last: its presence says that all else is there.
    write(ID_FILE, &ccf_id, 0o644)
}

pub(crate) fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    // What an earlier attempt left, or somebody prepared, is replaced, not written into.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
