//! Registration of an API provider domain and its functions (TS 23.222 clauses 8.28 and 8.29, TS 29.222 clause 5.11).
//!
//! A domain is a list of functions, each with an id and a certificate of its own. [`plan`] decides which functions are
//! kept, renewed or new and what must be certified for it; [`Plan::complete`] makes the commit and the answer.

use capif_spec::{
    api_provider_management::{
        ApiProviderEnrolmentDetails, ApiProviderFuncRole, ApiProviderFunctionDetails,
    },
    common::{ApiProviderDomainId, ApiProviderFunctionId, DateTime, SupportedFeatures},
    events::CapifEvent,
};

use crate::{
    changes::{Changes, Expect, Versioned},
    events,
    onboarding::Credential,
    refusal::Refusal,
    state::{
        AccessControlPolicy, Certificate, CertificateOrder, Notification, ProviderDomain,
        ProviderFunction, PublicKey, Revocation, Role, ServiceApi, ServiceApiName, Subscription,
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
    /// The key is the same: id and certificate stay.
    Keep(Box<(ProviderFunction, ApiProviderFunctionDetails)>),
    /// A certificate is due, for a new function or for a new key of a known one.
    Certify(Box<Due>),
    /// The function is left out of a partial success.
    Fail(String),
}

#[derive(Debug)]
struct Due {
    details: ApiProviderFunctionDetails,
    id: ApiProviderFunctionId,
    role: Role,
    hosts: Vec<String>,
    order: CertificateOrder,
}

/// The decision to register or update a domain, before certificates are made out.
#[derive(Debug)]
pub struct Plan {
    details: ApiProviderEnrolmentDetails,
    domain: ProviderDomain,
    held: Option<crate::changes::Revision>,
    credential: Option<Credential>,
    steps: Vec<Step>,
    removed: Vec<ProviderFunction>,
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
    Domain(&'a Versioned<ProviderDomain>, &'a [ProviderFunction]),
}

/// Decides on the functions of a domain. `keys` holds one judged key per function of the request, in order; `new_ids`
/// gives an id for each function that turns out to be new.
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

    let mut left: Vec<&ProviderFunction> = known.iter().collect();
    let mut steps = Vec::with_capacity(wanted.len());
    for (index, (function, key)) in wanted.into_iter().zip(keys).enumerate() {
        steps.push(step(index, function, key, &mut left, &mut new_ids)?);
    }
    let roles = steps.iter().filter_map(|step| match step {
        Step::Keep(kept) => Some(kept.0.role),
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
    left: &mut Vec<&ProviderFunction>,
    new_ids: &mut impl FnMut(Role) -> ApiProviderFunctionId,
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
        Some(id) => Some(left.iter().position(|known| known.id == *id).ok_or(
            Refusal::NotFound {
                what: "provider function",
            },
        )?),
        // Deployed clients leave the id out and repeat the request for the key.
        None => left.iter().position(|known| {
            known.role == role && known.public_key_text == details.reg_info.api_prov_pub_key
        }),
    };
    let known = position.map(|position| left.remove(position));
    if known.is_some_and(|known| known.role != role) {
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
        && known.certificate.public_key == key.digest
        && known.hosts == hosts
    {
        let mut kept = known.clone();
        kept.information = details.api_prov_func_info.clone();
        return Ok(Step::Keep(Box::new((kept, details))));
    }
    let id = known.map_or_else(|| new_ids(role), |known| known.id.clone());
    let order = CertificateOrder::new(id.as_str(), role, key, hosts.clone());
    Ok(Step::Certify(Box::new(Due {
        details,
        id,
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

    /// Makes the commit and the answer; `certificates` come in the order of [`Plan::orders`]. `apis` and `subscriptions`
    /// are all there are: functions that go take theirs along.
    ///
    /// # Errors
    /// Refuses when there are fewer certificates than orders.
    pub fn complete<'a>(
        self,
        certificates: Vec<Certificate>,
        apis: impl Iterator<Item = &'a ServiceApi> + Clone,
        subscriptions: impl Iterator<Item = &'a Subscription> + Clone,
        now: &DateTime,
    ) -> Result<(Changes, ApiProviderEnrolmentDetails), Refusal> {
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
            let (function, mut answer) = match step {
                Step::Fail(reason) => {
                    failures.push(reason);
                    continue;
                }
                Step::Keep(kept) => *kept,
                Step::Certify(due) => {
                    let certificate = certificates.next().ok_or(Refusal::NotFound {
                        what: "certificate",
                    })?;
                    let function = ProviderFunction {
                        id: due.id,
                        domain_id: domain.id.clone(),
                        role: due.role,
                        public_key_text: due.details.reg_info.api_prov_pub_key.clone(),
                        certificate,
                        information: due.details.api_prov_func_info.clone(),
                        hosts: due.hosts,
                    };
                    (function, due.details)
                }
            };
            changes.put(&function, Expect::Any);
            functions.push(function.id.clone());
            answer.api_prov_func_id = Some(function.id);
            answer.reg_info.api_prov_cert = Some(function.certificate.pem);
            answered.push(answer);
        }
        remove_functions(&mut changes, &removed, apis, subscriptions, now);
        domain.functions = functions;
        changes.put(&domain, held.map_or(Expect::Absent, Expect::At));

        details.api_prov_dom_id = Some(domain.id);
        details.api_prov_funcs = Some(answered);
        details.fail_reason = (!failures.is_empty()).then(|| failures.join("; "));
        details.supp_feat = details.supp_feat.map(|_| domain.features);
        Ok((changes, details))
    }
}

/// Removes a domain with all its functions, APIs, subscriptions and what waits for delivery to them.
#[must_use]
pub fn deregister<'a>(
    domain: &Versioned<ProviderDomain>,
    functions: &[ProviderFunction],
    apis: impl Iterator<Item = &'a ServiceApi> + Clone,
    subscriptions: impl Iterator<Item = &'a Subscription> + Clone,
    now: &DateTime,
) -> Changes {
    let mut changes = Changes::new();
    changes.delete::<ProviderDomain>(domain.record.id.as_str(), Expect::At(domain.revision));
    remove_functions(&mut changes, functions, apis, subscriptions, now);
    changes
}

fn remove_functions<'a>(
    changes: &mut Changes,
    functions: &[ProviderFunction],
    apis: impl Iterator<Item = &'a ServiceApi> + Clone,
    subscriptions: impl Iterator<Item = &'a Subscription> + Clone,
    now: &DateTime,
) {
    // Those that go together do not hear of each other: nothing would be left to deliver it to.
    let staying = subscriptions.filter(|subscription| {
        !functions
            .iter()
            .any(|function| function.id.as_str() == subscription.subscriber)
    });
    for function in functions {
        remove_function(changes, function, apis.clone(), staying.clone(), now);
    }
    let goes = |id: &str| functions.iter().any(|function| function.id.as_str() == id);
    let of_domain = |api: &ServiceApi| {
        let mut functions = functions.iter();
        functions.any(|function| function.domain_id == api.domain_id)
    };
    for api in apis.filter(|api| of_domain(api) && !goes(api.apf_id.as_str())) {
        strip_profiles(changes, api, &goes, staying.clone(), now);
    }
}

/// Takes the profiles of AEFs that go out of an API whose APF stays; an API without any is withdrawn.
fn strip_profiles<'a>(
    changes: &mut Changes,
    api: &ServiceApi,
    goes: &impl Fn(&str) -> bool,
    subscriptions: impl Iterator<Item = &'a Subscription>,
    now: &DateTime,
) {
    let mut left = api.clone();
    let profiles = left.description.aef_profiles.get_or_insert_default();
    let before = profiles.len();
    profiles.retain(|profile| !goes(profile.aef_id.as_str()));
    if profiles.len() == before {
        return;
    }
    let event = if profiles.is_empty() {
        withdraw(changes, api);
        CapifEvent::ServiceApiUnavailable
    } else {
        changes.put(&left, Expect::Present);
        CapifEvent::ServiceApiUpdate
    };
    events::raise(changes, events::of_api(event, &left), subscriptions, now);
}

fn withdraw(changes: &mut Changes, api: &ServiceApi) {
    changes.delete::<ServiceApi>(api.id.as_str(), Expect::Present);
    let name = ServiceApiName::id(&api.domain_id, &api.description.api_name);
    changes.delete::<ServiceApiName>(name, Expect::Any);
    changes.delete_prefix::<AccessControlPolicy>(AccessControlPolicy::prefix(&api.id));
}

fn remove_function<'a>(
    changes: &mut Changes,
    function: &ProviderFunction,
    apis: impl Iterator<Item = &'a ServiceApi>,
    subscriptions: impl Iterator<Item = &'a Subscription> + Clone,
    now: &DateTime,
) {
    let id = function.id.as_str();
    changes.delete::<ProviderFunction>(id, Expect::Present);
    changes.delete_prefix::<Subscription>(Subscription::prefix(id));
    changes.delete_prefix::<Notification>(Subscription::prefix(id));
    changes.delete_prefix::<Revocation>(Revocation::prefix(id));
    for api in apis.filter(|api| api.apf_id == function.id) {
        withdraw(changes, api);
        events::raise(
            changes,
            events::of_api(CapifEvent::ServiceApiUnavailable, api),
            subscriptions.clone(),
            now,
        );
    }
}

#[cfg(test)]
mod tests;
