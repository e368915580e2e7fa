//! Sealing the key files of a folder that is there already, or sealing them under another passphrase.
//!
//! All sealed texts are written beside the files before the first file is replaced, each in one step. Whatever a crash leaves,
//! each file is whole, the same command takes up where it ended, and a CCF does not start on a half-sealed folder.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{Custody, CustodyError, Passphrase, beside, failed, private_text, sealed, settle};
use crate::{admin, authority::pkcs11, init};

/// The folders that key files lie in, with all that is below.
const FOLDERS: [&str; 2] = ["ca", "keys"];

/// The ending of a sealed text that has not taken its place yet.
const STAGED: &str = ".sealed";

/// Seals every key file of the CCF's folder; those that are sealed under this passphrase already stay as they are, and those
/// under the configured one are sealed anew. Returns how many files were changed.
///
/// # Errors
/// When a file cannot be opened or written; then no file was changed, or the command can be given again.
pub fn seal(dir: &Path, configured: &Custody, new: &Passphrase) -> Result<usize, CustodyError> {
    let socket = dir.join(admin::SOCKET);
    if UnixStream::connect(&socket).is_ok() {
        return Err(CustodyError::Unfit(format!(
            "the core function of {} is running: stop it first, since it may be writing keys",
            dir.display()
        )));
    }
    let mut files = Vec::new();
    for folder in FOLDERS {
        key_files(&dir.join(folder), &mut files)?;
    }
    files.sort();
    let mut staged: Vec<(PathBuf, PathBuf)> = Vec::new();
    for file in files {
        if let Some(text) = resealed(&file, configured, new)? {
            let place = beside(&file, STAGED);
            init::write(&place, &text, 0o600).map_err(failed(&place))?;
            staged.push((place, file));
        }
    }
    for (place, file) in &staged {
        fs::rename(place, file)
            .and_then(|()| settle(file))
            .map_err(failed(file))?;
    }
    Ok(staged.len())
}

/// The text that a file shall have; nothing when it has it.
fn resealed(
    file: &Path,
    configured: &Custody,
    new: &Passphrase,
) -> Result<Option<Zeroizing<String>>, CustodyError> {
    let text = private_text(file)?;
    let shown = file.display().to_string();
    if pkcs11::is_reference(&text) {
        return Ok(None);
    }
    if !sealed::is_sealed(&text) {
        return sealed::close(&text, new, &shown).map(Some);
    }
    if sealed::open(&text, new).is_some() {
        return Ok(None);
    }
    let before = configured
        .passphrase
        .as_ref()
        .and_then(|passphrase| sealed::open(&text, passphrase))
        .ok_or_else(|| CustodyError::Passphrase(shown.clone()))?;
    sealed::close(&before, new, &shown).map(Some)
}

/// Finds the key files below a folder, and removes what a crash left half-written: nothing else is to hold a key.
fn key_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), CustodyError> {
    let entries = fs::read_dir(folder).map_err(failed(folder))?;
    for entry in entries {
        let entry = entry.map_err(failed(folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(failed(&path))?;
        let ending = path.extension().and_then(|ending| ending.to_str());
        if kind.is_dir() {
            key_files(&path, found)?;
        } else if ending == Some("key") {
            found.push(path);
        } else if matches!(ending, Some("new" | "sealed")) {
            fs::remove_file(&path).map_err(failed(&path))?;
        }
    }
    Ok(())
}
