//! Where an invoker or a gateway keeps its state when `--dir` does not say: below the user's state folder, one folder per CAPIF
//! core function, named after its root certificate. What belongs to one CAPIF core function is never shown to another.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use capif_transport::{Anchors, Fingerprint};

use crate::exit::{Exit, Failure};

/// The file that names the invoker folder used last.
const CURRENT: &str = "current";

/// The folder of this program's state for one user.
#[derive(Clone, Debug)]
pub(crate) struct StateFolder(PathBuf);

impl StateFolder {
    /// The one of the user who runs this: `$XDG_STATE_HOME/capif`, or `~/.local/state/capif`.
    ///
    /// # Errors
    /// When the environment names neither.
    pub(crate) fn of_user() -> Result<Self, Failure> {
        Self::of(|name| std::env::var_os(name)).ok_or_else(|| {
            Failure::usage(
                "neither HOME nor XDG_STATE_HOME says where to keep state; set one, or give --dir",
            )
        })
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        // A relative path would mean another folder each time (XDG Base Directory Specification).
        let absolute = |name: &str| {
            variable(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .map(|folder| Self(folder.join("capif")))
    }

    /// The folder of an invoker at the CAPIF core function with this root certificate.
    pub(crate) fn invoker(&self, root: &Fingerprint) -> PathBuf {
        self.invokers().join(short(root))
    }

    /// The folder of a gateway for a provider domain at the CAPIF core function with this root certificate.
    pub(crate) fn gateway(&self, root: &Fingerprint, domain: &str) -> PathBuf {
        self.0
            .join("gateway")
            .join(short(root))
            .join(file_name(domain))
    }

    /// The invoker folder used last, if it is still there.
    pub(crate) fn current(&self) -> Option<PathBuf> {
        let name = fs::read_to_string(self.invokers().join(CURRENT)).ok()?;
        let name = name.trim();
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_name
            .then(|| self.invokers().join(name))
            .filter(|folder| folder.is_dir())
    }

    /// Makes this invoker folder the one used last.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub(crate) fn set_current(&self, folder: &Path) -> Result<(), Failure> {
        let Some(name) = folder
            .file_name()
            .filter(|_| folder.parent() == Some(&self.invokers()))
        else {
            return Ok(());
        };
        let path = self.invokers().join(CURRENT);
        replace(&path, name.as_encoded_bytes()).map_err(|error| {
            Failure::new(
                Exit::Usage,
                format!(
                    "cannot write {} ({error}); check who owns the folder",
                    path.display()
                ),
            )
        })
    }

    fn invokers(&self) -> PathBuf {
        self.0.join("invoker")
    }
}

/// The fingerprint of the root certificate in a PEM text.
///
/// # Errors
/// When there is none.
pub(crate) fn root_of(anchors_pem: &str) -> Result<Fingerprint, Failure> {
    Anchors::from_pem(anchors_pem)
        .ok()
        .and_then(|anchors| anchors.fingerprints().first().copied())
        .ok_or_else(|| {
            Failure::usage("there is no root certificate in PEM form where one should be")
        })
}

/// The first 16 hexadecimal digits: enough to tell apart the few CAPIF core functions that one user meets.
fn short(root: &Fingerprint) -> String {
    root.to_string().chars().take(16).collect()
}

/// A name as a file name: itself if it is a plain word, otherwise a digest of it.
fn file_name(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_word = (1..=64).contains(&name.len()) && name.bytes().all(plain);
    if is_word && !name.starts_with('.') {
        name.to_owned()
    } else {
        format!("sha256-{}", short(&Fingerprint::of(name.as_bytes())))
    }
}

/// Puts a file in the place of another one whole.
fn replace(path: &Path, octets: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(octets)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(pairs: &'static [(&'static str, &'static str)]) -> Option<StateFolder> {
        StateFolder::of(|name| {
            let found = pairs.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_environment_says_where_state_is_kept() {
        let folder = |pairs| state(pairs).map(|state| state.0);
        assert_eq!(
            folder(&[("HOME", "/home/a")]),
            Some("/home/a/.local/state/capif".into())
        );
        assert_eq!(
            folder(&[("HOME", "/home/a"), ("XDG_STATE_HOME", "/var/state")]),
            Some("/var/state/capif".into())
        );
        assert_eq!(
            folder(&[("HOME", "/home/a"), ("XDG_STATE_HOME", "relative")]),
            Some("/home/a/.local/state/capif".into())
        );
        assert_eq!(folder(&[("XDG_STATE_HOME", "")]), None);
        assert_eq!(folder(&[]), None);
    }

    #[test]
    fn another_root_means_another_folder() {
        let state = state(&[("HOME", "/home/a")]).unwrap();
        let (one, other) = (Fingerprint::from([0x1f; 32]), Fingerprint::from([0x2f; 32]));
        assert_eq!(
            state.invoker(&one),
            Path::new("/home/a/.local/state/capif/invoker/1f1f1f1f1f1f1f1f")
        );
        assert_ne!(state.invoker(&one), state.invoker(&other));
        assert_eq!(
            state.gateway(&one, "acme"),
            Path::new("/home/a/.local/state/capif/gateway/1f1f1f1f1f1f1f1f/acme")
        );
        assert_ne!(state.gateway(&one, "acme"), state.gateway(&other, "acme"));
    }

    #[test]
    fn a_domain_name_cannot_leave_the_folder() {
        for name in [
            "",
            ".",
            "..",
            "../../etc",
            "a/b",
            "acme corp",
            ".hidden",
            "\u{e9}",
        ] {
            let file = file_name(name);
            assert!(
                file.starts_with("sha256-") && !file.contains('/'),
                "{name:?} {file}"
            );
        }
        assert_eq!(file_name("acme-2.example_x"), "acme-2.example_x");
    }

    #[test]
    fn the_folder_used_last_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateFolder(dir.path().join("capif"));
        assert_eq!(state.current(), None);
        let folder = state.invoker(&Fingerprint::from([7; 32]));
        state.set_current(&folder).unwrap();
        assert_eq!(
            state.current(),
            None,
            "a folder that is not there is not current"
        );
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(state.current(), Some(folder));
        state.set_current(Path::new("/elsewhere/abc")).unwrap();
        assert!(
            state.current().is_some(),
            "a folder given by --dir is not remembered"
        );
        fs::write(dir.path().join("capif/invoker/current"), "../../etc").unwrap();
        assert_eq!(state.current(), None);
    }
}
