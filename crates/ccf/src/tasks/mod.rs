//! Work that nobody asks for in a request. Each task looks at what is there and does what is missing; doing it twice harms
//! nothing.

mod expire;
mod notify;

use std::sync::Arc;

use capif_procedures::state::Role;
use capif_transport::{Anchors, Client, ClientLimits, ClientTls, Expected, Identity, TlsError};
use tokio::{sync::watch, task::JoinSet};

use crate::core::Core;

/// The running tasks.
#[derive(Debug)]
pub(crate) struct Tasks {
    stop: watch::Sender<bool>,
    running: JoinSet<()>,
}

/// Starts all tasks. Notifications go out with the CCF's own certificate.
pub(crate) fn start(
    core: &Arc<Core>,
    identity: Identity,
    anchors: Anchors,
) -> Result<Tasks, TlsError> {
    let client = Client::expecting(
        ClientTls {
            anchors: Some(anchors),
            identity: Some(identity),
            clock: Arc::clone(&core.clock),
        },
        ClientLimits::default(),
        // Only the functions of providers are certified to serve, and of these only AEFs.
        Expected {
            organizational_unit: Role::Aef.as_str(),
            common_name: None,
        },
    )?;
    let (stop, stopped) = watch::channel(false);
    let mut running = JoinSet::new();
    running.spawn(notify::run(Arc::clone(core), client, stopped.clone()));
    running.spawn(expire::run(Arc::clone(core), stopped));
    Ok(Tasks { stop, running })
}

impl Tasks {
    /// Stops all tasks and waits for them.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.running.join_next().await.is_some() {}
    }
}
