//! `capif invoker renew`

use capif_client::RenewalOptions;
use capif_spec::common::DateTime;
use serde_json::json;

use crate::{
    enrol::{Enrolled, InvokerFolder},
    exit::{Exit, Failure},
    output::{self, Format},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keep the private key [default: make a new one]
    #[arg(long)]
    same_key: bool,
    /// Until when the enrolment is to last, like 2027-01-31T12:00:00Z [default: as before]
    #[arg(long, value_name = "TIME", value_parser = time)]
    expires: Option<DateTime>,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    folder: InvokerFolder,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let enrolled = Enrolled::open(&args.folder).await?;
    let options = RenewalOptions {
        same_key: args.same_key,
        expires: args.expires.clone(),
    };
    let renewed = enrolled
        .invoker
        .renew(options)
        .await
        .map_err(|error| enrolled.explain(error))?;
    if !renewed.confirmed {
        output::note(
            "the core function has not seen the new certificate in use yet; the next command shows it, and until then the one \
             of before goes on counting",
        );
    }
    if args.expires.is_some() && renewed.enrolment_expires != args.expires {
        output::note("the core function grants another end of the enrolment than was asked for");
    }
    match args.output {
        Format::Json => output::json(&json!({
            "apiInvokerId": enrolled.invoker.id(),
            "certificateEnds": renewed.certificate_expires,
            "secretEnds": renewed.secret_expires,
            "enrolmentEnds": renewed.enrolment_expires,
            "confirmed": renewed.confirmed,
        }))?,
        Format::Table => {
            let ends = [
                ("certificate ends", Some(&renewed.certificate_expires)),
                ("secret ends", renewed.secret_expires.as_ref()),
                ("enrolment ends", renewed.enrolment_expires.as_ref()),
            ];
            let rows: Vec<Vec<String>> = ends
                .into_iter()
                .filter_map(|(heading, end)| Some(vec![heading.to_owned(), output::time(end?)]))
                .collect();
            output::table(&[], &rows)?;
        }
    }
    Ok(Exit::Done)
}

pub(super) fn time(text: &str) -> Result<DateTime, String> {
    text.parse()
        .map_err(|error: capif_spec::common::NotADateTime| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn an_end_is_a_time_with_its_offset() {
        assert!(time("2027-01-31T12:00:00Z").is_ok());
        for text in ["", "tomorrow", "2027-01-31", "2027-01-31T12:00:00"] {
            assert!(time(text).unwrap_err().contains("RFC 3339"), "{text}");
        }
    }
}
