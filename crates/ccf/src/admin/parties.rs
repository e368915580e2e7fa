//! Who may come and who must go: providers are admitted and removed, API invokers invited and offboarded.

use std::collections::BTreeSet;

use capif_procedures::{
    changes::Changes,
    offboarding,
    refusal::Refusal,
    registration as domain,
    state::{ApiReach, DepartureReason},
};
use capif_spec::common::{ApiProviderDomainId, DateTime, Redacted};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::operations::{Operation, answer_with, done};
use crate::{
    api::{handed_over, problem::ApiError, registration},
    audit::Act,
    core::Core,
    credential::{self, Purpose},
};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::post(
        "/providers",
        "admits a provider domain: the parts of its bundle",
        |call| {
            answer_with(StatusCode::CREATED, async move {
                add_provider(&call.core, call.json()?).await
            })
        },
    )
    .body(&[
        ("name", "the name by which the operator knows it"),
        (
            "reusable",
            "whether the domain may register again with the same bundle",
        ),
        (
            "days",
            "how long a reusable bundle may be used, 90 if absent",
        ),
    ]),
    Operation::post(
        "/providers/{apiProvDomId}/bundle",
        "makes a reusable bundle of a registered provider domain, in the place of the one before",
        |call| {
            answer_with(StatusCode::CREATED, async move {
                rebind(&call.core, call.parameter(0), call.json()?).await
            })
        },
    )
    .body(&[("days", "how long it may be used, 90 if absent")]),
    Operation::delete(
        "/providers/{apiProvDomId}/bundle",
        "takes the reusable bundle of a provider domain away; the domain stays",
        |call| done(async move { unbind(&call.core, call.parameter(0)).await }),
    ),
    Operation::delete(
        "/providers/{apiProvDomId}",
        "removes a provider domain with its functions and what it published",
        |call| {
            done(async move {
                let id = call.parameter(0);
                let act = Act::by_operator("RemoveProvider", id);
                registration::remove(&call.core, &act, &ApiProviderDomainId::new(id), None).await
            })
        },
    ),
    Operation::post(
        "/invites",
        "invites an API invoker: the parts of its enrolment code",
        |call| {
            answer_with(StatusCode::CREATED, async move {
                invite(&call.core, call.json()?).await
            })
        },
    )
    .body(&[
        (
            "apis",
            "the names of the APIs that it may use; all if absent",
        ),
        ("minutes", "how long the credential may be used"),
        (
            "approval",
            "whether the operator approves who comes with it; as configured if absent",
        ),
    ]),
    Operation::post(
        "/credentials",
        "takes an onboarding credential that somebody else hands over",
        |call| {
            answer_with(StatusCode::CREATED, async move {
                let act = Act::by_operator("HandOverCredential", "");
                handed_over::take(&call.core, &act, call.json()?, None).await
            })
        },
    )
    .body(&[
        ("token", "the token as the invoker will present it"),
        ("tokenSha256", "or its SHA-256 as hexadecimal digits"),
        ("expires", "until when it may be used, within 30 days"),
        ("apis", "the names of the APIs that it opens; all if absent"),
        (
            "approval",
            "whether the operator approves who comes with it",
        ),
    ]),
    Operation::delete(
        "/invokers/{apiInvokerId}",
        "offboards an API invoker",
        |call| {
            done(async move {
                let id = call.parameter(0);
                offboard(&call.core, &Act::by_operator("Offboard", id), id).await
            })
        },
    ),
];

/// Admits a provider domain.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewProvider {
    /// The name by which the operator knows it.
    pub name: String,
    /// Whether the domain may register again with the same bundle.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reusable: bool,
    /// How long a reusable bundle may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
}

/// Asks for a reusable bundle of a domain that is registered.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewBundle {
    /// How long it may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
}

/// A bundle of a domain that is registered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DomainBundle {
    /// The name of the domain.
    pub name: String,
    /// The parts of the bundle.
    pub parts: EnrolmentParts,
}

/// How long a reusable bundle may be used if nothing is said, in days.
const BUNDLE_DAYS: u32 = 90;

/// The longest that it may be used, in days.
const BUNDLE_DAYS_MAX: u32 = 366;

/// Invites an API invoker.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewInvite {
    /// The APIs that it may use; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apis: Option<BTreeSet<String>>,
    /// How long the credential may be used, in minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<u32>,
    /// Whether the operator approves who comes with it.
    #[serde(default)]
    pub approval: bool,
}

/// What someone needs to enrol: the three parts of TS 33.122 clause 6.1 step 1.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrolmentParts {
    /// Host and port of the CCF.
    pub address: String,
    /// The root CA certificate as PEM.
    pub ca_pem: String,
    /// The credential.
    pub credential: Redacted,
    /// When the credential ends.
    pub expires: DateTime,
}

async fn add_provider(core: &Core, provider: NewProvider) -> Result<EnrolmentParts, ApiError> {
    let name = provider.name.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return Err(Refusal::incorrect(
            "/name",
            "a provider's name has 1 to 64 letters, digits, `-`, `_` or `.`",
        )
        .into());
    }
    let now = core.now();
    if !provider.reusable && provider.days.is_some() {
        return Err(Refusal::incorrect(
            "/days",
            "`days` is about reusable bundles: set `reusable`, or leave `days` out",
        )
        .into());
    }
    let life = if provider.reusable {
        bundle_life(provider.days)?
    } else {
        let hours = i64::from(core.config.onboarding.registration_hours);
        hours.saturating_mul(3600)
    };
    let reusable = provider.reusable;
    let credential = core.credentials.registration(name, reusable, life, &now)?;
    let mut act = Act::by_operator("AddProvider", name);
    if reusable {
        act = act.detail(format!("reusable for {} days", life / DAY_SECONDS));
    }
    core.commit(&act, Changes::new()).await?;
    Ok(parts(core, credential, life))
}

const DAY_SECONDS: i64 = 86_400;

/// How long a reusable bundle may be used, in seconds.
fn bundle_life(days: Option<u32>) -> Result<i64, Refusal> {
    let days = days.unwrap_or(BUNDLE_DAYS);
    if !(1..=BUNDLE_DAYS_MAX).contains(&days) {
        let reason = format!("`days` is from 1 to {BUNDLE_DAYS_MAX}");
        return Err(Refusal::incorrect("/days", reason));
    }
    Ok(i64::from(days).saturating_mul(DAY_SECONDS))
}

const NO_DOMAIN: Refusal = Refusal::NotFound {
    what: "provider domain",
};

/// Makes out a reusable bundle for a domain that is there: when it is lost or ends, or for one that came without.
async fn rebind(core: &Core, id: &str, wanted: NewBundle) -> Result<DomainBundle, ApiError> {
    let now = core.now();
    let life = bundle_life(wanted.days)?;
    let name = {
        let records = core.view.read();
        records.domain(id).ok_or(NO_DOMAIN)?.record.name.clone()
    };
    let credential = core.credentials.registration(&name, true, life, &now)?;
    let purpose = Purpose::Registration;
    let verified = credential::verify(&core.verifiers, credential.expose(), purpose, &now).await?;
    let act = Act::by_operator("BindBundle", id);
    let act = act.detail(format!("reusable for {} days", life / DAY_SECONDS));
    core.transact(&act, |records| {
        let domain = records.domain(id).ok_or(NO_DOMAIN)?;
        Ok((domain::bind(domain, &verified.credential), ()))
    })
    .await?;
    Ok(DomainBundle {
        name,
        parts: parts(core, credential, life),
    })
}

/// Takes it away.
async fn unbind(core: &Core, id: &str) -> Result<(), ApiError> {
    core.transact(&Act::by_operator("UnbindBundle", id), |records| {
        let domain = records.domain(id).ok_or(NO_DOMAIN)?;
        let changes = domain::unbind(domain).ok_or(Refusal::NotFound {
            what: "reusable bundle of this provider domain",
        })?;
        Ok((changes, ()))
    })
    .await
}

async fn invite(core: &Core, invite: NewInvite) -> Result<EnrolmentParts, ApiError> {
    if invite.apis.as_ref().is_some_and(BTreeSet::is_empty) {
        return Err(
            Refusal::incorrect("/apis", "name at least one API, or leave `apis` out").into(),
        );
    }
    let minutes = invite
        .minutes
        .unwrap_or(core.config.onboarding.credential_minutes);
    if !(1..=43_200).contains(&minutes) {
        return Err(Refusal::incorrect("/minutes", "`minutes` is from 1 to 43200").into());
    }
    let life = i64::from(minutes).saturating_mul(60);
    let reach = reach(core, invite.apis);
    let act = Act::by_operator("Invite", "").detail(match &reach.api_names {
        Some(names) => format!(
            "for {minutes} minutes, APIs: {}",
            names
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", ")
        ),
        None => format!("for {minutes} minutes, all APIs"),
    });
    let credential = core
        .credentials
        .onboarding(reach, invite.approval, life, &core.now())?;
    core.commit(&act, Changes::new()).await?;
    Ok(parts(core, credential, life))
}

/// What an invitation for these APIs reaches: when one provider alone publishes them now, that provider's only. Names are the
/// providers' own choice, and another one that takes the same later is not meant.
fn reach(core: &Core, apis: Option<BTreeSet<String>>) -> ApiReach {
    let records = core.view.read();
    let of_name = |name: &String| -> BTreeSet<ApiProviderDomainId> {
        records
            .apis()
            .filter(|api| api.description.api_name == *name)
            .map(|api| api.domain_id.clone())
            .collect()
    };
    let mut domains = apis.iter().flatten().map(of_name);
    let first = domains.next().unwrap_or_default();
    let one = first.len() == 1 && domains.all(|others| others == first);
    ApiReach {
        domain: first.into_iter().next().filter(|_| one),
        api_names: apis,
    }
}

fn parts(core: &Core, credential: Redacted, life_seconds: i64) -> EnrolmentParts {
    let expires = core.clock.now() + time::Duration::seconds(life_seconds);
    EnrolmentParts {
        address: core.config.address(),
        ca_pem: core.authorities.root_pem(),
        credential,
        expires: DateTime(expires),
    }
}

/// The operator's way to TS 33.122 clause 6.8 steps 3 to 10.
pub(super) async fn offboard(core: &Core, act: &Act, id: &str) -> Result<(), ApiError> {
    let now = core.now();
    core.transact(act, |records| {
        let invoker = records.invoker(id).ok_or(Refusal::NotFound {
            what: "API invoker",
        })?;
        let leave = core.leave(DepartureReason::Operator);
        let around = records.around(id);
        Ok((offboarding::offboard(invoker, around, leave, &now), ()))
    })
    .await?;
    core.close_connections_of(id, None);
    Ok(())
}
