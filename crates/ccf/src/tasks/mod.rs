//! Work that nobody asks for in a request. Each task looks at what is there and does what is missing; doing it twice harms
//! nothing.

mod expire;
pub(crate) mod notify;
pub(crate) mod parcel;

use std::{sync::Arc, time::Duration};

use capif_procedures::{changes::Kind, state::Role};
use capif_transport::{Anchors, Client, ClientLimits, ClientTls, Expected, Identity};
use tokio::{sync::watch, task::JoinSet};

use self::notify::Route;
use crate::{authority::AuthorityError, ccf::StartError, core::Core};

/// The longest pause between two attempts to tell an invoker.
const CALLBACK_PAUSE_MAX: Duration = Duration::from_secs(60);

/// The running tasks.
#[derive(Debug)]
pub(crate) struct Tasks {
    stop: watch::Sender<bool>,
    running: JoinSet<()>,
}

/// Starts all tasks. Messages go out with the CCF's own certificate.
pub(crate) fn start(
    core: &Arc<Core>,
    identity: Identity,
    anchors: Anchors,
) -> Result<Tasks, StartError> {
    let client = Client::expecting(
        tls(core, identity.clone(), anchors),
        ClientLimits::default(),
        // Only the functions of providers are certified to serve, and of these only AEFs.
        Expected {
            organizational_unit: Role::Aef.as_str(),
            common_name: None,
        },
    )?;
    let (stop, stopped) = watch::channel(false);
    let mut running = JoinSet::new();
    let messages = Route {
        kinds: &[Kind::Notification, Kind::Revocation],
        client,
        pause_max: Duration::from_secs(u64::from(core.config.events.retry_seconds_max)),
        wake: Arc::clone(core.view.messages()),
    };
    running.spawn(notify::run(Arc::clone(core), messages, stopped.clone()));
    if !core.config.callbacks.allow.is_empty() {
        let callbacks = Route {
            kinds: &[Kind::Callback],
            client: callback_client(core, identity)?,
            pause_max: CALLBACK_PAUSE_MAX,
            wake: Arc::clone(core.view.callbacks()),
        };
        running.spawn(notify::run(Arc::clone(core), callbacks, stopped.clone()));
    }
    running.spawn(expire::run(Arc::clone(core), stopped));
    Ok(Tasks { stop, running })
}

/// Invokers have no certificate to serve with: they are believed by the anchors that the operator names, and dialled where the
/// operator allows it (P-34).
fn callback_client(core: &Arc<Core>, identity: Identity) -> Result<Client, StartError> {
    let file = &core.config.callbacks.ca_file;
    let anchors = if file.as_os_str().is_empty() {
        Anchors::native()?
    } else {
        let pem = std::fs::read_to_string(file).map_err(|source| AuthorityError::File {
            file: file.display().to_string(),
            source,
        })?;
        Anchors::from_pem(&pem)?
    };
    let callbacks = core.config.callbacks.clone();
    let client = Client::guarded(
        tls(core, identity, anchors),
        ClientLimits::default(),
        Arc::new(move |address| callbacks.dials(address)),
    )?;
    Ok(client)
}

fn tls(core: &Core, identity: Identity, anchors: Anchors) -> ClientTls {
    ClientTls {
        anchors: Some(anchors),
        identity: Some(identity),
        clock: Arc::clone(&core.clock),
        session: None,
        tls12_only: false,
    }
}

impl Tasks {
    /// Stops all tasks and waits for them.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.running.join_next().await.is_some() {}
    }
}
