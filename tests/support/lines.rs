//! The log of what runs on this thread, which is everything in a test with one.

use std::{
    cell::RefCell,
    io::{self, Write},
    sync::Once,
};

use serde_json::Value;

thread_local! {
    static TEXT: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// One subscriber for all threads: several that come and go would disturb each other.
static SUBSCRIBER: Once = Once::new();

/// Keeps the lines until the end of the test.
pub struct Lines(());

impl Lines {
    /// From now on.
    pub fn keep() -> Self {
        SUBSCRIBER.call_once(|| {
            tracing_subscriber::fmt()
                .json()
                .flatten_event(true)
                .with_max_level(tracing::Level::INFO)
                .with_writer(|| OfThread)
                .init();
        });
        TEXT.set(Some(Vec::new()));
        Self(())
    }

    /// The lines so far that have this member with this value.
    pub fn with(&self, member: &str, value: &str) -> Vec<Value> {
        TEXT.with_borrow(|text| {
            let lines = text.as_deref().unwrap_or_default();
            let lines = lines.split(|octet| *octet == b'\n');
            lines
                .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
                .filter(|line| line[member] == value)
                .collect()
        })
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        TEXT.set(None);
    }
}

struct OfThread;

impl Write for OfThread {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        TEXT.with_borrow_mut(|text| {
            if let Some(text) = text {
                text.extend_from_slice(octets);
            }
        });
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
