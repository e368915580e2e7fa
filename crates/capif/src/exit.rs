//! How the program ends: the exit codes, and the one line that says what happened and what to do next.

use std::{fmt, process::ExitCode};

use capif_client::ErrorKind;
use http::StatusCode;

/// The exit codes, as the help of every command lists them.
pub(crate) const HELP: &str = "Exit codes: 0 done, 1 usage or a failure of this machine, 2 refused by the peer, \
     3 not found, 4 authentication, 5 network, 6 timed out, 7 conflict.";

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// The command must be given differently, or this machine failed.
    Usage = 1,
    /// The peer said no.
    Refused = 2,
    /// What was asked for is not there.
    NotFound = 3,
    /// Somebody did not prove who they are, or may not do this.
    Authentication = 4,
    /// The network, or a peer that does not speak as it should.
    Network = 5,
    /// No answer in time.
    TimedOut = 6,
    /// Something else is in the way.
    Conflict = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Usage | ErrorKind::Internal => Self::Usage,
            ErrorKind::Refused => Self::Refused,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Authentication => Self::Authentication,
            ErrorKind::Network => Self::Network,
            ErrorKind::TimedOut => Self::TimedOut,
            ErrorKind::Conflict => Self::Conflict,
        }
    }
}

/// What the answer of an API to `capif call` means. A redirect is an answer like any other: it is not followed.
impl From<StatusCode> for Exit {
    fn from(status: StatusCode) -> Self {
        match status {
            status if !status.is_client_error() && !status.is_server_error() => Self::Done,
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Authentication,
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Self::TimedOut,
            _ => Self::Refused,
        }
    }
}

/// A command that was not carried out: what happened, what to do next, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    /// The command must be given differently.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Nothing failed: whoever reads the output has seen enough of it.
    pub(crate) fn unread() -> Self {
        Self::new(Exit::Done, "")
    }

    /// The line to show, if there is one.
    pub(crate) fn line(&self) -> Option<String> {
        (!self.message.is_empty()).then(|| format!("error: {}", self.message))
    }

    /// A failure with the causes that its own text leaves out.
    pub(crate) fn of(exit: Exit, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(exit, with_causes(error))
    }

    /// Adds what to do next.
    #[must_use]
    pub(crate) fn next(self, advice: &str) -> Self {
        Self {
            message: format!("{}; {advice}", self.message),
            ..self
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<capif_client::Error> for Failure {
    fn from(error: capif_client::Error) -> Self {
        Self::of(error.kind().into(), &error)
    }
}

impl From<capif_client::KeystoreError> for Failure {
    fn from(error: capif_client::KeystoreError) -> Self {
        capif_client::Error::from(error).into()
    }
}

/// The text of an error, then in parentheses the causes that it does not repeat.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !said.is_empty() && !text.contains(&said) && !causes.contains(&said) {
            causes.push(said);
        }
        source = cause.source();
    }
    if !causes.is_empty() {
        text = format!("{text} ({})", causes.join(": "));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn every_kind_of_error_has_its_code() {
        for (kind, code) in [
            (ErrorKind::Usage, 1),
            (ErrorKind::Internal, 1),
            (ErrorKind::Refused, 2),
            (ErrorKind::NotFound, 3),
            (ErrorKind::Authentication, 4),
            (ErrorKind::Network, 5),
            (ErrorKind::TimedOut, 6),
            (ErrorKind::Conflict, 7),
        ] {
            assert_eq!(Exit::from(kind) as u8, code, "{kind:?}");
        }
    }

    #[test]
    fn every_answer_of_an_api_has_its_code() {
        for (status, code) in [
            (200, 0),
            (204, 0),
            (302, 0),
            (400, 2),
            (401, 4),
            (403, 4),
            (404, 3),
            (408, 6),
            (409, 2),
            (429, 2),
            (500, 2),
            (502, 2),
            (504, 6),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Exit::from(status) as u8, code, "{status}");
        }
    }

    #[test]
    fn causes_are_named_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot write the file")]
        struct Outer(#[source] io::Error);

        let error = Outer(io::Error::other("the disk is full"));
        assert_eq!(
            with_causes(&error),
            "cannot write the file (the disk is full)"
        );

        #[derive(Debug, thiserror::Error)]
        #[error("cannot write: {0}")]
        struct Repeating(#[source] io::Error);

        let error = Repeating(io::Error::other("the disk is full"));
        assert_eq!(with_causes(&error), "cannot write: the disk is full");
    }

    #[test]
    fn advice_follows_the_text() {
        let failure = Failure::usage("the folder is missing").next("make it");
        assert_eq!(failure.to_string(), "the folder is missing; make it");
        assert_eq!(failure.exit, Exit::Usage);
    }
}
