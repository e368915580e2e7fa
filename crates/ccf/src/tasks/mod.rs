//! Work that nobody asks for in a request. Each task looks at what is there and does what is missing; doing it twice harms
//! nothing.

mod audit;
pub(crate) mod authority;
mod expire;
pub(crate) mod notify;
pub(crate) mod parcel;
mod renew;
pub(crate) mod staple;

use std::{sync::Arc, time::Duration};

use capif_procedures::{changes::Kind, state::Role};
use capif_transport::{Anchors, Client, ClientLimits, ClientTls, Expected, Identity, SharedClock};
use tokio::{sync::watch, task::JoinSet};

use self::notify::Route;
use crate::{
    authority::{AuthorityError, presence::Outgoing},
    ccf::StartError,
    core::Core,
};

/// The longest pause between two attempts to tell an invoker.
const CALLBACK_PAUSE_MAX: Duration = Duration::from_secs(60);

/// The running tasks.
#[derive(Debug)]
pub(crate) struct Tasks {
    stop: watch::Sender<bool>,
    running: JoinSet<()>,
}

/// Starts all tasks. Messages go out with the CCF's own certificate.
pub(crate) fn start(core: &Arc<Core>) -> Result<Tasks, StartError> {
    let clock = Arc::clone(&core.clock);
    let client = core.presence.outgoing(move |identity, anchors| {
        Client::expecting(
            tls(&clock, identity, anchors),
            ClientLimits::default(),
            // Only the functions of providers are certified to serve, and of these only AEFs.
            Expected {
                organizational_unit: Role::Aef.as_str(),
                common_name: None,
            },
        )
    })?;
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
            client: callback_client(core)?,
            pause_max: CALLBACK_PAUSE_MAX,
            wake: Arc::clone(core.view.callbacks()),
        };
        running.spawn(notify::run(Arc::clone(core), callbacks, stopped.clone()));
    }
    running.spawn(authority::run(Arc::clone(core), stopped.clone()));
    running.spawn(audit::run(Arc::clone(core), stopped.clone()));
    running.spawn(renew::run(Arc::clone(core), stopped.clone()));
    running.spawn(expire::run(Arc::clone(core), stopped));
    Ok(Tasks { stop, running })
}

/// Invokers have no certificate to serve with: they are believed by the anchors that the operator names, and dialled where the
/// operator allows it (P-34).
fn callback_client(core: &Arc<Core>) -> Result<Arc<Outgoing>, StartError> {
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
    let clock = Arc::clone(&core.clock);
    let callbacks = core.config.callbacks.clone();
    core.presence.outgoing(move |identity, _| {
        let callbacks = callbacks.clone();
        Client::guarded(
            tls(&clock, identity, anchors.clone()),
            ClientLimits::default(),
            Arc::new(move |address| callbacks.dials(address)),
        )
    })
}

fn tls(clock: &SharedClock, identity: Identity, anchors: Anchors) -> ClientTls {
    ClientTls {
        anchors: Some(anchors),
        identity: Some(identity),
        clock: Arc::clone(clock),
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
