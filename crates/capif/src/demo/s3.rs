//! CAPIF-1e, the choice of the security method, invocation, and the change of the method (S3, TS 33.122 clauses 6.3, 6.5 and 6.7).

pub(super) mod negotiation;

mod tokens;

mod calls;

pub(super) mod psk;

mod method_change;

use capif_client::Invoker;
use capif_spec::publish_service::SecurityMethod;
use capif_transport::empty;
use http::Request;

use super::{
    stage::{Stage, missing},
    wire::Said,
    world::{WEATHER, World},
};
use crate::exit::Failure;

/// Every security method.
const ALL: [SecurityMethod; 3] = [
    SecurityMethod::Psk,
    SecurityMethod::Pki,
    SecurityMethod::Oauth,
];

/// What is called.
pub(super) const TODAY: &str = "/weather/v1/today";

pub(super) async fn play(stage: &mut Stage, world: &mut World) -> Result<(), Failure> {
    stage.chapter("S3: mutual TLS, the choice of the security method, and calls")?;
    stage
        .step(
            "S3",
            "no operation without a certificate",
            "TS 33.122 clause 6.3",
            negotiation::no_certificate(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "the id of another invoker is refused the same way, whether it exists or not",
            "TS 33.122 clause 6.3",
            negotiation::other_id(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "discovery shows an invoker the APIs of its enrolment",
            "TS 23.222 clause 8.7",
            negotiation::discovery(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "the core function selects OAUTH for who asks for OAUTH",
            "TS 33.122 clause 6.3",
            negotiation::negotiate_oauth(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "and PKI for who can do both, as the operator prefers it",
            "TS 33.122 clause 6.3",
            negotiation::negotiate_pki(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "without a common method none is selected",
            "TS 29.222 clause 8.5.4.2.3",
            negotiation::nothing_in_common(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "an AEF learns nothing about invokers of other AEFs",
            "TS 29.222 clause 5.6.2.4",
            negotiation::other_aef(world),
        )
        .await?;

    stage
        .step(
            "S3",
            "a wrong Onboard_Secret gets no token",
            "TS 33.122 clause C.3",
            tokens::wrong_secret(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "a scope that was not agreed on gets no token",
            "RFC 6749 section 5.2",
            tokens::wide_scope(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "certificate, id and secret of one invoker get a token",
            "TS 33.122 clause 6.5.2.3",
            tokens::granted(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "the API is called with the token",
            "TS 33.122 clause 6.5.2.3",
            calls::call_with_token(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "the API is called with the certificate, by the library",
            "TS 33.122 clause 6.5.2.2",
            calls::call_with_certificate(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "no credential, no call",
            "TS 33.122 clause 6.5.2.3",
            calls::no_credential(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "an altered token and one for another API are refused",
            "TS 33.122 clause C.2",
            calls::bad_tokens(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "neither credentials nor forged identities reach the API",
            "TS 33.122 clause 6.5.2.3",
            calls::spoofing(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "the invocation log arrives at the core function",
            "TS 23.222 clause 8.19",
            calls::logged(world),
        )
        .await?;
    psk::play(stage, world).await?;
    method_change::play(stage, world).await
}

/// Calls the API by the library.
pub(super) async fn call(invoker: &Invoker) -> anyhow::Result<Said> {
    let request = Request::get(TODAY).body(empty())?;
    Said::of(invoker.call(WEATHER, request).await?).await
}

/// The token of the invoker on the bare wire.
pub(super) fn own_token(world: &World) -> anyhow::Result<&str> {
    let token = world
        .bare()?
        .token
        .as_ref()
        .ok_or_else(|| missing("the access token"))?;
    Ok(token.expose())
}

/// The path of the security context of an invoker.
pub(super) fn context_of(id: &str) -> String {
    format!("/capif-security/v1/trustedInvokers/{id}")
}

/// The path of discovery for an invoker.
pub(super) fn discovery_of(id: &str) -> String {
    format!("/service-apis/v1/allServiceAPIs?api-invoker-id={id}")
}

/// The path of the enrolment of an invoker.
pub(super) fn enrolment_of(id: &str) -> String {
    format!("/api-invoker-management/v1/onboardedInvokers/{id}")
}
