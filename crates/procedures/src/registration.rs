//! Registration of an API provider domain and its functions (TS 23.222 clauses 8.28 and 8.29, TS 29.222 clause 5.11).
//!
//! A domain is a list of functions, each with an id and a certificate of its own. [`plan`] decides which functions are
//! kept, renewed or new and what must be certified for it; [`Plan::complete`] makes the commit and the answer.
//!
//! A function that is renewed gets its new certificate as a successor: it counts beside the one in use, which retires an overlap
//! after the function is first seen with the new one. A lost answer can so be asked for again, and locks nobody out.

mod removal;
mod succession;

use capif_spec::{
    api_provider_management::{
        ApiProviderEnrolmentDetails, ApiProviderFuncRole, ApiProviderFunctionDetails,
    },
    common::{ApiProviderDomainId, ApiProviderFunctionId, DateTime, SupportedFeatures},
};

use time::Duration;

use self::{
    removal::remove_functions,
    succession::{Clock, has_key, held, is_distrusted},
};
pub use self::{
    removal::{Around, deregister},
    succession::{activate, end_overlap},
};
use crate::{
    changes::{Changes, Expect, Revision, Versioned},
    onboarding::Credential,
    refusal::Refusal,
    rotation,
    state::{
        Certificate, CertificateOrder, ProviderDomain, ProviderFunction, PublicKey,
        RevokedCertificate, Role, SecurityContext, ServiceApi, Subscription, Successor,
    },
};

/// Features of the API provider management API that are served (TS 29.222 table 8.9.6-1): bit 1, PatchUpdate.
pub const FEATURES: &str = "1";

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

#[derive(Debug)]
struct Kept {
    function: Versioned<ProviderFunction>,
    /// The certificate of the key that the request names: in use, or handed over before.
    certificate: String,
    details: ApiProviderFunctionDetails,
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
    },
    /// The domain and its functions.
    Domain(
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
    details: ApiProviderEnrolmentDetails,
    before: Before<'_>,
    domain_id: ApiProviderDomainId,
    keys: Vec<JudgedKey>,
    mut new_ids: impl FnMut(Role) -> ApiProviderFunctionId,
    is_outdated: &dyn Fn(&Certificate) -> bool,
    now: &DateTime,
) -> Result<Plan, Refusal> {
    let wanted = details.api_prov_funcs.clone().unwrap_or_default();
    if wanted.len() > FUNCTIONS_MAX {
        return Err(Refusal::TooMany {
            what: "functions",
            limit: FUNCTIONS_MAX,
        });
    }
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
        Before::Nothing { credential, name } => (
            ProviderDomain {
                id: domain_id,
                name: name.to_owned(),
                information: None,
                functions: Vec::new(),
                features: SupportedFeatures::from(FEATURES),
                registered: now.clone(),
            },
            &[][..],
            None,
            Some(credential.clone()),
        ),
        Before::Domain(domain, functions) => (
            domain.record.clone(),
            functions,
            Some(domain.revision),
            None,
        ),
    };
    domain.information = details.api_prov_dom_info.clone();
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
        let failed = steps.iter().find_map(|step| match step {
            Step::Fail(reason) => Some(reason.clone()),
            _ => None,
        });
        return Err(Refusal::incorrect(
            "/apiProvFuncs",
            failed.unwrap_or_else(|| {
                "a provider domain needs an AMF: only an AMF may change or remove it later"
                    .to_owned()
            }),
        ));
    }
    let removed = left.into_iter().cloned().collect();
    Ok(Plan {
        details,
        domain,
        held,
        credential,
        steps,
        removed,
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
    let role = match &details.api_prov_func_role {
        ApiProviderFuncRole::Aef => Role::Aef,
        ApiProviderFuncRole::Apf => Role::Apf,
        ApiProviderFuncRole::Amf => Role::Amf,
        ApiProviderFuncRole::Other(_) => {
            return Err(Refusal::incorrect(
                format!("/apiProvFuncs/{index}/apiProvFuncRole"),
                "`apiProvFuncRole` must be AEF, APF or AMF",
            ));
        }
    };
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
            if known.is_some() {
                return Err(refusal);
            }
            return Ok(Step::Fail(format!(
                "function {index} ({}): {refusal}",
                role.as_str()
            )));
        }
    };
    if let Some(known) = known
        && known.record.hosts == hosts
        && let Some(certificate) = held(&known.record, &key, clock)
    {
        let certificate = certificate.pem.clone();
        let mut function = known.clone();
        function.record.information = details.api_prov_func_info.clone();
        return Ok(Step::Keep(Box::new(Kept {
            function,
            certificate,
            details,
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

/// The hosts where a function serves, as a vendor member names them.
fn hosts(index: usize, details: &ApiProviderFunctionDetails) -> Result<Vec<String>, Refusal> {
    let pointer = || format!("/apiProvFuncs/{index}/{HOSTS_MEMBER}/hosts");
    let Some(hosts) = details
        .extra
        .get(HOSTS_MEMBER)
        .and_then(|vendor| vendor.get("hosts"))
    else {
        return Ok(Vec::new());
    };
    let hosts = hosts
        .as_array()
        .filter(|hosts| hosts.len() <= 16)
        .ok_or_else(|| Refusal::incorrect(pointer(), "`hosts` is a list of at most 16 names"))?;
    hosts
        .iter()
        .map(|host| {
            host.as_str()
                .filter(|host| is_host(host))
                .map(str::to_owned)
                .ok_or_else(|| {
                    Refusal::incorrect(pointer(), "each host is a DNS name or an IP address")
                })
        })
        .collect()
}

/// Whether a text is an IP address or a DNS name in the preferred syntax (RFC 1123 section 2.1); no wildcards.
fn is_host(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
        || (text.len() <= 253
            && text.split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            }))
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
                function.id == *id && kept.certificate != function.certificate.pem
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
        around: Around<A, S, C>,
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
        } = self;
        let mut changes = Changes::new();
        if let Some(credential) = credential {
            changes.put(&credential.used(), Expect::Absent);
        }
        let mut certificates = certificates.into_iter();
        let mut answered = Vec::new();
        let mut failures = Vec::new();
        let mut functions = Vec::new();
        for step in steps {
            let (id, certificate, mut answer) = match step {
                Step::Fail(reason) => {
                    failures.push(reason);
                    continue;
                }
                Step::Keep(kept) => {
                    let function = kept.function.record;
                    changes.put(&function, Expect::At(kept.function.revision));
                    (function.id, kept.certificate, kept.details)
                }
                Step::Certify(due) => {
                    let certificate = certificates.next().ok_or(Refusal::NotFound {
                        what: "certificate",
                    })?;
                    let pem = certificate.pem.clone();
                    let id = due.id.clone();
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
        let information = self.details.api_prov_func_info.clone();
        let Some(known) = self.known else {
            let function = ProviderFunction {
                id: self.id,
                domain_id: domain_id.clone(),
                role: self.role,
                public_key_text,
                certificate,
                information,
                hosts: self.hosts,
                renewal: Default::default(),
            };
            changes.put(&function, Expect::Absent);
            return self.details;
        };
        let mut function = known.record;
        function.information = information;
        function.hosts = self.hosts;
        let successor = Successor {
            public_key_text,
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
