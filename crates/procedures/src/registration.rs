//! Registration of an API provider domain and its functions (TS 23.222 clauses 8.28 and 8.29, TS 29.222 clause 5.11).
//!
//! A domain is a list of functions, each with an id and a certificate of its own. [`plan`] decides which functions are
//! kept, renewed or new and what must be certified for it; [`Plan::complete`] makes the commit and the answer.
//!
//! A function that is renewed gets its new certificate as a successor: it counts beside the one in use, which retires an overlap
//! after the function is first seen with the new one. A lost answer can so be asked for again, and locks nobody out.

mod details;
mod removal;
mod reuse;
mod succession;

use std::collections::BTreeSet;

use capif_spec::{
    api_provider_management::{
        ApiProviderEnrolmentDetails, ApiProviderFuncRole, ApiProviderFunctionDetails,
    },
    common::{ApiProviderDomainId, ApiProviderFunctionId, DateTime, SupportedFeatures},
};
use time::Duration;

pub use self::details::patched;
use self::{
    details::{describe, details_of, hosts},
    removal::{forget_subscriptions, remove_functions},
    succession::{Clock, has_key, held, is_distrusted},
};
pub use self::{
    removal::{Around, deregister},
    reuse::{bind, unbind},
    succession::{activate, end_overlap},
};
use crate::{
    changes::{Changes, Expect, Revision, Versioned},
    onboarding::Credential,
    refusal::Refusal,
    rotation,
    state::{
        Certificate, CertificateOrder, ProviderDomain, ProviderFunction, PublicKey, Reuse,
        RevokedCertificate, Role, SecurityContext, ServiceApi, Subscription, Successor,
    },
};

/// Features of the API provider management API that are served (TS 29.222 table 8.9.6-1): bit 1, PatchUpdate.
pub const FEATURES: &str = "1";

/// Feature 1: a registration is changed by PATCH too.
const PATCH_UPDATE: u32 = 1;

/// How many functions one domain may have.
pub const FUNCTIONS_MAX: usize = 64;

/// The vendor member of a function's details that lists the hosts where it serves (TS 29.222 clause 7.11).
pub const HOSTS_MEMBER: &str = "vendorSpecific-capif";

/// A function of the request whose key was judged at the edge: certified keys that pass, or why one does not.
pub type JudgedKey = Result<PublicKey, Refusal>;

/// What becomes of one function of the request.
#[derive(Debug)]
enum Step {
    /// What is asked for is there: id and certificate stay.
    Keep(Box<Kept>),
    /// A certificate is due, for a new function or for the renewal of a known one.
    Certify(Box<Due>),
    /// The function is left out of a partial success.
    Fail(String),
}

impl Step {
    /// Why what was asked for is not done.
    fn failure(&self) -> Option<&str> {
        match self {
            Self::Keep(kept) => kept.failure.as_deref(),
            Self::Certify(_) => None,
            Self::Fail(reason) => Some(reason),
        }
    }
}

#[derive(Debug)]
struct Kept {
    function: Versioned<ProviderFunction>,
    /// The certificate of the key that the request names: in use, or handed over before.
    certificate: String,
    details: ApiProviderFunctionDetails,
    /// Why it is left as it is, if something else was asked for.
    failure: Option<String>,
}

#[derive(Debug)]
struct Due {
    details: ApiProviderFunctionDetails,
    id: ApiProviderFunctionId,
    /// The function, if it is known already.
    known: Option<Versioned<ProviderFunction>>,
    role: Role,
    hosts: Vec<String>,
    order: CertificateOrder,
}

/// The decision to register or update a domain, before certificates are made out.
#[derive(Debug)]
pub struct Plan {
    details: ApiProviderEnrolmentDetails,
    domain: ProviderDomain,
    held: Option<Revision>,
    credential: Option<Credential>,
    steps: Vec<Step>,
    removed: Vec<Versioned<ProviderFunction>>,
    /// Whether whoever asks knows nothing of what the functions did before.
    starts_over: bool,
}

/// What exists before the request.
#[derive(Clone, Copy, Debug)]
pub enum Before<'a> {
    /// Nothing: the domain is new and this credential admits it under a name.
    Nothing {
        /// The registration credential.
        credential: &'a Credential,
        /// The name under which the operator invited the domain.
        name: &'a str,
        /// Whether the domain may register with it again.
        is_reusable: bool,
    },
    /// The domain and its functions.
    Domain(
        &'a Versioned<ProviderDomain>,
        &'a [Versioned<ProviderFunction>],
    ),
    /// The same, for one that registers again with its credential: its functions are found by their keys, otherwise by their roles.
    /// Event subscriptions of a function with a new key go, since nobody is left who knows their ids.
    Again(
        &'a Versioned<ProviderDomain>,
        &'a [Versioned<ProviderFunction>],
    ),
}

/// Decides on the functions of a domain. `keys` holds one judged key per function of the request, in order; `new_ids`
/// gives an id for each function that turns out to be new; `is_outdated` says whether the authority of a certificate is being
/// replaced.
///
/// # Errors
/// Refuses a domain without an AMF, roles that do not exist, ids of other domains, and a request of which nothing
/// could be done.
pub fn plan(
    mut details: ApiProviderEnrolmentDetails,
    before: Before<'_>,
    domain_id: ApiProviderDomainId,
    keys: Vec<JudgedKey>,
    mut new_ids: impl FnMut(Role) -> ApiProviderFunctionId,
    is_outdated: &dyn Fn(&Certificate) -> bool,
    now: &DateTime,
) -> Result<Plan, Refusal> {
    let count = details.api_prov_funcs.as_ref().map_or(0, Vec::len);
    if count > FUNCTIONS_MAX {
        return Err(Refusal::TooMany {
            what: "functions",
            limit: FUNCTIONS_MAX,
        });
    }
    let starts_over = matches!(before, Before::Again(..));
    if let Before::Again(_, functions) = before {
        reuse::identify(&mut details, functions);
    }
    let wanted = details.api_prov_funcs.clone().unwrap_or_default();
    if details
        .api_prov_dom_id
        .as_ref()
        .is_some_and(|id| *id != domain_id)
    {
        return Err(Refusal::ModificationNotAllowed {
            member: "apiProvDomId".to_owned(),
        });
    }
    let (mut domain, known, held, credential) = match before {
        Before::Nothing {
            credential,
            name,
            is_reusable,
        } => (
            ProviderDomain {
                id: domain_id,
                name: name.to_owned(),
                provider_name: None,
                information: None,
                extra: Default::default(),
                functions: Vec::new(),
                features: SupportedFeatures::from(FEATURES),
                registered: now.clone(),
                issuer: Some(credential.issuer.clone()),
                reuse: is_reusable.then(|| Reuse::of(credential)),
            },
            &[][..],
            None,
            Some(credential.clone()),
        ),
        Before::Domain(domain, functions) | Before::Again(domain, functions) => (
            domain.record.clone(),
            functions,
            Some(domain.revision),
            None,
        ),
    };
    domain.information = details.api_prov_dom_info.clone();
    domain.provider_name = details.api_prov_name.clone();
    domain.extra = details.extra.clone();
    if let Some(features) = &details.supp_feat {
        domain.features = features.intersect(&SupportedFeatures::from(FEATURES));
    }

    let mut left: Vec<&Versioned<ProviderFunction>> = known.iter().collect();
    let mut steps = Vec::with_capacity(wanted.len());
    for (index, (function, key)) in wanted.into_iter().zip(keys).enumerate() {
        let since = &domain.registered;
        let clock = Clock {
            since,
            now,
            is_outdated,
        };
        steps.push(step(index, function, key, &mut left, &mut new_ids, clock)?);
    }
    let roles = steps.iter().filter_map(|step| match step {
        Step::Keep(kept) => Some(kept.function.record.role),
        Step::Certify(due) => Some(due.role),
        Step::Fail(_) => None,
    });
    if !roles.clone().any(|role| role == Role::Amf) {
        let failed = steps.iter().find_map(Step::failure).map(str::to_owned);
        return Err(Refusal::incorrect(
            "/apiProvFuncs",
            failed.unwrap_or_else(|| {
                "a provider domain needs an AMF: only an AMF may change or remove it later"
                    .to_owned()
            }),
        ));
    }
    let is_done = |step: &Step| match step {
        Step::Keep(kept) => kept.failure.is_none(),
        Step::Certify(_) => true,
        Step::Fail(_) => false,
    };
    if !steps.iter().any(is_done) {
        let reasons: Vec<&str> = steps.iter().filter_map(Step::failure).collect();
        return Err(Refusal::incorrect("/apiProvFuncs", reasons.join("; ")));
    }
    let removed = left.into_iter().cloned().collect();
    Ok(Plan {
        details,
        domain,
        held,
        credential,
        steps,
        removed,
        starts_over,
    })
}

fn step(
    index: usize,
    details: ApiProviderFunctionDetails,
    key: JudgedKey,
    left: &mut Vec<&Versioned<ProviderFunction>>,
    new_ids: &mut impl FnMut(Role) -> ApiProviderFunctionId,
    clock: Clock<'_>,
) -> Result<Step, Refusal> {
    let role = role_of(&details.api_prov_func_role).ok_or_else(|| {
        Refusal::incorrect(
            format!("/apiProvFuncs/{index}/apiProvFuncRole"),
            "`apiProvFuncRole` must be AEF, APF or AMF",
        )
    })?;
    let hosts = hosts(index, &details)?;
    let position = match &details.api_prov_func_id {
        Some(id) => Some(left.iter().position(|known| known.record.id == *id).ok_or(
            Refusal::NotFound {
                what: "provider function",
            },
        )?),
        // Deployed clients leave the id out and repeat the request for the key.
        None => left.iter().position(|known| {
            known.record.role == role && has_key(&known.record, &details.reg_info.api_prov_pub_key)
        }),
    };
    let known = position.map(|position| left.remove(position));
    if known.is_some_and(|known| known.record.role != role) {
        return Err(Refusal::ModificationNotAllowed {
            member: format!("apiProvFuncs/{index}/apiProvFuncRole"),
        });
    }
    let key = match key {
        Ok(key) => key,
        Err(refusal) => {
            let failure = format!("function {index} ({}): {refusal}", role.as_str());
            return match known {
                // It stays as it is, so that who sends the answer back does not remove it.
                Some(known) => Ok(Step::Keep(Box::new(Kept {
                    certificate: known.record.certificate.pem.to_string(),
                    details: details_of(&known.record)?,
                    function: known.clone(),
                    failure: Some(failure),
                }))),
                None => Ok(Step::Fail(failure)),
            };
        }
    };
    if let Some(known) = known
        && known.record.hosts == hosts
        && let Some(certificate) = held(&known.record, &key, clock)
    {
        let certificate = certificate.pem.to_string();
        let mut function = known.clone();
        describe(&mut function.record, &details);
        return Ok(Step::Keep(Box::new(Kept {
            function,
            certificate,
            details,
            failure: None,
        })));
    }
    if known.is_some_and(|known| is_distrusted(&known.record, &key)) {
        return Err(Refusal::PublicKey(
            "it may be in other hands: make a new key pair".to_owned(),
        ));
    }
    let id = known.map_or_else(|| new_ids(role), |known| known.record.id.clone());
    let order = CertificateOrder::new(id.as_str(), role, key, hosts.clone());
    Ok(Step::Certify(Box::new(Due {
        details,
        id,
        known: known.cloned(),
        role,
        hosts,
        order,
    })))
}

/// The role that a request names, if there is such a one.
fn role_of(role: &ApiProviderFuncRole) -> Option<Role> {
    match role {
        ApiProviderFuncRole::Aef => Some(Role::Aef),
        ApiProviderFuncRole::Apf => Some(Role::Apf),
        ApiProviderFuncRole::Amf => Some(Role::Amf),
        ApiProviderFuncRole::Other(_) => None,
    }
}

impl Plan {
    /// What the certificate authority is to sign, in order.
    pub fn orders(&self) -> impl Iterator<Item = &CertificateOrder> {
        self.steps.iter().filter_map(|step| match step {
            Step::Certify(due) => Some(&due.order),
            _ => None,
        })
    }

    /// Whether the update gives this function a new certificate, or the one once more that it was handed over, and leaves it at the
    /// functions that there are.
    #[must_use]
    pub fn renews_alone(&self, id: &ApiProviderFunctionId) -> bool {
        let is_renewed = |step: &Step| match step {
            Step::Certify(due) => due.known.is_some() && due.id == *id,
            Step::Keep(kept) => {
                let function = &kept.function.record;
                function.id == *id && function.certificate.pem != *kept.certificate
            }
            Step::Fail(_) => false,
        };
        let is_known = |step: &Step| match step {
            Step::Certify(due) => due.known.is_some(),
            Step::Keep(_) => true,
            Step::Fail(_) => false,
        };
        self.removed.is_empty()
            && self.steps.iter().any(is_renewed)
            && self.steps.iter().all(is_known)
    }

    /// Makes the commit and the answer; `certificates` come in the order of [`Plan::orders`]. Functions that go take what is
    /// theirs along. `overlap` is how long what was handed over before and not used still counts.
    ///
    /// # Errors
    /// Refuses when there are fewer certificates than orders.
    pub fn complete<'a, A, S, C>(
        self,
        certificates: Vec<Certificate>,
        around: Around<'_, A, S, C>,
        overlap: Duration,
        now: &DateTime,
    ) -> Result<(Changes, ApiProviderEnrolmentDetails), Refusal>
    where
        A: Iterator<Item = &'a ServiceApi> + Clone,
        S: Iterator<Item = &'a Subscription> + Clone,
        C: Iterator<Item = &'a Versioned<SecurityContext>>,
    {
        let Self {
            mut details,
            mut domain,
            held,
            credential,
            steps,
            removed,
            starts_over,
        } = self;
        let mut changes = Changes::new();
        if let Some(credential) = credential {
            changes.put(&credential.used(), Expect::Absent);
        }
        let mut certificates = certificates.into_iter();
        let mut answered = Vec::new();
        let mut failures = Vec::new();
        let mut functions = Vec::new();
        let mut over = BTreeSet::new();
        for step in steps {
            failures.extend(step.failure().map(str::to_owned));
            let (id, certificate, mut answer) = match step {
                Step::Fail(_) => continue,
                Step::Keep(kept) => {
                    let function = kept.function.record;
                    changes.put(&function, Expect::At(kept.function.revision));
                    (function.id, kept.certificate, kept.details)
                }
                Step::Certify(due) => {
                    let certificate = certificates.next().ok_or(Refusal::NotFound {
                        what: "certificate",
                    })?;
                    let pem = certificate.pem.to_string();
                    let id = due.id.clone();
                    if starts_over && due.known.is_some() {
                        over.insert(id.as_str().to_owned());
                    }
                    let details =
                        due.certified(certificate, &domain.id, &mut changes, overlap, now);
                    (id, pem, details)
                }
            };
            functions.push(id.clone());
            answer.api_prov_func_id = Some(id);
            answer.reg_info.api_prov_cert = Some(certificate);
            answered.push(answer);
        }
        for id in &over {
            forget_subscriptions(&mut changes, id);
        }
        let around = Around {
            apis: around.apis,
            rules: around.rules,
            subscriptions: around
                .subscriptions
                .filter(|held| !over.contains(&held.subscriber)),
            contexts: around.contexts,
        };
        remove_functions(&mut changes, &removed, around, now);
        domain.functions = functions;
        changes.put(&domain, held.map_or(Expect::Absent, Expect::At));

        details.api_prov_dom_id = Some(domain.id);
        details.api_prov_funcs = Some(answered);
        details.fail_reason = (!failures.is_empty()).then(|| failures.join("; "));
        details.supp_feat = details.supp_feat.map(|_| domain.features);
        Ok((changes, details))
    }
}

impl Due {
    /// Writes what a new certificate makes of the function: a function with it, or a successor beside the certificate in use.
    fn certified(
        self,
        certificate: Certificate,
        domain_id: &ApiProviderDomainId,
        changes: &mut Changes,
        overlap: Duration,
        now: &DateTime,
    ) -> ApiProviderFunctionDetails {
        let public_key_text = self.details.reg_info.api_prov_pub_key.clone();
        let Some(known) = self.known else {
            let mut function = ProviderFunction {
                id: self.id,
                domain_id: domain_id.clone(),
                role: self.role,
                public_key_text: public_key_text.into(),
                certificate,
                information: None,
                hosts: self.hosts,
                extra: Default::default(),
                key_extra: Default::default(),
                renewal: Default::default(),
            };
            describe(&mut function, &self.details);
            changes.put(&function, Expect::Absent);
            return self.details;
        };
        let mut function = known.record;
        describe(&mut function, &self.details);
        function.hosts = self.hosts;
        let successor = Successor {
            public_key_text: public_key_text.into(),
            certificate,
            onboard_secret: None,
            secret_expires: None,
        };
        for ended in rotation::hand_over(&mut function, successor, overlap, now) {
            RevokedCertificate::put(changes, &ended.certificate, ended.reason, now);
        }
        changes.put(&function, Expect::At(known.revision));
        self.details
    }
}

#[cfg(test)]
mod tests;
