//! `capif gateway`

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use capif_aef::{
    ExposedApi, Gateway, GatewayConfig, GatewayError,
    config::{LISTEN_DEFAULT, METHODS},
};
use capif_client::{Bundle, ErrorKind};
use capif_spec::publish_service::SecurityMethod;
use capif_transport::SystemClock;

use crate::{
    exit::{Exit, Failure},
    folder::{StateFolder, root_of},
    input, logging, output,
    shutdown::{GRACE, Shutdown},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle from the core function's operator (`capif provider add`); used once
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
    /// The security methods to accept [default: all, PKI and OAUTH]
    #[arg(long, value_name = "METHODS", value_delimiter = ',', value_parser = security_method)]
    methods: Vec<SecurityMethod>,
    /// The socket for invokers
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = LISTEN_DEFAULT)]
    listen: SocketAddr,
    /// How invokers reach that socket, if differently
    #[arg(long, value_name = "HOST[:PORT]")]
    address: Option<String>,
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
/// Refuses those that this version does not carry out.
pub(crate) fn security_method(text: &str) -> Result<SecurityMethod, String> {
    let method = SecurityMethod::from(text.trim());
    if METHODS.contains(&method) {
        return Ok(method);
    }
    Err(match method {
        SecurityMethod::Psk => {
            "PSK (TLS-PSK) is not carried out by this version; use PKI, OAUTH or both".to_owned()
        }
        other => format!("there is no security method {other}; use PKI, OAUTH or both"),
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
        methods: if args.methods.is_empty() {
            METHODS.to_vec()
        } else {
            args.methods
        },
    };
    let methods: Vec<String> = api.methods.iter().map(ToString::to_string).collect();
    let prefix = format!("/{}/{}/", api.name, api.version);
    let mut config = GatewayConfig::new(dir.clone(), bundle, api, Arc::new(SystemClock));
    config.listen = args.listen;
    config.address = args.address;
    let gateway = Gateway::start(config)
        .await
        .map_err(|error| explain(&dir, &error))?;
    output::note(&format!(
        "gateway {} serving https://{}{prefix} for invokers with {}, forwarding to {}",
        gateway.aef_id(),
        gateway.address(),
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
        (GatewayError::Ccf(_), ErrorKind::Authentication) => {
            Failure::of(Exit::Authentication, error).next(&format!(
                "if the operator removed this provider, delete {} and register with a new bundle",
                dir.display()
            ))
        }
        (_, kind) => Failure::of(kind.into(), error),
    }
}

fn bundle(path: &Path) -> Result<Bundle, Failure> {
    Ok(input::text(path)?.parse::<Bundle>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_taken_in_any_spelling_but_only_if_carried_out() {
        assert_eq!(security_method("pki"), Ok(SecurityMethod::Pki));
        assert_eq!(security_method(" OAuth"), Ok(SecurityMethod::Oauth));
        assert!(security_method("PSK").unwrap_err().contains("PSK"));
        assert!(security_method("psk").unwrap_err().contains("use PKI"));
        assert!(security_method("basic").unwrap_err().contains("basic"));
    }
}
