//! Making a CCF's folder: authority, keys and configuration file.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use capif_transport::Clock;

use crate::{
    authority::{
        self, AuthorityError, brought,
        custody::{Custody, Passphrase},
        tokens,
    },
    config::{self, Config, CustodySection},
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
    /// Something of the options does not fit.
    #[error("{0}")]
    Options(String),
    /// Keys or certificates could not be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// What a folder is made with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How the private keys are kept; stands in the configuration file afterwards.
    pub custody: CustodySection,
    /// An issuing authority that is there already; one is made if absent.
    pub authority: Option<BroughtAuthority>,
}

/// The files of an issuing authority that was made elsewhere.
#[derive(Clone, Debug)]
pub struct BroughtAuthority {
    /// Its certificate, those between it and the root, and the root unless that has a file of its own.
    pub certificates: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The root certificate.
    pub root: Option<PathBuf>,
}

/// Makes the folder with an authority of its own and key files for their owner alone.
///
/// # Errors
/// When it exists, or cannot be written.
pub fn init(dir: &Path, clock: &dyn Clock) -> Result<(), InitError> {
    init_with(dir, &Options::default(), clock)
}

/// Makes the folder. The id file is written last: a folder without it is taken up again by the next `init`.
///
/// # Errors
/// When it exists, or cannot be written, or something of the options does not fit.
pub fn init_with(dir: &Path, options: &Options, clock: &dyn Clock) -> Result<(), InitError> {
    if dir.join(ID_FILE).exists() {
        return Err(InitError::Exists(dir.to_owned()));
    }
    options.custody.check().map_err(InitError::Options)?;
    let passphrase_file = &options.custody.passphrase_file;
    if !passphrase_file.as_os_str().is_empty() {
        Passphrase::read_new(passphrase_file).map_err(AuthorityError::from)?;
    }
    let custody = Custody::open(&options.custody).map_err(AuthorityError::from)?;
    let config = settings(dir, &options.custody)?;
    let ccf_id = random::id("CCF")?;
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
    let write_key = |name: &str, text: &str| {
        let written = custody.write(dir, name, text);
        written.map_err(|error| InitError::from(AuthorityError::from(error)))
    };
    let (root, issuing) = match &options.authority {
        Some(brought) => {
            let (key, text) = custody.take(&brought.key).map_err(AuthorityError::from)?;
            let root = brought.root.as_deref();
            let read = brought::read(&brought.certificates, &key, root, clock.now())?;
            write_key(authority::files::ISSUING_KEY, &text)?;
            (read.root, read.issuing)
        }
        None => {
            let made = || {
                let root_key = custody.make(dir, authority::files::ROOT_KEY)?;
                let issuing_key = custody.make_issuing(dir, authority::files::ISSUING_KEY)?;
                authority::create(&ccf_id, &root_key, &issuing_key, clock.now())
            };
            made()?
        }
    };
    write(authority::files::ROOT, &root, 0o644)?;
    write(authority::files::ISSUING, &issuing, 0o644)?;
    write_key(tokens::files::ACCESS, &tokens::create()?)?;
    write_key(tokens::files::CREDENTIAL, &tokens::create()?)?;
    write_key(sealing::FILE, &sealing::create()?)?;
    if let Some(config) = config {
        write(config::FILE_NAME, &config, 0o644)?;
    }
    // Last: its presence says that all else is there.
    write(ID_FILE, &ccf_id, 0o644)
}

/// The configuration file with how keys are kept; nothing when there is one already, which must then say the same.
fn settings(dir: &Path, custody: &CustodySection) -> Result<Option<String>, InitError> {
    if dir.join(config::FILE_NAME).exists() {
        let held = Config::load(dir).map_err(|error| InitError::Options(error.to_string()))?;
        if held.custody != *custody {
            return Err(InitError::Options(format!(
                "{} is there already and says something else under [custody]: make both agree, or move it away",
                dir.join(config::FILE_NAME).display()
            )));
        }
        return Ok(None);
    }
    let mut text = config::TEMPLATE.to_owned();
    let path = |path: &Path| path.to_str().map(str::to_owned);
    let values = [
        ("passphrase_file", path(&custody.passphrase_file)),
        ("pkcs11_module", path(&custody.pkcs11_module)),
        ("pkcs11_token", Some(custody.pkcs11_token.clone())),
        ("pkcs11_pin_file", path(&custody.pkcs11_pin_file)),
    ];
    for (key, value) in values {
        let value = value.ok_or_else(|| {
            InitError::Options(format!("custody.{key}: the path must be valid UTF-8"))
        })?;
        if !value.is_empty() {
            // A string of JSON is one of TOML, too.
            let line = format!("{key} = {}", serde_json::Value::from(value));
            text = text.replacen(&format!("# {key} = \"\""), &line, 1);
        }
    }
    Ok(Some(text))
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

#[cfg(test)]
mod tests {
    use capif_transport::SystemClock;

    use super::*;

    fn sealed(dir: &Path) -> Options {
        let file = dir.join("passphrase");
        write(&file, "correct horse battery\n", 0o600).unwrap();
        Options {
            custody: CustodySection {
                passphrase_file: file,
                ..CustodySection::default()
            },
            authority: None,
        }
    }

    #[test]
    fn a_sealed_folder_holds_no_open_key_and_its_configuration_names_the_passphrase() {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("ccf");
        let options = sealed(outer.path());
        init_with(&dir, &options, &SystemClock).unwrap();
        let keys = [
            authority::files::ROOT_KEY,
            authority::files::ISSUING_KEY,
            tokens::files::ACCESS,
            tokens::files::CREDENTIAL,
            sealing::FILE,
        ];
        let custody = Custody::open(&options.custody).unwrap();
        for key in keys {
            let text = fs::read_to_string(dir.join(key)).unwrap();
            assert!(text.contains("ENCRYPTED PRIVATE KEY"), "{key}");
            custody.read(&dir, key).unwrap();
        }
        let config = Config::load(&dir).unwrap();
        assert_eq!(config.custody, options.custody);
        let error = init_with(&dir, &options, &SystemClock);
        assert!(matches!(error, Err(InitError::Exists(_))), "{error:?}");
    }

    #[test]
    fn what_does_not_fit_leaves_no_folder() {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("ccf");
        let mut options = sealed(outer.path());
        write(&options.custody.passphrase_file, "short", 0o600).unwrap();
        let error = init_with(&dir, &options, &SystemClock).unwrap_err();
        assert!(error.to_string().contains("12 characters"), "{error}");
        options.custody = CustodySection {
            pkcs11_token: "capif".to_owned(),
            ..CustodySection::default()
        };
        let error = init_with(&dir, &options, &SystemClock).unwrap_err();
        assert!(error.to_string().contains("pkcs11_module"), "{error}");
        assert!(!dir.exists());

        // A configuration that is there already must say the same.
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(config::FILE_NAME), "[ccf]\n").unwrap();
        let options = sealed(outer.path());
        let error = init_with(&dir, &options, &SystemClock).unwrap_err();
        assert!(error.to_string().contains("[custody]"), "{error}");
        init(&dir, &SystemClock).unwrap();
        assert_eq!(
            fs::read_to_string(dir.join(config::FILE_NAME)).unwrap(),
            "[ccf]\n"
        );
    }

    #[test]
    fn a_brought_authority_stands_in_the_place_of_ones_own() {
        let outer = tempfile::tempdir().unwrap();
        let (first, second) = (outer.path().join("first"), outer.path().join("second"));
        init(&first, &SystemClock).unwrap();
        let options = Options {
            custody: CustodySection::default(),
            authority: Some(BroughtAuthority {
                certificates: first.join(authority::files::ISSUING),
                key: first.join(authority::files::ISSUING_KEY),
                root: Some(first.join(authority::files::ROOT)),
            }),
        };
        init_with(&second, &options, &SystemClock).unwrap();
        for file in [
            authority::files::ROOT,
            authority::files::ISSUING,
            authority::files::ISSUING_KEY,
        ] {
            let plain = |dir: &Path| {
                fs::read_to_string(dir.join(file))
                    .unwrap()
                    .replace('\r', "")
            };
            assert_eq!(plain(&first), plain(&second), "{file}");
        }
        assert!(!second.join(authority::files::ROOT_KEY).exists());
    }
}
