//! `capif call`

use std::time::Duration;

use capif_client::OnboardingRequest;
use capif_spec::api_invoker_management::ApiInvokerEnrolmentDetails;
use capif_transport::Body;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::BodyExt;

use crate::{
    enrol::{Enrolled, InvokerFolder, Papers, Patience},
    exit::{Exit, Failure},
    input, logging, output,
};

/// How long a call that has had its answer goes on for the upkeep of the enrolment.
const UPKEEP_MAX: Duration = Duration::from_secs(15);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The enrolment code, the first time: itself, a file that holds it, or `-` for standard input
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    folder: InvokerFolder,
    /// A header of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header_line)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The body of the request: itself, @FILE, or `-` for standard input; JSON unless a header says otherwise
    #[arg(short, long, value_name = "BODY", allow_hyphen_values = true)]
    data: Option<String>,
    /// GET, POST, PUT, PATCH, DELETE …
    #[arg(value_parser = method)]
    method: Method,
    /// The path, which begins with the name of the API: /weather/v1/today
    #[arg(value_parser = path)]
    path: Uri,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    logging::start(&logging::from_environment("warn")?);
    if args.code.as_deref() == Some("-") && args.data.as_deref() == Some("-") {
        return Err(Failure::usage(
            "only one of --code and --data can come from standard input",
        ));
    }
    let enrolled = match &args.code {
        Some(code) => {
            let papers = Papers::from_code(code)?;
            let request = OnboardingRequest::default();
            Enrolled::enrol_within(papers, request, &args.folder, &args.patience).await?
        }
        None => Enrolled::open(&args.folder).await?,
    };
    let before = enrolled.invoker.details();
    let name = api_name(&args.path)?;
    let request = request(args).await?;
    let response = enrolled
        .invoker
        .call(&name, request)
        .await
        .map_err(|error| enrolled.explain(error))?;
    output::note(&format!("{:?} {}", response.version(), response.status()));
    let exit = Exit::from(response.status());
    write_out(response.into_body()).await?;
    keep_up(&enrolled, &before).await;
    Ok(exit)
}

/// Lets the upkeep of the enrolment end in order. What does not work is no failure of the call, which has had its answer.
async fn keep_up(enrolled: &Enrolled, before: &ApiInvokerEnrolmentDetails) {
    let upkeep = tokio::time::timeout(UPKEEP_MAX, enrolled.invoker.upkeep());
    match upkeep.await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            let status = enrolled.invoker.renewal_status();
            output::note(&format!(
                "the upkeep of the enrolment did not work and is tried again with the next command; the certificate ends on {}: {}",
                output::time(&status.certificate_expires),
                enrolled.explain(error)
            ));
        }
        Err(_) => output::note(
            "the core function is slow to say how the enrolment stands: the next command asks again",
        ),
    }
    let certificate = |details: &ApiInvokerEnrolmentDetails| {
        let information = &details.onboarding_information;
        information.api_invoker_certificate.clone()
    };
    if certificate(before) != certificate(&enrolled.invoker.details()) {
        let status = enrolled.invoker.renewal_status();
        output::note(&format!(
            "the certificate was renewed: it ends on {}",
            output::time(&status.certificate_expires)
        ));
    }
    if let Some(warning) = enrolled.warning() {
        output::note(&warning);
    }
}

async fn request(args: Args) -> Result<Request<Body>, Failure> {
    let mut request = Request::builder().method(args.method).uri(args.path);
    if let Some(headers) = request.headers_mut() {
        if args.data.is_some() {
            let json = HeaderValue::from_static("application/json");
            headers.insert(header::CONTENT_TYPE, json);
        }
        let mut seen: Vec<HeaderName> = Vec::new();
        for (name, value) in args.headers {
            // The first one takes the place of what was assumed, further ones join it.
            if seen.contains(&name) {
                headers.append(name, value);
            } else {
                headers.insert(name.clone(), value);
                seen.push(name);
            }
        }
    }
    let body = match &args.data {
        Some(data) => input::body(data).await?,
        None => capif_transport::empty(),
    };
    request
        .body(body)
        .map_err(|error| Failure::of(Exit::Usage, &error))
}

/// Writes the answer's body out piece by piece, as it comes.
async fn write_out(mut body: Body) -> Result<(), Failure> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Failure::new(Exit::Network, format!("the answer ended early ({error})"))
        })?;
        if let Ok(octets) = frame.into_data() {
            output::data(&octets)?;
        }
    }
    Ok(())
}

fn api_name(path: &Uri) -> Result<String, Failure> {
    let name = path.path().split('/').nth(1).unwrap_or_default();
    if name.is_empty() {
        return Err(Failure::usage(
            "the path begins with the name of the API: /weather/v1/today",
        ));
    }
    Ok(name.to_owned())
}

fn method(text: &str) -> Result<Method, String> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    let method = Method::from_bytes(text.to_ascii_uppercase().as_bytes());
    match method {
        Ok(method) if plain && method != Method::CONNECT => Ok(method),
        _ => Err("this is not an HTTP method; use GET, POST, PUT, PATCH or DELETE".to_owned()),
    }
}

fn path(text: &str) -> Result<Uri, String> {
    if text.contains("://") {
        return Err(
            "give the path alone, /weather/v1/today for example: discovery says where the API is"
                .to_owned(),
        );
    }
    if !text.starts_with('/') {
        return Err("a path begins with `/`".to_owned());
    }
    text.parse()
        .map_err(|_| "this is not a path; encode special characters as %XX".to_owned())
}

fn header_line(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a header reads `name: value`")?;
    let name = HeaderName::from_bytes(name.trim().as_bytes())
        .map_err(|_| "this is not the name of a header")?;
    let value = HeaderValue::from_str(value.trim())
        .map_err(|_| "a header's value has visible characters only")?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_the_first_segment() {
        let name = |text: &str| api_name(&path(text).unwrap());
        assert_eq!(name("/weather/v1/today?at=noon").unwrap(), "weather");
        assert_eq!(name("/weather").unwrap(), "weather");
        assert_eq!(name("/").unwrap_err().exit, Exit::Usage);
        for text in ["", "weather/v1", "https://gw.example/weather", "/a b"] {
            assert!(path(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn methods_are_words() {
        assert_eq!(method("get"), Ok(Method::GET));
        assert_eq!(method("PATCH"), Ok(Method::PATCH));
        for text in ["", "CONNECT", "G T", "/weather/v1", "GET\n"] {
            assert!(method(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn headers_are_split_at_the_first_colon() {
        let (name, value) = header_line("X-Link: http://a:1").unwrap();
        assert_eq!(
            (name.as_str(), value.to_str().unwrap()),
            ("x-link", "http://a:1")
        );
        for text in ["nothing", "a b: c", ": c", "a: b\r\nc: d"] {
            assert!(header_line(text).is_err(), "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_body_is_json_unless_said_otherwise() {
        let args = |headers: &[&str], data: Option<&str>| Args {
            code: None,
            patience: Patience::default(),
            folder: InvokerFolder::default(),
            headers: headers
                .iter()
                .map(|line| header_line(line).unwrap())
                .collect(),
            data: data.map(str::to_owned),
            method: Method::POST,
            path: path("/weather/v1").unwrap(),
        };
        let plain = request(args(&[], None)).await.unwrap();
        assert!(plain.headers().is_empty());
        let json = request(args(&["a: 1", "a: 2"], Some("{}"))).await.unwrap();
        assert_eq!(json.headers()["content-type"], "application/json");
        assert_eq!(json.headers().get_all("a").iter().count(), 2);
        let text = request(args(&["Content-Type: text/plain"], Some("x")))
            .await
            .unwrap();
        let types: Vec<_> = text.headers().get_all("content-type").iter().collect();
        assert_eq!(types, ["text/plain"]);
        let octets = text.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(octets, "x");
    }
}
