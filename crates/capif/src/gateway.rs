//! `capif gateway`

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use capif_aef::{
    ExposedApi, Gateway, GatewayConfig, GatewayError, Interface,
    config::{
        LISTEN_DEFAULT, LOOKUPS_PER_SECOND_DEFAULT, METHODS, STALE_SECONDS, STALE_SECONDS_DEFAULT,
    },
};
use capif_client::{Bundle, Error, ErrorKind};
use capif_spec::{publish_service::SecurityMethod, vendor::PskTls};
use capif_transport::SystemClock;

use crate::{
    exit::{Exit, Failure},
    folder::{StateFolder, root_of},
    input, logging, output,
    shutdown::{GRACE, Shutdown},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle from the core function's operator (`capif provider add`); used when the folder holds no registration, or one whose
    /// certificates have ended
    #[arg(long, value_name = "FILE", required_unless_present = "dir")]
    bundle: Option<PathBuf>,
    /// The name of the API: the first segment of its paths
    #[arg(long, value_name = "NAME")]
    api: String,
    /// Where the API is: http[s]://HOST[:PORT][/PATH]
    #[arg(long, value_name = "URL")]
    upstream: String,
    /// The version of the API: the second segment of its paths
    #[arg(long, value_name = "VERSION", default_value = "v1")]
    version: String,
    /// The security methods to publish [default: those published before, else all: PSK, PKI, OAUTH]
    #[arg(long, value_name = "METHODS", value_delimiter = ',', value_parser = security_method)]
    methods: Vec<SecurityMethod>,
    /// The version of TLS for PSK, 1.2 or 1.3 [default: as published before, else 1.3]
    #[arg(long, value_name = "VERSION", value_parser = psk_tls)]
    psk_tls: Option<PskTls>,
    /// For OAUTH, ask for the invoker's certificate beside the token [default: as published before, else false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    oauth_mutual_tls: Option<bool>,
    /// The socket for invokers
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = LISTEN_DEFAULT)]
    listen: SocketAddr,
    /// How invokers reach that socket, if differently
    #[arg(long, value_name = "HOST[:PORT]")]
    address: Option<String>,
    /// The interface of CAPIF that this is: CAPIF-2e, or CAPIF-2 inside the trust domain, where certificates are mutual
    #[arg(long, value_name = "NAME", value_parser = interface, default_value = "CAPIF-2e")]
    interface: Interface,
    /// Publish this interface beside those of other processes in the same folder, not alone
    #[arg(long)]
    join: bool,
    /// How old what the core function said may be before calls are refused
    #[arg(long, value_name = "SECONDS", default_value_t = STALE_SECONDS_DEFAULT, value_parser = stale_seconds)]
    stale_after: u32,
    /// How many invokers that it does not remember one address may name in a second, before they prove who they are
    #[arg(long, value_name = "NUMBER", default_value_t = LOOKUPS_PER_SECOND_DEFAULT)]
    lookups_per_second: u32,
    /// Take the first two segments (name and version) off the path before it is forwarded
    #[arg(long)]
    strip: bool,
    /// The folder for keys and certificates [default: in the user's state folder, per core function and provider]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A security method by its name.
///
/// # Errors
/// Refuses those that there are not.
pub(crate) fn security_method(text: &str) -> Result<SecurityMethod, String> {
    let method = SecurityMethod::from(text.trim());
    if METHODS.contains(&method) {
        return Ok(method);
    }
    Err(format!(
        "there is no security method {method}; use PSK, PKI, OAUTH or several of them"
    ))
}

fn psk_tls(text: &str) -> Result<PskTls, String> {
    text.parse()
        .map_err(|_| "keys are used in TLS 1.2 or 1.3".to_owned())
}

fn interface(text: &str) -> Result<Interface, String> {
    let all = [Interface::Capif2, Interface::Capif2e];
    all.into_iter()
        .find(|interface| interface.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| "a gateway is CAPIF-2 or CAPIF-2e".to_owned())
}

fn stale_seconds(text: &str) -> Result<u32, String> {
    let seconds = text.parse().ok();
    seconds
        .filter(|seconds| STALE_SECONDS.contains(seconds))
        .ok_or_else(|| {
            let (least, most) = (STALE_SECONDS.start(), STALE_SECONDS.end());
            format!("use {least} to {most} seconds")
        })
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    logging::start(&logging::from_environment("info")?);
    let mut shutdown = Shutdown::listen()?;
    let bundle = args.bundle.as_deref().map(bundle).transpose()?;
    let dir = match (&args.dir, &bundle) {
        (Some(dir), _) => dir.clone(),
        (None, Some(bundle)) => {
            StateFolder::of_user()?.gateway(&root_of(&bundle.anchors_pem)?, &bundle.domain_name)
        }
        (None, None) => return Err(Failure::usage("give --bundle or --dir")),
    };
    let api = ExposedApi {
        name: args.api.clone(),
        version: args.version,
        upstream: args.upstream.clone(),
        strip: args.strip,
        methods: args.methods,
    };
    let prefix = format!("/{}/{}/", api.name, api.version);
    let mut config = GatewayConfig::new(dir.clone(), bundle, api, Arc::new(SystemClock));
    config.listen = args.listen;
    config.address = args.address;
    config.interface = args.interface;
    config.psk_tls = args.psk_tls;
    config.oauth_mutual_tls = args.oauth_mutual_tls;
    config.join = args.join;
    config.stale_seconds = args.stale_after;
    config.lookups_per_second = args.lookups_per_second;
    let gateway = Gateway::start(config)
        .await
        .map_err(|error| explain(&dir, &error))?;
    let methods: Vec<String> = gateway.methods().iter().map(ToString::to_string).collect();
    output::note(&format!(
        "gateway {} serving https://{}{prefix} on {} for invokers with {}, forwarding to {}",
        gateway.aef_id(),
        gateway.address(),
        gateway.interface().as_str(),
        methods.join(" or "),
        args.upstream
    ));
    output::note(&format!(
        "state in {}; stop with Ctrl-C; next, at the core function: capif invite --api {}",
        dir.display(),
        args.api
    ));
    shutdown.asked().await;
    shutdown.drain(gateway.drain(GRACE)).await;
    Ok(Exit::Done)
}

fn explain(dir: &Path, error: &GatewayError) -> Failure {
    match (error, error.kind()) {
        (GatewayError::Listen { source, .. }, _) if source.kind() == io::ErrorKind::AddrInUse => {
            Failure::of(Exit::Conflict, error)
        }
        (GatewayError::Ccf(Error::RegistrationEnded { .. }), _) => {
            Failure::of(Exit::Authentication, error)
                .next("start the gateway with that, by --bundle")
        }
        (GatewayError::Ccf(Error::Superseded { .. }), _) => {
            Failure::of(Exit::Authentication, error)
        }
        (GatewayError::Ccf(_), ErrorKind::Authentication) => {
            Failure::of(Exit::Authentication, error).next(&format!(
                "if the operator removed this provider, or another gateway took its certificates and is gone, delete {} and register with a new bundle, or with the same one if it is reusable",
                dir.display()
            ))
        }
        (_, kind) => Failure::of(kind.into(), error),
    }
}

/// The bundle in a file.
pub(crate) fn bundle(path: &Path) -> Result<Bundle, Failure> {
    Ok(input::text(path)?.parse::<Bundle>()?)
}

#[cfg(test)]
mod tests {
    use capif_spec::common::DateTime;

    use super::*;

    #[test]
    fn methods_are_taken_in_any_spelling_but_only_those_that_there_are() {
        assert_eq!(security_method("pki"), Ok(SecurityMethod::Pki));
        assert_eq!(security_method(" OAuth"), Ok(SecurityMethod::Oauth));
        assert_eq!(security_method("Psk"), Ok(SecurityMethod::Psk));
        for text in ["basic", "", "PSK+PKI"] {
            assert!(
                security_method(text).unwrap_err().contains("use PSK"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_to_do_about_certificates_that_do_not_count_is_said() {
        let at = |day: u8| format!("2026-01-{day:02}T00:00:00Z").parse::<DateTime>();
        let ended = GatewayError::Ccf(Error::RegistrationEnded {
            domain_id: "DOM1".into(),
            ended: at(1).unwrap(),
            refusal: None,
        });
        let failure = explain(Path::new("gw"), &ended);
        assert_eq!(failure.exit, Exit::Authentication);
        let text = failure.to_string();
        assert!(text.contains("`capif provider bundle DOM1`"), "{text}");
        assert!(
            text.contains("--bundle") && !text.contains("delete"),
            "{text}"
        );

        let superseded = GatewayError::Superseded {
            since: at(1).unwrap().0,
            until: at(2).unwrap().0,
        };
        let failure = explain(Path::new("gw"), &superseded);
        assert_eq!(failure.exit, Exit::Conflict);
        let text = failure.to_string();
        assert!(text.contains("2026-01-02T00:00:00Z"), "{text}");
    }

    #[test]
    fn words_and_bounds_are_checked() {
        assert_eq!(psk_tls("1.2"), Ok(PskTls::Tls12));
        assert!(psk_tls("1.1").is_err());
        assert_eq!(interface("capif-2"), Ok(Interface::Capif2));
        assert!(interface("CAPIF-3").is_err());
        for (text, seconds) in [
            ("1", Some(1)),
            ("3600", Some(3600)),
            ("0", None),
            ("3601", None),
            ("-1", None),
            ("x", None),
        ] {
            assert_eq!(stale_seconds(text).ok(), seconds, "{text}");
        }
    }
}
