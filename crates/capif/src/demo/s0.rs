//! Renewal without offboarding (S0): from either side, interrupted, and of the authority itself.

mod authority;
mod from_core;
mod from_invoker;

use capif_client::Invoker;

use super::{
    s3::{TODAY, call},
    stage::{Stage, missing},
    world::{Rival, World},
};
use crate::exit::Failure;

pub(super) async fn play(stage: &mut Stage, world: &mut World) -> Result<(), Failure> {
    stage.chapter("S0: security information is renewed without offboarding")?;
    let rival = world.rival.take();
    stage
        .step(
            "S0",
            "the operator removes the provider that nobody reaches, with all that waits for it",
            "TS 29.222 clause 5.11.2.4",
            removed(world, rival),
        )
        .await?;
    from_invoker::play(stage, world).await?;
    from_core::play(stage, world).await?;
    authority::play(stage, world).await
}

async fn removed(world: &World, rival: Option<Rival>) -> anyhow::Result<String> {
    let rival = rival.ok_or_else(|| missing("the other provider"))?;
    world
        .operator()
        .delete("providers", &rival.domain_id)
        .await?;
    world
        .to_ccf(Some(&rival.amf))?
        .get(&format!("/capif-renewal/v1/{}", rival.aef_id))
        .expect(401)
        .await?;
    Ok(format!(
        "{} and its functions are known no more",
        rival.domain_id
    ))
}

/// The certificate that an invoker of the library holds now.
fn certificate_of(invoker: &Invoker) -> anyhow::Result<String> {
    let details = invoker.details();
    let certificate = details
        .onboarding_information
        .api_invoker_certificate
        .clone();
    certificate.ok_or_else(|| missing("the certificate"))
}

/// The certificate with which the gateway serves.
async fn shown(world: &World) -> anyhow::Result<String> {
    let identity = world.provider().await?.aef_identity();
    Ok(identity.fingerprint().to_string())
}
