//! The operator's API over the network: where it is, whom to believe there, and the token.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use capif_spec::common::Redacted;
use capif_transport::{
    Anchors, Client, ClientError, ClientLimits, ClientTls, Expected, SystemClock,
};

use super::DIR_DEFAULT;
use crate::exit::{Exit, Failure};

/// The longest token.
const TOKEN_BYTES_MAX: u64 = 4096;

/// How to reach a core function on another machine.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Remote {
    /// The operator's API over the network, like https://ccf.example:8482 [env: CAPIF_OPERATOR_URL, unless --dir names a folder]
    #[arg(long, value_name = "URL", help_heading = "From another machine")]
    pub(crate) operator_url: Option<String>,
    /// The file with the token that `capif operator add` printed [env: CAPIF_OPERATOR_TOKEN_FILE]
    #[arg(long, value_name = "FILE", help_heading = "From another machine")]
    pub(crate) operator_token_file: Option<PathBuf>,
    /// The root certificate of the core function, ca/root.pem [env: CAPIF_OPERATOR_CA] [default: that in --dir, or the system's]
    #[arg(long, value_name = "FILE", help_heading = "From another machine")]
    pub(crate) operator_ca: Option<PathBuf>,
}

/// Where the operator's API is, with the right to use it.
#[derive(Debug)]
pub(crate) struct Place {
    /// Scheme, host and port.
    pub(crate) base: String,
    pub(crate) token: Redacted,
    ca: Option<PathBuf>,
}

impl Place {
    /// What is said by options, and by the environment where they say nothing. A folder that is named comes before the
    /// environment, so that nobody acts on another core function than the one that was named.
    ///
    /// # Errors
    /// When a part is missing or wrong.
    pub(crate) fn of(
        remote: &Remote,
        dir: &Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, Failure> {
        let named = dir != Path::new(DIR_DEFAULT);
        let url = match &remote.operator_url {
            Some(url) => url.clone(),
            None if named => return without(remote),
            None => match environment("CAPIF_OPERATOR_URL").filter(|url| !url.is_empty()) {
                Some(url) => url,
                None => return without(remote),
            },
        };
        let base = base(&url)?;
        let file = |given: &Option<PathBuf>, name| {
            let from_environment = || environment(name).filter(|file| !file.is_empty());
            given
                .clone()
                .or_else(|| from_environment().map(PathBuf::from))
        };
        let token = file(&remote.operator_token_file, "CAPIF_OPERATOR_TOKEN_FILE");
        let token = token.ok_or_else(|| {
            Failure::usage(
                "the operator's API over the network takes a token: put the one that `capif operator add` printed into a file, and \
                 name it with --operator-token-file",
            )
        })?;
        let ca = file(&remote.operator_ca, "CAPIF_OPERATOR_CA").or_else(|| {
            let own = dir.join("ca/root.pem");
            own.is_file().then_some(own)
        });
        Ok(Some(Self {
            base,
            token: read_token(&token)?,
            ca,
        }))
    }

    /// A client that speaks to the core function alone.
    ///
    /// # Errors
    /// When the trust anchors cannot be used.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let anchors = match &self.ca {
            None => Anchors::native(),
            Some(file) => {
                let pem = fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
                Anchors::from_pem(&pem)
            }
        };
        let usable = |error| Failure::of(Exit::Usage, &error);
        let tls = ClientTls {
            anchors: Some(anchors.map_err(usable)?),
            identity: None,
            clock: Arc::new(SystemClock),
            session: None,
            tls12_only: false,
        };
        // Gateways have certificates of the same authority, on hosts of their own choice.
        let expected = Expected {
            organizational_unit: "CCF",
            common_name: None,
        };
        Client::expecting(tls, ClientLimits::default(), expected).map_err(usable)
    }
}

impl Place {
    /// What to do when nobody is there, or somebody else.
    pub(crate) fn unreachable(&self, error: &ClientError) -> Failure {
        let base = &self.base;
        match error {
            ClientError::TimedOut => Failure::new(
                Exit::TimedOut,
                format!("{base} did not answer in time; is it the operator's API of a core function?"),
            ),
            ClientError::Connect(_) => Failure::of(Exit::Network, error).next(&format!(
                "is a core function serving, with `operator.listen` where {base} leads to?"
            )),
            ClientError::Tls(_) => Failure::of(Exit::Authentication, error).next(
                "give the root certificate of the core function (ca/root.pem) with --operator-ca, and a host that its own \
                 certificate names (`ccf.names`)",
            ),
            other => Failure::of(Exit::Network, other),
        }
    }
}

/// No network; then what belongs to it has no place.
fn without(remote: &Remote) -> Result<Option<Place>, Failure> {
    if remote.operator_token_file.is_some() || remote.operator_ca.is_some() {
        return Err(Failure::usage(
            "--operator-token-file and --operator-ca belong to --operator-url",
        ));
    }
    Ok(None)
}

/// Scheme, host and port of an address that has nothing else.
fn base(url: &str) -> Result<String, Failure> {
    let wrong = || {
        Failure::usage(format!(
            "`{url}` is not where an operator's API can be; give it like https://ccf.example:8482"
        ))
    };
    let uri: http::Uri = url.parse().map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?;
    let plain = uri.scheme_str() == Some("https")
        && matches!(uri.path(), "" | "/")
        && uri.query().is_none()
        && !authority.as_str().contains('@');
    if !plain {
        return Err(wrong());
    }
    Ok(format!("https://{authority}"))
}

/// Reads a token that is no one else's to read.
fn read_token(file: &Path) -> Result<Redacted, Failure> {
    let metadata = fs::metadata(file).map_err(|error| unreadable(file, &error))?;
    if metadata.mode() & 0o007 != 0 {
        return Err(Failure::new(
            Exit::Authentication,
            format!(
                "everybody on this machine can read {}; make it yours alone with `chmod 600`, and have the token replaced if \
                 others may have seen it",
                file.display()
            ),
        ));
    }
    let fits = metadata.len() <= TOKEN_BYTES_MAX;
    let text = match fits {
        true => fs::read_to_string(file).map_err(|error| unreadable(file, &error))?,
        false => String::new(),
    };
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::usage(format!(
            "{} holds no token; it is the one line that `capif operator add` printed",
            file.display()
        )));
    }
    Ok(Redacted::from(token.to_owned()))
}

fn unreadable(file: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("{} cannot be read: {error}", file.display()),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn token_file(dir: &Path, text: &str, mode: u32) -> PathBuf {
        let file = dir.join("token");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn options_come_before_a_folder_and_a_folder_before_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let file = token_file(folder.path(), "secret\n", 0o600);
        let set = |name: &str| match name {
            "CAPIF_OPERATOR_URL" => Some("https://set.example:1".to_owned()),
            "CAPIF_OPERATOR_TOKEN_FILE" => Some(file.display().to_string()),
            _ => None,
        };
        let usual = Path::new(DIR_DEFAULT);
        let base = |remote: &Remote, dir: &Path| {
            let place = Place::of(remote, dir, set).unwrap();
            place.map(|place| place.base)
        };
        let none = Remote::default();
        assert_eq!(base(&none, usual).unwrap(), "https://set.example:1");
        assert_eq!(base(&none, folder.path()), None);
        let given = Remote {
            operator_url: Some("https://given.example:2/".to_owned()),
            ..Remote::default()
        };
        assert_eq!(
            base(&given, folder.path()).unwrap(),
            "https://given.example:2"
        );
        assert!(Place::of(&none, usual, |_| None).unwrap().is_none());
        let place = Place::of(&given, usual, set).unwrap().unwrap();
        assert_eq!(place.token.expose(), "secret");

        let alone = Remote {
            operator_ca: Some("root.pem".into()),
            ..Remote::default()
        };
        assert_eq!(
            Place::of(&alone, usual, |_| None).unwrap_err().exit,
            Exit::Usage
        );
        assert_eq!(
            Place::of(&given, usual, |_| None).unwrap_err().exit,
            Exit::Usage,
            "no token"
        );
    }

    #[test]
    fn an_address_is_https_host_and_port() {
        for wrong in [
            "http://ccf.example:8482",
            "ccf.example:8482",
            "https://amy@ccf.example:8482",
            "https://ccf.example/path",
            "https://ccf.example/?a=b",
            "",
        ] {
            assert_eq!(base(wrong).unwrap_err().exit, Exit::Usage, "{wrong}");
        }
        assert_eq!(base("https://[::1]:8482").unwrap(), "https://[::1]:8482");
    }

    #[test]
    fn a_token_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = token_file(folder.path(), "secret", 0o604);
        assert_eq!(read_token(&file).unwrap_err().exit, Exit::Authentication);
        for text in ["", " \n", "two words", "é"] {
            let file = token_file(folder.path(), text, 0o600);
            assert_eq!(read_token(&file).unwrap_err().exit, Exit::Usage, "{text:?}");
        }
        let absent = folder.path().join("absent");
        assert_eq!(read_token(&absent).unwrap_err().exit, Exit::Usage);
    }
}
