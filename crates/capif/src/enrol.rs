//! Which API invoker a command acts as, and its enrolment.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use capif_client::{Enrolment, EnrolmentCode, Error, Invoker, Keystore, OnboardingRequest};
use capif_transport::{Clock, Fingerprint, SharedClock, SystemClock};
use http::StatusCode;

use crate::{
    ca::duration,
    exit::{Exit, Failure},
    folder::{StateFolder, root_of},
    input, output,
};

/// Which API invoker is meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct InvokerFolder {
    /// The folder of the API invoker [default: in the user's state folder, per core function; without a code, the one used last]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// How long to wait for somebody's approval.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Patience {
    /// How long to wait when the core function's operator has to approve the enrolment, like 10m or 2h [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "no_wait")]
    wait: Option<Duration>,
    /// Not to wait for the operator's approval: the same command asks again later
    #[arg(long)]
    no_wait: bool,
}

impl Patience {
    fn time(&self) -> Duration {
        if self.no_wait {
            Duration::ZERO
        } else {
            self.wait.unwrap_or(WAIT)
        }
    }
}

/// How long approval is waited for when nothing is said.
const WAIT: Duration = Duration::from_secs(300);

/// The pause before approval is asked for again, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// An API invoker with the folder that it lives in.
#[derive(Debug)]
pub(crate) struct Enrolled {
    pub(crate) invoker: Invoker,
    pub(crate) folder: PathBuf,
}

/// The enrolment information of an invoker, as it came.
#[derive(Debug)]
pub(crate) enum Papers {
    /// A code: the root certificate has to be fetched by its fingerprint.
    Code(EnrolmentCode),
    /// All three parts.
    Parts(Enrolment),
}

impl Papers {
    /// Takes a code, or reads it from the file of that name; `-` is standard input. A code in a file does not show in the
    /// list of processes.
    ///
    /// # Errors
    /// Says what is wrong with it, without repeating it.
    pub(crate) fn from_code(given: &str) -> Result<Self, Failure> {
        let is_file = given != "-" && !given.starts_with("capif") && Path::new(given).is_file();
        let text = if given == "-" || is_file {
            input::text(Path::new(given))?
        } else {
            given.to_owned()
        };
        Ok(Self::Code(text.parse()?))
    }

    fn root(&self) -> Result<Fingerprint, Failure> {
        match self {
            Self::Code(code) => Ok(Fingerprint::from(code.ca_sha256)),
            Self::Parts(parts) => root_of(&parts.anchors_pem),
        }
    }

    async fn complete(self, clock: SharedClock) -> Result<Enrolment, Failure> {
        match self {
            Self::Code(code) => Ok(Enrolment::from_code(&code, clock).await?),
            Self::Parts(parts) => Ok(parts),
        }
    }
}

impl Enrolled {
    /// Opens the enrolment that was made before.
    ///
    /// # Errors
    /// Says how to enrol when there is none.
    pub(crate) async fn open(which: &InvokerFolder) -> Result<Self, Failure> {
        let none = || {
            Failure::new(
                Exit::NotFound,
                "no API invoker has enrolled here yet; ask the API provider for an enrolment code \
                 and use it once: capif call --code CODE GET /API/VERSION/…",
            )
        };
        let folder = match &which.dir {
            Some(dir) => dir.clone(),
            None => StateFolder::of_user()?.current().ok_or_else(none)?,
        };
        // Looking must not make a folder.
        if !folder.is_dir() {
            return Err(none());
        }
        let invoker = Invoker::open(Keystore::open(&folder)?, clock()).await?;
        Ok(Self { invoker, folder })
    }

    /// Enrols, unless that was done before: then the credential is left unused.
    ///
    /// # Errors
    /// Says whether to ask for a new code or to try again.
    pub(crate) async fn enrol(
        papers: Papers,
        request: OnboardingRequest,
        which: &InvokerFolder,
    ) -> Result<Self, Failure> {
        Self::enrol_within(papers, request, which, &Patience::default()).await
    }

    /// The same with a patience of the user's own, should an operator have to approve.
    ///
    /// # Errors
    /// As [`Enrolled::enrol`].
    pub(crate) async fn enrol_within(
        papers: Papers,
        request: OnboardingRequest,
        which: &InvokerFolder,
        patience: &Patience,
    ) -> Result<Self, Failure> {
        let (folder, state) = match &which.dir {
            Some(dir) => (dir.clone(), None),
            None => {
                let state = StateFolder::of_user()?;
                (state.invoker(&papers.root()?), Some(state))
            }
        };
        let keystore = Keystore::open(&folder)?;
        let before = match Invoker::open(keystore.clone(), clock()).await {
            Ok(invoker) => Some(invoker),
            Err(Error::NotEnrolled { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let was_enrolled = before.is_some();
        let invoker = match (before, &state) {
            // The folder is that of the very CAPIF core function that the code names.
            (Some(invoker), Some(_)) => invoker,
            // A folder that the user chose may be that of another one: then this is refused.
            _ => {
                let enrolment = papers.complete(clock()).await?;
                onboard(&keystore, &enrolment, &request, patience.time()).await?
            }
        };
        if was_enrolled {
            output::note(&format!(
                "already enrolled as {} in {}: the code was not used",
                invoker.id(),
                folder.display()
            ));
        } else {
            output::note(&format!(
                "onboarded as {} in {}",
                invoker.id(),
                folder.display()
            ));
        }
        if let Some(state) = state {
            state.set_current(&folder)?;
        }
        Ok(Self { invoker, folder })
    }

    /// What the user must do about the end of the enrolment, because nothing here can.
    pub(crate) fn warning(&self) -> Option<String> {
        self.invoker.renewal_status().warning(SystemClock.now())
    }

    /// What a failure of a request under this enrolment means.
    pub(crate) fn explain(&self, error: Error) -> Failure {
        let disowned = matches!(
            error,
            Error::Refused {
                status: StatusCode::UNAUTHORIZED,
                ..
            } | Error::TokenRefused {
                status: StatusCode::UNAUTHORIZED,
                ..
            }
        );
        let must_renew = error
            .problem()
            .is_some_and(|problem| problem.cause.as_deref() == Some("RENEWAL_REQUIRED"));
        let failure = Failure::from(error);
        if must_renew {
            return failure.next("`capif invoker renew` does that");
        }
        if !disowned {
            return failure;
        }
        failure.next(&format!(
            "`capif invoker offboard --dir {}` clears this enrolment, and then a new code can be used",
            self.folder.display()
        ))
    }
}

/// Onboards; while the operator has not decided, asks again with the very same request.
async fn onboard(
    keystore: &Keystore,
    enrolment: &Enrolment,
    request: &OnboardingRequest,
    patience: Duration,
) -> Result<Invoker, Error> {
    let (mut pause, pause_max) = PAUSES;
    let mut waited = Duration::ZERO;
    loop {
        let outcome = Invoker::onboard(keystore.clone(), enrolment, request.clone(), clock()).await;
        if !matches!(outcome, Err(Error::ApprovalPending { .. })) || waited >= patience {
            return outcome;
        }
        if waited.is_zero() {
            output::note(&format!(
                "{} has the request and waits for its operator's approval (`capif list pending` and `capif approve` there); \
                 this asks again until it is given, and the same command does so later",
                enrolment.address
            ));
        }
        pause = pause.min(patience.saturating_sub(waited));
        tokio::time::sleep(pause).await;
        waited += pause;
        pause = (pause * 2).min(pause_max);
    }
}

fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_an_enrolment_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let which = InvokerFolder {
            dir: Some(dir.path().join("invoker")),
        };
        let failure = Enrolled::open(&which).await.unwrap_err();
        assert_eq!(failure.exit, Exit::NotFound);
        assert!(failure.to_string().contains("--code"), "{failure}");
        assert!(!dir.path().join("invoker").exists());
    }

    #[test]
    fn a_code_comes_as_text_or_in_a_file() {
        let code = EnrolmentCode {
            address: "127.0.0.1:8443".to_owned(),
            ca_sha256: [7; 32],
            credential: "a.b.c".into(),
        };
        let text = code.to_string();
        let papers = Papers::from_code(&text).unwrap();
        assert_eq!(papers.root().unwrap(), Fingerprint::from([7; 32]));

        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("code");
        std::fs::write(&file, format!("{text}\n")).unwrap();
        let papers = Papers::from_code(file.to_str().unwrap()).unwrap();
        assert_eq!(papers.root().unwrap(), Fingerprint::from([7; 32]));

        let failure = Papers::from_code("hello").unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        let failure = Papers::from_code(&text[..60]).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(!failure.to_string().contains(&text[20..60]), "{failure}");
    }
}
