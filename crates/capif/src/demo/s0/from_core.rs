//! The core function begins: the operator asks for a renewal, a life is two thirds over, or something got into other hands.

use anyhow::ensure;
use capif_ccf::admin::{Asked, NewRenewals};
use capif_client::Invoker;
use serde_json::Value;

use super::{call, certificate_of, shown};
use crate::{
    demo::{
        stage::{Stage, eventually, missing},
        world::World,
    },
    exit::Failure,
};

/// A little more than two thirds of the life of a certificate.
const TWO_THIRDS: time::Duration = time::Duration::days(61);

pub(super) async fn play(stage: &mut Stage, world: &mut World) -> Result<(), Failure> {
    let mut invoker = None;
    let it = &mut invoker;
    stage
        .step(
            "S0",
            "the operator asks for a renewal, and the invoker follows",
            "S0",
            asked(world, it),
        )
        .await?;
    let mut shown_before = String::new();
    let it = &mut shown_before;
    stage
        .step(
            "S0",
            "the library renews by itself when two thirds of a life are over",
            "S0",
            by_itself(world, &invoker, it),
        )
        .await?;
    stage
        .step(
            "S0",
            "so does the gateway, for all functions of its domain",
            "S0",
            gateway(world, &invoker, &shown_before),
        )
        .await?;
    stage
        .step(
            "S0",
            "what may be in other hands ends at once, and is replaced",
            "S0",
            compromised(world, &invoker),
        )
        .await
}

fn own(invoker: &Option<Invoker>) -> anyhow::Result<&Invoker> {
    invoker.as_ref().ok_or_else(|| missing("the invoker"))
}

async fn ask(world: &World, invoker: &Invoker, compromise: bool) -> anyhow::Result<Asked> {
    let wanted = NewRenewals {
        ids: vec![invoker.id().to_string()],
        compromise,
        ..NewRenewals::default()
    };
    Ok(world.operator().post("/renewals", &wanted).await?)
}

async fn is_asked(world: &World, invoker: &Invoker) -> anyhow::Result<bool> {
    let rows = world.listed("renewals").await?;
    Ok(rows
        .iter()
        .any(|row| row.get("id").and_then(Value::as_str) == Some(invoker.id().as_str())))
}

async fn asked(world: &World, kept: &mut Option<Invoker>) -> anyhow::Result<String> {
    let invoker = &*kept.insert(world.enrol("renewing").await?);
    call(invoker).await?.with(200)?;
    let before = certificate_of(invoker)?;
    let asked = ask(world, invoker, false).await?;
    ensure!(is_asked(world, invoker).await?, "nothing is listed");
    invoker.ask_renewal_status().await?;
    invoker.upkeep().await?;
    ensure!(
        certificate_of(invoker)? != before,
        "the certificate is the old one"
    );
    ensure!(!is_asked(world, invoker).await?, "it is still listed");
    call(invoker).await?.with(200)?;
    Ok(format!(
        "due by {}, and done; no call was lost",
        asked.deadline
    ))
}

async fn by_itself(
    world: &World,
    invoker: &Option<Invoker>,
    gateway: &mut String,
) -> anyhow::Result<String> {
    *gateway = shown(world).await?;
    let invoker = own(invoker)?;
    let before = certificate_of(invoker)?;
    world.pass(TWO_THIRDS);
    let mut calls = 0;
    let after = eventually("the renewal", async || {
        call(invoker).await?.with(200)?;
        calls += 1;
        Ok(certificate_of(invoker)? != before)
    })
    .await?;
    Ok(format!(
        "beside {calls} calls, none of which failed, within {} ms",
        after.as_millis()
    ))
}

async fn gateway(world: &World, invoker: &Option<Invoker>, before: &str) -> anyhow::Result<String> {
    let invoker = own(invoker)?;
    let after = eventually("the gateway's renewal", async || {
        call(invoker).await?.with(200)?;
        Ok(shown(world).await? != before)
    })
    .await?;
    Ok(format!(
        "within {} ms, without a restart and without a failed call",
        after.as_millis()
    ))
}

async fn compromised(world: &World, invoker: &Option<Invoker>) -> anyhow::Result<String> {
    let invoker = own(invoker)?;
    let before = certificate_of(invoker)?;
    ask(world, invoker, true).await?;
    // The library is told that nothing else is answered, renews, and goes on.
    let after = eventually("the call after the renewal", async || {
        let answered = call(invoker).await.is_ok_and(|said| said.status == 200);
        Ok(answered && certificate_of(invoker)? != before)
    })
    .await?;
    ensure!(!is_asked(world, invoker).await?, "it is still listed");
    Ok(format!(
        "renewed and calling again after {} ms",
        after.as_millis()
    ))
}
