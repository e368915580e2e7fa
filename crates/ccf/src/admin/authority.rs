//! The operator's hand on the authority and on the keys of access tokens: what is there, and the next one.

use capif_procedures::{
    authority::{self, NotNow},
    refusal::Refusal,
    state::{Generation, GenerationState},
    token_keys::{self, NotYet},
};
use capif_spec::common::DateTime;
use serde::{Deserialize, Serialize};
use time::Duration;

use super::operations::{Operation, answer};
use crate::{
    api::problem::ApiError, audit::Act, authority::AuthorityError, core::Core,
    tasks::authority as task,
};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::get(
        "/authority",
        "the authorities: which one signs, which ones count, and until when",
        |call| answer(async move { Ok(authorities(&call.core)) }),
    ),
    Operation::post("/authority/roll", "lets another authority follow", |call| {
        answer(async move { roll(&call.core, call.json()?).await })
    })
    .body(&[
        ("root", "whether a new root begins too"),
        (
            "overlapSeconds",
            "for how long the one before counts beside it",
        ),
    ]),
    Operation::post(
        "/authority/retire",
        "ends the overlap of two authorities now",
        |call| answer(async move { retire(&call.core).await }),
    ),
    Operation::get("/keys", "the keys that sign access tokens", |call| {
        answer(async move { Ok(token_keys(&call.core)) })
    }),
    Operation::post(
        "/keys/rotate",
        "lets another key sign access tokens",
        |call| answer(async move { rotate(&call.core, call.json()?).await }),
    )
    .body(&[(
        "compromise",
        "whether those before end at once, with all that they signed",
    )]),
];

/// Lets another authority follow.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Roll {
    /// Whether a new root begins too.
    #[serde(default)]
    pub root: bool,
    /// For how long the one before counts beside it.
    pub overlap_seconds: u64,
}

/// The authorities of a core function.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorities {
    /// In the order in which they follow one another.
    pub generations: Vec<GenerationStatus>,
    /// The core function's own certificate: when it ends.
    pub own_certificate_expires: DateTime,
}

/// One issuing authority with its root.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerationStatus {
    /// Its number.
    pub number: u32,
    /// `current`, `overlapping` or `retired`.
    pub state: String,
    /// Until when an overlapping one counts, or since when a retired one does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime>,
    /// Since when it is there.
    pub created: DateTime,
    /// When the issuing authority ends.
    pub expires: DateTime,
    /// When the root ends.
    pub root_expires: DateTime,
    /// SHA-256 of the root certificate: what enrolment codes carry.
    pub root_fingerprint: String,
    /// How many certificates that are in use are of this generation.
    pub certificates: usize,
    /// What is worth a warning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Lets another key sign access tokens.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// Whether the ones before may be in other hands: then they and what they signed end at once.
    #[serde(default)]
    pub compromise: bool,
}

/// One key of access tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenKeyStatus {
    /// Its name.
    pub kid: String,
    /// `ahead`, `signing` or `retiring`; `idle` while the key of the server certificate signs in its place (`compat`).
    pub state: String,
    /// Since when it is handed out.
    pub published: DateTime,
    /// From when on it signs.
    pub signs_from: DateTime,
    /// From when on it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retires: Option<DateTime>,
}

fn authorities(core: &Core) -> Authorities {
    let now = core.now();
    let succession = core.authorities.succession();
    Authorities {
        generations: succession
            .all()
            .map(|generation| status(core, generation, &now))
            .collect(),
        own_certificate_expires: core.presence.own().certificate.not_after.clone(),
    }
}

fn status(core: &Core, generation: &Generation, now: &DateTime) -> GenerationStatus {
    let retired = core.authorities.is_retired(generation.number, now);
    let (state, at) = match &generation.state {
        GenerationState::Current => ("current", None),
        GenerationState::Overlapping { until } if !retired => ("overlapping", Some(until.clone())),
        GenerationState::Overlapping { until: at } | GenerationState::Retired { since: at } => {
            ("retired", Some(at.clone()))
        }
    };
    let records = core.view.read();
    let invokers = records.invokers().map(|invoker| &invoker.certificate);
    let functions = records
        .domains()
        .flat_map(|domain| &domain.functions)
        .filter_map(|id| records.function(id.as_str()))
        .map(|held| &held.record.certificate);
    GenerationStatus {
        number: generation.number,
        state: state.to_owned(),
        at,
        created: generation.created.clone(),
        expires: generation.not_after.clone(),
        root_expires: generation.root_not_after.clone(),
        root_fingerprint: crate::authority::fingerprint(&generation.root).unwrap_or_default(),
        certificates: invokers
            .chain(functions)
            .filter(|certificate| certificate.authority == generation.number)
            .count(),
        warnings: task::warnings(generation, now),
    }
}

/// Lets another authority follow. When this is answered, it signs and is shown.
async fn roll(core: &Core, roll: Roll) -> Result<Authorities, ApiError> {
    is_ours(core)?;
    let overlap = i64::try_from(roll.overlap_seconds).map_or(Duration::MAX, Duration::seconds);
    let _turn = core.authorities.turn().await;
    let now = core.now();
    // Before any key is made.
    authority::may_roll(&core.authorities.succession(), overlap, &now).map_err(not_now)?;
    let next = core
        .authorities
        .make_next(roll.root, now.0)
        .await
        .map_err(|error| match error {
            AuthorityError::RootKeyAway(_) => Refusal::incorrect("/", error.to_string()).into(),
            other => ApiError::from(other),
        })?;
    let what = if roll.root {
        "root and issuing authority"
    } else {
        "issuing authority"
    };
    let act = Act::by_operator("RollAuthority", next.number.to_string())
        .detail(format!("{what}, overlap {} s", overlap.whole_seconds()));
    core.transact(&act, |records| {
        let succession = core.authorities.succession();
        authority::roll(
            &succession,
            next.clone(),
            overlap,
            records.subscriptions(),
            &now,
        )
        .map(|changes| (changes, ()))
        .map_err(not_now)
    })
    .await?;
    core.presence.tend().await?;
    Ok(authorities(core))
}

/// Ends the overlap before its time.
async fn retire(core: &Core) -> Result<Authorities, ApiError> {
    is_ours(core)?;
    let _turn = core.authorities.turn().await;
    let now = core.now();
    let act = Act::by_operator("RetireAuthority", "");
    core.transact(&act, |records| {
        let succession = core.authorities.succession();
        authority::retire(&succession, records.subscriptions(), &now)
            .map(|changes| (changes, ()))
            .map_err(not_now)
    })
    .await?;
    core.presence.tend().await?;
    Ok(authorities(core))
}

fn is_ours(core: &Core) -> Result<(), Refusal> {
    if core.authorities.is_outside() {
        return Err(Refusal::incorrect(
            "/",
            "certificates are signed elsewhere, by the hook of `[authority]`: let another authority follow there",
        ));
    }
    Ok(())
}

fn not_now(reason: NotNow) -> Refusal {
    let pointer = match &reason {
        NotNow::TooLong => "/overlapSeconds",
        NotNow::Overlapping { .. } | NotNow::Alone | NotNow::TooMany { .. } | NotNow::None => "/",
    };
    Refusal::incorrect(pointer, reason.to_string())
}

fn token_keys(core: &Core) -> Vec<TokenKeyStatus> {
    let now = core.now();
    let ring = core.access_tokens.ring();
    let tls_key = core.access_tokens.tls_key().map(|key| TokenKeyStatus {
        kid: key.kid(),
        state: "signing".to_owned(),
        published: key.made(),
        signs_from: key.made(),
        retires: None,
    });
    let signing = ring.signing(&now).map(|key| key.kid.clone());
    ring.published(&now)
        .map(|key| TokenKeyStatus {
            kid: key.kid.clone(),
            state: if Some(&key.kid) == signing.as_ref() {
                tls_key.as_ref().map_or("signing", |_| "idle")
            } else if key.signs_from > now {
                "ahead"
            } else {
                "retiring"
            }
            .to_owned(),
            published: key.published.clone(),
            signs_from: key.signs_from.clone(),
            retires: key.retires.clone(),
        })
        .chain(tls_key.clone())
        .collect()
}

/// Lets another key sign access tokens.
async fn rotate(core: &Core, rotate: Rotate) -> Result<Vec<TokenKeyStatus>, ApiError> {
    let now = core.now();
    let timing = core.config.security.token_timing();
    let key = core.access_tokens.make()?;
    let mut newest = key.kid.clone();
    if let Some(tls_key) = core.access_tokens.tls_key() {
        if !rotate.compromise {
            return Err(not_in_turn().into());
        }
        tls_key.replace(core.authorities.dir(), core.authorities.custody())?;
        newest = tls_key.kid();
    }
    let how = if rotate.compromise {
        "those before are compromised"
    } else {
        "in turn"
    };
    let act = Act::by_operator("RotateTokenKey", newest).detail(how);
    core.transact(&act, |records| {
        let ring = core.access_tokens.ring();
        let (key, subscriptions) = (key.clone(), records.subscriptions());
        let changes = if rotate.compromise {
            token_keys::replace(&ring, key, subscriptions, &now)
        } else {
            token_keys::rotate(&ring, key, timing, subscriptions, &now).map_err(not_yet)?
        };
        Ok((changes, ()))
    })
    .await?;
    task::forget_file(core, &core.access_tokens);
    core.presence.tend().await?;
    Ok(token_keys(core))
}

fn not_in_turn() -> Refusal {
    Refusal::incorrect(
        "/compromise",
        "the key of the server certificate signs access tokens, since deployed AEFs know no other and fetch it once: it is replaced \
         in a compromise alone",
    )
}

fn not_yet(reason: NotYet) -> Refusal {
    Refusal::incorrect("/", reason.to_string())
}
