//! `capif invoker onboard`

use std::path::PathBuf;

use capif_client::{Enrolment, OnboardingRequest};
use capif_spec::common::{DateTime, Redacted, Uri};

use crate::{
    enrol::{Enrolled, InvokerFolder, Papers, Patience},
    exit::{Exit, Failure},
    input,
    output::{self, Format},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The enrolment code: itself, a file that holds it, or `-` for standard input
    #[arg(
        long,
        value_name = "CODE",
        required_unless_present = "address",
        conflicts_with_all = ["address", "ca", "credential"]
    )]
    code: Option<String>,
    /// Instead of a code: where the core function is
    #[arg(
        long,
        value_name = "HOST:PORT",
        requires = "ca",
        requires = "credential"
    )]
    address: Option<String>,
    /// Beside --address: the file with the root CA certificate
    #[arg(long, value_name = "FILE", requires = "address")]
    ca: Option<PathBuf>,
    /// Beside --address: the file with the onboarding credential; `-` is standard input
    #[arg(long, value_name = "FILE", requires = "address")]
    credential: Option<PathBuf>,
    /// An API that is wanted; may be repeated [default: all that the credential allows]
    #[arg(long = "api", value_name = "NAME")]
    apis: Vec<String>,
    /// A text about this invoker, for the operator
    #[arg(long, value_name = "TEXT")]
    information: Option<String>,
    /// Where the core function may send notifications, an https address [default: nowhere]
    #[arg(long, value_name = "URL")]
    notification_destination: Option<String>,
    /// Until when the enrolment is to last, like 2027-01-31T12:00:00Z [default: as long as the core function likes]
    #[arg(long, value_name = "TIME", value_parser = super::renew::time)]
    expires: Option<DateTime>,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    folder: InvokerFolder,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let papers = match (&args.code, args.address, &args.ca, &args.credential) {
        (Some(code), ..) => Papers::from_code(code)?,
        (None, Some(address), Some(ca), Some(credential)) => {
            let credential = Redacted::from(input::text(credential)?);
            Papers::Parts(Enrolment::from_parts(
                address,
                input::text(ca)?,
                credential,
            )?)
        }
        _ => {
            return Err(Failure::usage(
                "give --code, or all of --address, --ca and --credential",
            ));
        }
    };
    let mut request = OnboardingRequest {
        apis: args.apis,
        information: args.information,
        expires: args.expires,
        ..OnboardingRequest::default()
    };
    if let Some(destination) = args.notification_destination {
        request.notification_destination = Uri::from(destination);
    }
    let enrolled = Enrolled::enrol_within(papers, request, &args.folder, &args.patience).await?;
    match args.output {
        Format::Table => output::line(enrolled.invoker.id().as_str())?,
        Format::Json => output::json(&*enrolled.invoker.details())?,
    }
    Ok(Exit::Done)
}
