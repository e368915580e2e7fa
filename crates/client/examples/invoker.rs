//! An API invoker: enrols with a code the first time, and calls an API by its name.
//!
//! ```sh
//! cargo run -p capif-client --example invoker -- FOLDER CODE weather /weather/v1/today
//! ```

use std::{error::Error, io::Write, sync::Arc, time::Duration};

use capif_client::{Enrolment, EnrolmentCode, Invoker, Keystore, OnboardingRequest};
use capif_transport::{SharedClock, SystemClock, collect, empty};

/// The longest answer that is shown, in octets, and how long it may take.
const ANSWER: (usize, Duration) = (1 << 20, Duration::from_secs(10));

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("give FOLDER CODE API PATH");
    let (folder, code, api, path) = (next()?, next()?, next()?, next()?);
    let clock: SharedClock = Arc::new(SystemClock);

    // The code leads to the core function and to its root certificate; nobody else is believed.
    let code: EnrolmentCode = code.parse()?;
    let enrolment = Enrolment::from_code(&code, clock.clone()).await?;
    // The private key is made in the folder and stays there. A second time, the enrolment is merely opened.
    let request = OnboardingRequest::default();
    let invoker = Invoker::onboard(Keystore::open(folder)?, &enrolment, request, clock).await?;

    // Discovery, negotiation, keys and tokens are taken care of.
    let request = http::Request::get(path).body(empty())?;
    let response = invoker.call(&api, request).await?;
    let status = response.status();
    let body = collect(response.into_body(), ANSWER.0, ANSWER.1).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{} called {api}: {status}", invoker.id())?;
    out.write_all(&body)?;
    Ok(())
}
