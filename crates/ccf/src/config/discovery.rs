//! What may be discovered before onboarding, and how it is told how often APIs are.

use std::collections::BTreeSet;

use serde::Deserialize;

/// `[discovery]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscoverySection {
    /// The names of the APIs that anyone may discover, without certificate (TS 23.222 annex E); none if empty.
    pub open_apis: BTreeSet<String>,
    /// How often those who subscribed are told how often APIs were discovered, in seconds.
    pub count_seconds: u32,
}

impl Default for DiscoverySection {
    fn default() -> Self {
        Self {
            open_apis: BTreeSet::new(),
            count_seconds: 60,
        }
    }
}
