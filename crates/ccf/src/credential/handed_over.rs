//! Credentials that a provider handed to the CCF beforehand, as TS 33.122 clause 6.1 step 2 has it in its first form: the
//! invoker presents the very same text, whatever it is, and its digest is looked up.

use std::{collections::BTreeSet, sync::Arc};

use capif_procedures::{
    onboarding::Credential,
    refusal::Refusal,
    state::{ApiReach, CredentialUse, Digest, RegisteredCredential},
};
use capif_spec::common::DateTime;

use super::{CredentialVerifier, Purpose, Verdict, Verified};
use crate::{
    random::sha256,
    store::{self, Store},
};

/// Looks credentials up by their digest.
pub struct HandedOver {
    store: Arc<dyn Store>,
}

impl HandedOver {
    /// Looks into this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }
}

impl CredentialVerifier for HandedOver {
    fn verify<'a>(&'a self, token: &'a str, purpose: Purpose, now: DateTime) -> Verdict<'a> {
        Box::pin(async move {
            if purpose != Purpose::Onboarding {
                return Ok(None);
            }
            let token = sha256(token.as_bytes());
            let single_use = single_use(&token);
            let found =
                store::load::<RegisteredCredential>(self.store.as_ref(), &token.to_string())
                    .await?;
            let Some(found) = found else {
                // Its record went with its use; who holds it may know that it was used, and may have lost the answer.
                let used =
                    store::load::<CredentialUse>(self.store.as_ref(), &single_use.to_string())
                        .await?;
                return Ok(used.map(|used| Verified {
                    credential: Credential {
                        issuer: String::new(),
                        single_use,
                        expires: used.record.expires,
                        reach: ApiReach {
                            domain: None,
                            api_names: Some(BTreeSet::new()),
                        },
                        registered: None,
                        approval: false,
                    },
                    name: None,
                    is_used: true,
                    is_reusable: false,
                    has_ended: false,
                }));
            };
            let registered = found.record;
            if registered.expires <= now {
                return Err(Refusal::CredentialExpired.into());
            }
            Ok(Some(Verified {
                credential: Credential {
                    issuer: registered
                        .reach
                        .domain
                        .as_ref()
                        .map_or_else(|| "operator".to_owned(), ToString::to_string),
                    single_use,
                    expires: registered.expires,
                    reach: registered.reach,
                    registered: Some(token),
                    approval: registered.approval,
                },
                name: None,
                is_used: false,
                is_reusable: false,
                has_ended: false,
            }))
        })
    }
}

/// The mark of use of a credential with this digest.
fn single_use(token: &Digest) -> Digest {
    sha256(format!("handed over\0{token}").as_bytes())
}
