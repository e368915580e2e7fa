//! CAPIF_API_Provider_Management_API (TS 29.222 clause 8.9).

use std::sync::Arc;

use capif_procedures::{
    changes::Versioned,
    onboarding::Credential,
    refusal::Refusal,
    registration::{self, Before, Plan},
    rotation::{self, Standing},
    state::{Certificate, Pem, ProviderDomain, ProviderFunction, Role},
};
use capif_spec::{
    api_provider_management::ApiProviderEnrolmentDetails,
    common::{ApiProviderDomainId, ApiProviderFunctionId, Checked, Redacted},
};
use http::StatusCode;

use super::{
    Answer, Call, created, issues::OF_DOMAIN, json_answer, no_content, preference,
    problem::ApiError,
};
use crate::{
    audit::Act,
    authority::keys,
    core::{ATTEMPTS_MAX, Core},
    credential::{self, Purpose, Verified},
    random::{self, NoRandomness},
    view::Records,
};

/// `POST registrations`. By a credential that may be used again, it is an update of the domain that was made by it (Choice: for
/// providers that keep nothing between two starts).
pub(crate) fn create(call: Call) -> Answer {
    Box::pin(async move {
        let core = &call.core;
        let bearer = call.bearer()?.to_owned();
        let verified =
            credential::verify(&core.verifiers, &bearer, Purpose::Registration, &call.now).await?;
        let is_used = credential::is_used(core.store.as_ref(), &verified.credential).await?;
        if is_used && !verified.is_reusable {
            return Err(Refusal::CredentialUsed.into());
        }
        let mut details: ApiProviderEnrolmentDetails = call.checked()?;
        if details.reg_sec.expose() != bearer {
            return Err(Refusal::incorrect(
                "/regSec",
                "`regSec` must repeat the registration credential of the Authorization header",
            )
            .into());
        }
        if let Some(id) = &details.api_prov_dom_id {
            let reason =
                format!("`apiProvDomId` is given by the CAPIF core function: leave {id} out");
            return Err(Refusal::incorrect("/apiProvDomId", reason).into());
        }
        let reg_sec = std::mem::replace(&mut details.reg_sec, Redacted::from(String::new()));
        let first = if is_used {
            Err(Refusal::CredentialUsed.into())
        } else {
            register(&call, &verified, details.clone()).await
        };
        let (domain_id, mut answer) = match first {
            // Also when another request with it was the first in this very moment.
            Err(ApiError::Refused(Refusal::CredentialUsed)) if verified.is_reusable => {
                register_again(&call, &verified.credential, details).await?
            }
            outcome => outcome?,
        };
        // A used-up credential is worth nothing to whoever reads the answer later; one that can be used again is not repeated.
        if !verified.is_reusable {
            answer.reg_sec = reg_sec;
        }
        created(
            core,
            &format!("/api-provider-management/v1/registrations/{domain_id}"),
            &answer,
        )
    })
}

/// A registration, as its answer names it.
type Registered = (ApiProviderDomainId, ApiProviderEnrolmentDetails);

/// Makes a domain.
async fn register(
    call: &Call,
    verified: &Verified,
    details: ApiProviderEnrolmentDetails,
) -> Result<Registered, ApiError> {
    let core = &call.core;
    let name = verified.name.as_deref().unwrap_or("unnamed");
    let domain_id = ApiProviderDomainId::new(random::id("DOM")?);
    let before = Before::Nothing {
        credential: &verified.credential,
        name,
        is_reusable: verified.is_reusable,
    };
    let plan = plan(call, details, before, domain_id.clone())?;
    let certificates = certify(core, call, &plan).await?;
    let (changes, answer) = {
        let records = core.view.read();
        let overlap = core.config.renewal.overlap();
        plan.complete(certificates, records.around_functions(), overlap, &call.now)?
    };
    let act = call
        .act(domain_id.as_str())
        .detail(if verified.is_reusable {
            format!("{name}, with a reusable credential")
        } else {
            name.to_owned()
        });
    core.commit(&act, changes).await?;
    Ok((domain_id, answer))
}

/// Updates the domain that a credential made. Once that is gone, or was given another credential, this one makes nothing more.
async fn register_again(
    call: &Call,
    credential: &Credential,
    details: ApiProviderEnrolmentDetails,
) -> Result<Registered, ApiError> {
    let own = || {
        let records = call.core.view.read();
        let made = records.domains().find(|domain| {
            let reuse = domain.reuse.as_ref();
            reuse.is_some_and(|reuse| reuse.credential == credential.single_use)
        });
        let id = made.ok_or(Refusal::CredentialUsed)?.id.clone();
        whole_domain(&records, &id)
    };
    let (domain, _) = own()?;
    let id = domain.record.id.clone();
    let detail = format!("{}, again with its reusable credential", domain.record.name);
    let answer = change(call, &detail, || {
        let (domain, functions) = own()?;
        let before = Before::Again(&domain, &functions);
        let plan = plan(call, details.clone(), before, id.clone())?;
        Ok((domain, functions, plan))
    })
    .await?;
    tracing::warn!(domain = %id, "registered again with its reusable credential: certificates of before end once the new ones are used");
    Ok((id, answer.details))
}

/// `PUT registrations/{registrationId}`.
pub(crate) fn replace(call: Call) -> Answer {
    Box::pin(async move {
        let details: ApiProviderEnrolmentDetails = call.checked()?;
        update(&call, |_, _| Ok(details.clone())).await
    })
}

/// `PATCH registrations/{registrationId}`: what is given takes the place of what there is (RFC 7396).
pub(crate) fn modify(call: Call) -> Answer {
    Box::pin(async move {
        let patch: serde_json::Map<String, serde_json::Value> = call.json()?;
        update(&call, |domain, functions| {
            let details = registration::patched(domain, functions, &patch)?;
            details
                .check()
                .map_err(|violation| Refusal::incorrect(violation.pointer, violation.reason))?;
            Ok(details)
        })
        .await
    })
}

/// `DELETE registrations/{registrationId}`.
pub(crate) fn delete(call: Call) -> Answer {
    Box::pin(async move {
        let (domain, _) = own_domain(&call)?;
        let id = domain.record.id.clone();
        call.connection.close_after_response();
        let act = call.act(id.as_str());
        remove(&call.core, &act, &id, Some(&call.connection)).await?;
        Ok(no_content())
    })
}

/// Removes a domain, whoever asks for it, and closes the connections of its functions.
pub(crate) async fn remove(
    core: &Core,
    act: &Act,
    id: &ApiProviderDomainId,
    but: Option<&capif_transport::Connection>,
) -> Result<(), ApiError> {
    let now = core.now();
    let functions = core
        .transact(act, |records| {
            let domain = records.domain(id.as_str()).ok_or(Refusal::NotFound {
                what: "provider domain",
            })?;
            let functions = functions_of(&domain.record, records);
            let changes = registration::deregister(
                domain,
                &functions,
                records.credentials(),
                records.around_functions(),
                &now,
            );
            Ok((changes, functions))
        })
        .await?;
    for function in functions {
        core.close_connections_of(function.record.id.as_str(), but);
    }
    Ok(())
}

/// Decides on what the caller's request makes of its own domain.
async fn update(
    call: &Call,
    details: impl Fn(
        &ProviderDomain,
        &[Versioned<ProviderFunction>],
    ) -> Result<ApiProviderEnrolmentDetails, Refusal>,
) -> Result<http::Response<capif_transport::Body>, ApiError> {
    let answer = change(call, "", || {
        let (domain, functions) = own_domain(call)?;
        let is_restricted = is_restricted(call, &functions)?;
        let details = details(&domain.record, &functions)?;
        let before = Before::Domain(&domain, &functions);
        let plan = plan(call, details, before, domain.record.id.clone())?;
        if is_restricted && !plan.renews_alone(&call.caller.function()?.id) {
            return Err(Refusal::RenewalRequired.into());
        }
        Ok((domain, functions, plan))
    })
    .await?;
    let told = json_answer(StatusCode::OK, &answer.details)?;
    Ok(preference::whole_if(answer.tells, told))
}

/// Decides on a domain as it is, and decides anew when it moved meanwhile. Functions that go are cut off.
async fn change(
    call: &Call,
    detail: &str,
    decide: impl Fn() -> Result<(Arc<Versioned<ProviderDomain>>, Functions, Plan), ApiError>,
) -> Result<Changed, ApiError> {
    let core = &call.core;
    let mut attempts = 0;
    let (functions, answer) = loop {
        let (domain, functions, plan) = decide()?;
        let id = domain.record.id.as_str();
        if attempts == 0 {
            let wanted = u32::try_from(plan.orders().count()).unwrap_or(u32::MAX);
            let counted = core.issues.count(id, wanted, OF_DOMAIN, call.now.0);
            counted.map_err(ApiError::CertificatesExhausted)?;
        }
        let certificates = certify(core, call, &plan).await?;
        let (changes, answer) = {
            let records = core.view.read();
            let overlap = core.config.renewal.overlap();
            plan.complete(certificates, records.around_functions(), overlap, &call.now)?
        };
        attempts += 1;
        match core.commit(&call.act(id).detail(detail), changes).await {
            Ok(()) => break (functions, answer),
            // Something was published meanwhile: decided anew.
            Err(ApiError::Busy) if attempts < ATTEMPTS_MAX => {}
            Err(error) => return Err(error),
        }
    };
    let kept: Vec<&str> = answer
        .api_prov_funcs
        .iter()
        .flatten()
        .filter_map(|function| function.api_prov_func_id.as_ref())
        .map(ApiProviderFunctionId::as_str)
        .collect();
    for function in &functions {
        let id = function.record.id.as_str();
        if !kept.contains(&id) {
            core.close_connections_of(id, Some(&call.connection));
        }
    }
    Ok(Changed {
        tells: tells(&answer, &functions),
        details: answer,
    })
}

/// What an update answers.
struct Changed {
    details: ApiProviderEnrolmentDetails,
    /// Whether it tells what nothing else will.
    tells: bool,
}

/// Whether an answer holds a certificate that is not in use, or says what was not done.
fn tells(answer: &ApiProviderEnrolmentDetails, before: &Functions) -> bool {
    let in_use = |certificate: &String| {
        let pem = Pem::new(certificate);
        let mut held = before.iter().map(|held| &held.record.certificate);
        held.any(|held| held.pem == pem)
    };
    let functions = answer.api_prov_funcs.iter().flatten();
    let mut certificates =
        functions.filter_map(|function| function.reg_info.api_prov_cert.as_ref());
    answer.fail_reason.is_some() || !certificates.all(in_use)
}

/// The functions of a domain as they are.
type Functions = Vec<Versioned<ProviderFunction>>;

/// The caller's own domain; any other id in the path is refused in one way, known or not (P-20).
fn own_domain(call: &Call) -> Result<(Arc<Versioned<ProviderDomain>>, Functions), Refusal> {
    let function = call.caller.function()?;
    if call.parameter(0) != function.domain_id.as_str() {
        return Err(Refusal::NotTheCaller { place: "path" });
    }
    whole_domain(&call.core.view.read(), &function.domain_id)
}

fn whole_domain(
    records: &Records,
    id: &ApiProviderDomainId,
) -> Result<(Arc<Versioned<ProviderDomain>>, Functions), Refusal> {
    let domain = records.domain(id.as_str()).cloned();
    let domain = domain.ok_or(Refusal::NotFound {
        what: "provider domain",
    })?;
    let functions = functions_of(&domain.record, records);
    Ok((domain, functions))
}

/// Whether the caller may do nothing but renew, as things stand now: what it showed may count for less than it did.
fn is_restricted(call: &Call, functions: &[Versioned<ProviderFunction>]) -> Result<bool, Refusal> {
    let shown = call.shown.as_ref().ok_or(Refusal::CertificateRequired)?;
    let id = &call.caller.function()?.id;
    let held = functions.iter().find(|held| held.record.id == *id);
    let of = &held.ok_or(Refusal::CertificateUnknown)?.record;
    match rotation::accepts(&of.certificate, &of.renewal, &shown.fingerprint, &call.now) {
        Standing::No => Err(Refusal::CertificateUnknown),
        standing => Ok(standing == Standing::Restricted),
    }
}

fn functions_of(domain: &ProviderDomain, records: &Records) -> Functions {
    domain
        .functions
        .iter()
        .filter_map(|id| records.function(id.as_str()))
        .map(|held| held.as_ref().clone())
        .collect()
}

fn plan(
    call: &Call,
    details: ApiProviderEnrolmentDetails,
    before: Before<'_>,
    domain_id: ApiProviderDomainId,
) -> Result<Plan, ApiError> {
    let functions = details.api_prov_funcs.iter().flatten();
    for host in functions.clone().flat_map(hosts_of) {
        if call
            .core
            .reserved_hosts
            .iter()
            .any(|reserved| reserved.eq_ignore_ascii_case(host))
        {
            return Err(Refusal::incorrect(
                "/apiProvFuncs",
                format!(
                    "`{host}` is the CAPIF core function's own name: no AEF is certified for it"
                ),
            )
            .into());
        }
    }
    let keys = functions
        .take(registration::FUNCTIONS_MAX.saturating_add(1))
        .map(|function| keys::judge(&function.reg_info.api_prov_pub_key))
        .collect();
    let mut failed: Option<NoRandomness> = None;
    let new_id = |role: Role| match random::id(role.as_str()) {
        Ok(id) => ApiProviderFunctionId::new(id),
        Err(error) => {
            failed = Some(error);
            ApiProviderFunctionId::new(String::new())
        }
    };
    let is_outdated = |held: &Certificate| call.core.authorities.demand(held).is_some();
    let now = &call.now;
    let plan = registration::plan(details, before, domain_id, keys, new_id, &is_outdated, now)?;
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(plan),
    }
}

/// The hosts that a function asks to be certified for, as far as they can be read.
fn hosts_of(
    function: &capif_spec::api_provider_management::ApiProviderFunctionDetails,
) -> impl Iterator<Item = &str> {
    function
        .extra
        .get(registration::HOSTS_MEMBER)
        .and_then(|vendor| vendor.get("hosts"))
        .and_then(|hosts| hosts.as_array())
        .into_iter()
        .flatten()
        .filter_map(|host| host.as_str())
}

async fn certify(core: &Core, call: &Call, plan: &Plan) -> Result<Vec<Certificate>, ApiError> {
    let mut certificates = Vec::new();
    for order in plan.orders() {
        certificates.push(core.authorities.sign(order, call.now.0).await?);
    }
    Ok(certificates)
}
