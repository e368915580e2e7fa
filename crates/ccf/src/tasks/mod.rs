//! Work that nobody asks for in a request. Each task looks at what is there and does what is missing; doing it twice harms
//! nothing.

mod acknowledged;
mod audit;
pub(crate) mod authority;
mod discoveries;
mod expire;
mod logs;
pub(crate) mod notify;
pub(crate) mod parcel;
mod post;
mod renew;
mod report;
pub(crate) mod staple;

use std::sync::Arc;

use tokio::{sync::watch, task::JoinSet};

use self::post::Post;
use crate::{ccf::StartError, core::Core};

/// The running tasks.
#[derive(Debug)]
pub(crate) struct Tasks {
    stop: watch::Sender<bool>,
    running: JoinSet<()>,
}

/// Starts all tasks.
pub(crate) fn start(core: &Arc<Core>) -> Result<Tasks, StartError> {
    let (stop, stopped) = watch::channel(false);
    let mut running = JoinSet::new();
    running.spawn(notify::run(
        Arc::clone(core),
        Post::new(core)?,
        stopped.clone(),
    ));
    running.spawn(discoveries::run(Arc::clone(core), stopped.clone()));
    running.spawn(authority::run(Arc::clone(core), stopped.clone()));
    running.spawn(audit::run(Arc::clone(core), stopped.clone()));
    running.spawn(report::run(Arc::clone(core), stopped.clone()));
    running.spawn(renew::run(Arc::clone(core), stopped.clone()));
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
