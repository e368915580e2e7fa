//! Which API and which API invoker an operator means.

use std::fmt;

use capif_ccf::admin::{ApiChoice, Verdict};
use capif_spec::common::ApiInvokerId;

use crate::exit::Failure;

/// One API, which has to be named.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ApiOption {
    /// The name of the API
    #[arg(long, value_name = "NAME")]
    api: Option<String>,
    /// The id of the API, as `capif list apis` shows it: where several providers publish one of that name
    #[arg(long, value_name = "ID", value_parser = id)]
    api_id: Option<String>,
}

impl ApiOption {
    /// # Errors
    /// When none is named, which the command line does not let happen.
    pub(crate) fn choice(&self) -> Result<ApiChoice, Failure> {
        choice(self.api.as_ref(), self.api_id.as_ref())
            .ok_or_else(|| Failure::usage("name an API by --api or --api-id"))
    }
}

impl fmt::Display for ApiOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            self.api
                .as_ref()
                .or(self.api_id.as_ref())
                .map_or("", String::as_str),
        )
    }
}

/// Whom a verdict of the operator is about.
#[derive(Debug, clap::Args)]
pub(crate) struct Subject {
    /// The id of the API invoker, as `capif list invokers` shows it
    #[arg(value_parser = invoker_id)]
    pub(crate) invoker: ApiInvokerId,
    #[command(flatten)]
    pub(crate) api: OptionalApi,
}

impl Subject {
    pub(crate) fn verdict(&self) -> Verdict {
        Verdict {
            invoker: self.invoker.clone(),
            api: self.api.choice(),
        }
    }
}

/// One API, or everything.
#[derive(Clone, Debug, clap::Args)]
#[group(multiple = false)]
pub(crate) struct OptionalApi {
    /// Only the API of this name [default: everything]
    #[arg(long, value_name = "NAME")]
    api: Option<String>,
    /// Only the API of this id, where several providers publish one of that name
    #[arg(long, value_name = "ID", value_parser = id)]
    api_id: Option<String>,
}

impl OptionalApi {
    pub(crate) fn choice(&self) -> Option<ApiChoice> {
        choice(self.api.as_ref(), self.api_id.as_ref())
    }

    /// How to say the same in a command that is shown as advice.
    pub(crate) fn option(&self) -> String {
        match (&self.api, &self.api_id) {
            (Some(name), _) => format!(" --api {name}"),
            (None, Some(id)) => format!(" --api-id {id}"),
            (None, None) => String::new(),
        }
    }
}

impl fmt::Display for OptionalApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            self.api
                .as_ref()
                .or(self.api_id.as_ref())
                .map_or("anything", String::as_str),
        )
    }
}

fn choice(name: Option<&String>, id: Option<&String>) -> Option<ApiChoice> {
    let by_name = name.map(|name| ApiChoice::Name(name.clone()));
    by_name.or_else(|| id.map(|id| ApiChoice::Id(id.as_str().into())))
}

/// The id of an API invoker.
pub(crate) fn invoker_id(text: &str) -> Result<ApiInvokerId, String> {
    id(text).map(ApiInvokerId::from)
}

pub(crate) fn id(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("an ID has letters, digits, `-`, `_` and `.` only; `capif list` shows them".to_owned())
    }
}
