//! `[authority]`: who signs certificates, when that is somebody else.

use std::path::PathBuf;

use serde::Deserialize;

/// `[authority]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthoritySection {
    /// A program with its arguments that has every certificate signed elsewhere; none if empty.
    pub hook: Vec<String>,
    /// How long it may take, in seconds.
    pub hook_seconds: u32,
    /// The trust anchors that its certificates lead to, as a PEM file.
    pub hook_ca_file: PathBuf,
}

impl Default for AuthoritySection {
    fn default() -> Self {
        Self {
            hook: Vec::new(),
            hook_seconds: 10,
            hook_ca_file: PathBuf::new(),
        }
    }
}

impl AuthoritySection {
    /// Says what is missing.
    pub(super) fn check(&self) -> Result<(), String> {
        let Some(program) = self.hook.first() else {
            return if self.hook_ca_file.as_os_str().is_empty() {
                Ok(())
            } else {
                Err("authority.hook: hook_ca_file is of use with a hook alone".to_owned())
            };
        };
        if !program.starts_with('/') {
            return Err(format!(
                "authority.hook: give the program's whole path, not `{program}`"
            ));
        }
        if self.hook_ca_file.as_os_str().is_empty() {
            return Err(
                "authority.hook_ca_file: name the trust anchors that the hook's certificates lead to"
                    .to_owned(),
            );
        }
        if !(1..=60).contains(&self.hook_seconds) {
            return Err("authority.hook_seconds: must be from 1 to 60".to_owned());
        }
        Ok(())
    }
}
