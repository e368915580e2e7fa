//! What can go wrong with a store, in the words of who has to act.

use std::{error::Error, fmt, io, path::PathBuf, sync::Arc};

use capif_procedures::changes::Key;

/// The error under a fault, shared since one failure may answer many callers.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// The store failed. No fault says anything about whether a commit under way was written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// A record is there but cannot be read as what it should be.
    #[error("the stored record {kind}/{id} is corrupt")]
    Corrupt {
        /// Its table.
        kind: String,
        /// Its id.
        id: String,
        /// What is wrong with it.
        source: Cause,
    },
    /// The store's files contradict each other: not by a crash, which is healed, but by damage or by hand.
    #[error("the store at {path} is damaged; restore it from a backup")]
    Damaged {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        source: Cause,
    },
    /// There is no room on the disk. Reads go on, and commits too as soon as there is room again.
    #[error("the disk of the store is full; free some space")]
    Full,
    /// A change was asked for that no store can hold.
    #[error("the change cannot be stored: {0}")]
    Invalid(&'static str),
    /// The operating system failed.
    #[error("the store cannot {action}")]
    Io {
        /// What was to be done.
        action: &'static str,
        /// Why it was not.
        source: Cause,
    },
    /// Another process has the store.
    #[error("the store at {path} is in use by another process; stop that first")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A write failed before, so that no further one can be trusted. Reads go on.
    #[error("the store is read-only after a failed write; check the disk, then restart")]
    ReadOnly {
        /// The failure.
        source: Arc<Fault>,
    },
    /// The store was stopped.
    #[error("the store is stopped")]
    Stopped,
    /// The folder was written by a version that this one does not know.
    #[error(
        "the store at {path} has format {found:?}, this version knows {known}; use the version that wrote it"
    )]
    UnknownFormat {
        /// The folder.
        path: PathBuf,
        /// The format found.
        found: String,
        /// The newest format known.
        known: u32,
    },
}

impl Fault {
    /// Whether the same call may succeed later without anyone restarting anything but this service.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Full | Self::Locked { .. } | Self::Stopped => true,
            Self::Corrupt { .. }
            | Self::Damaged { .. }
            | Self::Invalid(_)
            | Self::Io { .. }
            | Self::ReadOnly { .. }
            | Self::UnknownFormat { .. } => false,
        }
    }

    /// A failure of the operating system while doing something.
    pub(super) fn io(action: &'static str, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io {
                action,
                source: Arc::new(error),
            },
        }
    }

    pub(super) fn damaged(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.into(),
            source: text(reason),
        }
    }
}

/// The fault of a record that does not decode.
pub(super) fn corrupt(key: &Key, reason: &dyn fmt::Display) -> Fault {
    Fault::Corrupt {
        kind: format!("{:?}", key.kind),
        id: key.id.clone(),
        source: text(reason.to_string()),
    }
}

fn text(reason: impl Into<String>) -> Cause {
    Arc::from(Box::<dyn Error + Send + Sync>::from(reason.into()))
}
