//! What may be discovered before onboarding.

use std::collections::BTreeSet;

use serde::Deserialize;

/// `[discovery]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscoverySection {
    /// The names of the APIs that anyone may discover, without certificate (TS 23.222 annex E); none if empty.
    pub open_apis: BTreeSet<String>,
}
