//! `capif sidecar`: a local proxy for applications that know nothing of CAPIF. They call `http://127.0.0.1:9080/weather/v1/today`;
//! enrolment, discovery, negotiation, keys, tokens, renewal and recovery are done here, by the invoker library.

mod relay;

use std::{io, net::SocketAddr, sync::Arc};

use capif_client::OnboardingRequest;
use capif_transport::{Limits, Server};

use self::relay::{Hosts, Relay};
use crate::{
    enrol::{Enrolled, InvokerFolder, Papers},
    exit::{Exit, Failure},
    logging, output,
    shutdown::{GRACE, Shutdown},
};

/// The socket for applications.
const LISTEN_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9080);

/// How many connections of applications there may be.
const CONNECTIONS_MAX: usize = 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The enrolment code, the first time: itself, a file that holds it, or `-` for standard input
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    #[command(flatten)]
    folder: InvokerFolder,
    /// The socket for applications
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = LISTEN_DEFAULT)]
    listen: SocketAddr,
    /// Listen beyond this machine: whoever reaches the socket calls in the name of this API invoker, and nothing is encrypted
    #[arg(long)]
    allow_remote: bool,
    /// A host name by which applications reach the sidecar, beside `localhost` and its addresses; may be repeated
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    logging::start(&logging::from_environment("warn")?);
    let is_remote = !args.listen.ip().to_canonical().is_loopback();
    if is_remote && !args.allow_remote {
        return Err(Failure::usage(format!(
            "{} can be reached from other machines, and whoever reaches it calls in the name of this API invoker: \
             listen on 127.0.0.1, or say --allow-remote",
            args.listen
        )));
    }
    let mut shutdown = Shutdown::listen()?;
    let listener =
        capif_transport::listen(args.listen).map_err(|error| taken(args.listen, &error))?;
    let enrolled = match &args.code {
        Some(code) => {
            let papers = Papers::from_code(code)?;
            Enrolled::enrol(papers, OnboardingRequest::default(), &args.folder).await?
        }
        None => Enrolled::open(&args.folder).await?,
    };
    let about = format!(
        "sidecar for {}, state in {}",
        enrolled.invoker.id(),
        enrolled.folder.display()
    );
    if let Some(warning) = enrolled.warning() {
        output::note(&warning);
    }
    let limits = Limits {
        connections_max: CONNECTIONS_MAX,
        ..Limits::default()
    };
    let hosts = Hosts {
        names: args.names,
        is_remote,
    };
    let relay = Relay::new(Arc::new(enrolled), hosts);
    let server =
        Server::serve_plain(listener, limits, relay).map_err(|error| taken(args.listen, &error))?;
    output::note(&format!(
        "{about}; stop with Ctrl-C; applications call http://{}/API/VERSION/…",
        server.local_addr()
    ));
    shutdown.asked().await;
    let ending = async {
        server.drain(GRACE).await;
    };
    shutdown.drain(ending).await;
    Ok(Exit::Done)
}

fn taken(address: SocketAddr, error: &io::Error) -> Failure {
    let exit = if error.kind() == io::ErrorKind::AddrInUse {
        Exit::Conflict
    } else {
        Exit::Usage
    };
    Failure::new(exit, format!("cannot listen on {address}: {error}"))
        .next("choose another with --listen")
}
