//! The operator's side of a core function: its socket in the folder, which only the folder's owner can open, or its listener on the
//! network, for which there are tokens.

mod remote;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use capif_ccf::{admin::SOCKET, init::ID_FILE};
use capif_spec::{
    common::{ProblemDetails, Redacted},
    json,
};
use capif_transport::{Body, Client, ClientError, ClientLimits, collect, empty, full};
use http::{HeaderValue, Method, Request, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};

use self::remote::{Place, Remote};
use crate::exit::{Exit, Failure};

/// The folder of a core function when nothing else is said.
const DIR_DEFAULT: &str = "./capif-data";

/// The largest answer: a listing may be long.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// How long an answer may take to arrive whole.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The core function whose folder this is, on this machine.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct OwnFolder {
    /// The folder of the core function
    #[arg(long, value_name = "DIR", default_value = DIR_DEFAULT)]
    pub(crate) dir: PathBuf,
}

/// Which core function is meant, here or elsewhere.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CcfFolder {
    /// The folder of the core function
    #[arg(long, value_name = "DIR", default_value = DIR_DEFAULT)]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

impl CcfFolder {
    /// Speaks to the core function that is meant.
    ///
    /// # Errors
    /// When it is elsewhere and cannot be reached in the way that is said.
    pub(crate) fn operator(&self) -> Result<Operator, Failure> {
        let environment = |name: &str| std::env::var(name).ok();
        match Place::of(&self.remote, &self.dir, environment)? {
            None => Ok(Operator::of(&self.dir)),
            Some(place) => Operator::at(place),
        }
    }
}

/// An id as it may stand in a path.
///
/// # Errors
/// Refuses any other text.
pub(crate) fn plain_id(id: &str) -> Result<&str, Failure> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if id.is_empty() || !id.bytes().all(plain) {
        return Err(Failure::usage(
            "an ID has letters, digits, `-`, `_` and `.` only; `capif list` shows them",
        ));
    }
    Ok(id)
}

/// How to name a folder in a command that is shown as advice: nothing if it is the usual one.
pub(crate) fn dir_option(dir: &Path) -> String {
    match dir.to_str() {
        Some(DIR_DEFAULT) => String::new(),
        _ => format!(" --dir {}", dir.display()),
    }
}

/// What to do about a folder in which there is no core function.
pub(crate) fn not_initialised(dir: &Path) -> Failure {
    Failure::new(
        Exit::NotFound,
        format!(
            "{} holds no CAPIF core function; make one with `capif init{}`",
            dir.display(),
            dir_option(dir)
        ),
    )
}

/// A core function, seen by its operator.
#[derive(Debug)]
pub(crate) struct Operator {
    client: Client,
    reached: Reached,
}

/// How it is reached.
#[derive(Debug)]
enum Reached {
    Folder(PathBuf),
    Network(Place),
}

impl Operator {
    /// Speaks to the core function that serves from this folder.
    pub(crate) fn of(dir: &Path) -> Self {
        Self {
            client: Client::unix(dir.join(SOCKET), ClientLimits::default()),
            reached: Reached::Folder(dir.to_owned()),
        }
    }

    /// Speaks to a core function over the network.
    fn at(place: Place) -> Result<Self, Failure> {
        Ok(Self {
            client: place.client()?,
            reached: Reached::Network(place),
        })
    }

    /// # Errors
    /// When no core function serves, or it refuses.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.send(Method::GET, path, empty()).await?.parse()
    }

    /// # Errors
    /// As [`Operator::get`].
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        content: &impl Serialize,
    ) -> Result<T, Failure> {
        let octets =
            serde_json::to_vec(content).map_err(|error| Failure::of(Exit::Usage, &error))?;
        self.send(Method::POST, path, full(octets)).await?.parse()
    }

    /// Removes the thing of this id.
    ///
    /// # Errors
    /// As [`Operator::get`].
    pub(crate) async fn delete(&self, collection: &str, id: &str) -> Result<(), Failure> {
        let path = format!("/{collection}/{}", plain_id(id)?);
        self.remove(&path).await
    }

    /// Removes what is at a path.
    ///
    /// # Errors
    /// As [`Operator::get`].
    pub(crate) async fn remove(&self, path: &str) -> Result<(), Failure> {
        self.send(Method::DELETE, path, empty()).await.map(drop)
    }

    async fn send(&self, method: Method, path: &str, body: Body) -> Result<Answer, Failure> {
        let base = match &self.reached {
            Reached::Folder(_) => "http://operator",
            Reached::Network(place) => &place.base,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{base}{path}"))
            .header(header::CONTENT_TYPE, "application/json");
        if let Reached::Network(place) = &self.reached {
            request = request.header(header::AUTHORIZATION, bearer(&place.token)?);
        }
        let request = request
            .body(body)
            .map_err(|error| Failure::of(Exit::Usage, &error))?;
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let body = collect(response.into_body(), ANSWER_BYTES_MAX, ANSWER_TIMEOUT)
            .await
            .map_err(|error| Failure::of(Exit::Network, &error))?;
        if status.is_success() {
            Ok(Answer(body))
        } else {
            Err(refusal(status, &body))
        }
    }

    fn unreachable(&self, error: &ClientError) -> Failure {
        let folder = match &self.reached {
            Reached::Folder(dir) => dir,
            Reached::Network(place) => return place.unreachable(error),
        };
        let dir = folder.display();
        match error {
            ClientError::TimedOut => Failure::new(
                Exit::TimedOut,
                format!("the CAPIF core function in {dir} did not answer in time; look at its log"),
            ),
            ClientError::Connect(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
                Failure::new(
                    Exit::Authentication,
                    format!(
                        "{dir} belongs to another user; run this as the user who runs `capif serve`"
                    ),
                )
            }
            ClientError::Connect(_) => not_serving(folder),
            other => Failure::of(Exit::Network, other),
        }
    }
}

/// What to do when nobody serves from a folder.
fn not_serving(dir: &Path) -> Failure {
    let option = dir_option(dir);
    let first = if dir.join(ID_FILE).exists() {
        String::new()
    } else {
        format!("make one with `capif init{option}` and ")
    };
    Failure::new(
        Exit::Network,
        format!(
            "no CAPIF core function is serving from {}; {first}start one with `capif serve{option}`",
            dir.display()
        ),
    )
}

/// The header that carries a token; it is shown nowhere.
fn bearer(token: &Redacted) -> Result<HeaderValue, Failure> {
    let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
    let mut value = value.map_err(|error| Failure::of(Exit::Usage, &error))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The body of a good answer.
struct Answer(bytes::Bytes);

impl Answer {
    fn parse<T: DeserializeOwned>(self) -> Result<T, Failure> {
        json::from_slice(&self.0).map_err(|error| {
            Failure::new(
                Exit::Network,
                format!(
                    "the CAPIF core function answered in a way that cannot be used ({error}); is it of this version?"
                ),
            )
        })
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let problem: ProblemDetails = json::from_slice(body).unwrap_or_default();
    let said = problem
        .detail
        .or(problem.title)
        .unwrap_or_else(|| status.to_string());
    let exit = match status {
        StatusCode::BAD_REQUEST => Exit::Usage,
        StatusCode::CONFLICT => Exit::Conflict,
        other => Exit::from(other),
    };
    Failure::new(exit, said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_there_is_a_network_failure_with_advice() {
        let dir = tempfile::tempdir().unwrap();
        let failure = Operator::of(dir.path())
            .get::<serde_json::Value>("/invokers")
            .await
            .unwrap_err();
        assert_eq!(failure.exit, Exit::Network);
        let text = failure.to_string();
        assert!(
            text.contains("no CAPIF core function is serving from"),
            "{text}"
        );
        assert!(text.contains("capif init --dir"), "{text}");

        std::fs::write(dir.path().join(ID_FILE), "CCF1").unwrap();
        let text = not_serving(dir.path()).to_string();
        assert!(
            !text.contains("capif init") && text.contains("capif serve --dir"),
            "{text}"
        );
        let text = not_serving(Path::new("./capif-data")).to_string();
        assert!(text.ends_with("start one with `capif serve`"), "{text}");
    }

    #[test]
    fn a_refusal_speaks_with_the_words_of_the_core_function() {
        let failure = refusal(
            StatusCode::NOT_FOUND,
            br#"{"detail":"there is no such API invoker"}"#,
        );
        assert_eq!(failure.exit, Exit::NotFound);
        assert_eq!(failure.to_string(), "there is no such API invoker");
        assert_eq!(refusal(StatusCode::BAD_REQUEST, b"").exit, Exit::Usage);
        assert_eq!(
            refusal(StatusCode::SERVICE_UNAVAILABLE, b"").exit,
            Exit::Refused
        );
    }

    #[tokio::test]
    async fn an_id_is_not_a_path() {
        let operator = Operator::of(Path::new("/nowhere"));
        for id in ["", "a/b", "a?b", "a b", "a%2fb"] {
            assert_eq!(
                operator.delete("invokers", id).await.unwrap_err().exit,
                Exit::Usage,
                "{id:?}"
            );
        }
    }
}
