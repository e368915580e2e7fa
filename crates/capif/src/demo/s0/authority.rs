//! The authority itself: another root takes over while everyone goes on, another key signs the tokens, and the trail of it all.

use anyhow::ensure;
use capif_ccf::admin::{Authorities, Roll};
use capif_client::DiscoveryQuery;
use capif_transport::ClientError;
use serde_json::Value;

use super::{call, shown};
use crate::{
    audit,
    demo::{
        stage::{Stage, eventually, missing},
        world::World,
    },
    exit::Failure,
};

/// How long both roots count.
const OVERLAP: time::Duration = time::Duration::days(7);

pub(super) async fn play(stage: &mut Stage, world: &mut World) -> Result<(), Failure> {
    let mut before = String::new();
    let it = &mut before;
    stage
        .step(
            "S0",
            "another root takes over: who knows only the old one and who knows only the new one are both served",
            "TS 33.310 clause 5.2.5",
            rolled(world, it),
        )
        .await?;
    stage
        .step(
            "S0",
            "after the overlap the old root counts nowhere, and who followed goes on",
            "TS 33.310 clause 5.2.5",
            retired(world, &before),
        )
        .await?;
    stage
        .step(
            "S0",
            "the audit trail tells every act, and is whole",
            "S0",
            audited(world),
        )
        .await
}

async fn authorities(world: &World) -> anyhow::Result<Authorities> {
    Ok(world.operator().get("/authority").await?)
}

async fn rolled(world: &World, before_it: &mut String) -> anyhow::Result<String> {
    let steady = world.steady.as_ref().ok_or_else(|| missing("an invoker"))?;
    call(steady).await?.with(200)?;
    *before_it = shown(world).await?;
    // A gateway renews once a minute at most.
    world.pass(time::Duration::minutes(2));
    let roll = Roll {
        root: true,
        overlap_seconds: OVERLAP.whole_seconds().unsigned_abs(),
    };
    let _answer: Value = world.operator().post("/authority/roll", &roll).await?;
    let of = authorities(world).await?;
    let [.., before, now] = of.generations.as_slice() else {
        anyhow::bail!("there is one authority only");
    };
    ensure!(
        now.root_fingerprint != before.root_fingerprint,
        "the root is the old one"
    );
    // With the root of the beginning, and with what is handed out now.
    world
        .to_ccf(None)?
        .get("/.well-known/jwks.json")
        .expect(200)
        .await?;
    let newcomer = world.enrol("newcomer").await?;
    call(&newcomer).await?.with(200)?;
    call(steady).await?.with(200)?;
    Ok(format!(
        "authority {} follows {}; no handshake failed",
        now.number, before.number
    ))
}

async fn retired(world: &World, before: &str) -> anyhow::Result<String> {
    let steady = world.steady.as_ref().ok_or_else(|| missing("an invoker"))?;
    // Everyone who asks how it stands follows within the overlap.
    steady.ask_renewal_status().await?;
    steady.upkeep().await?;
    eventually("the gateway's new certificate", async || {
        Ok(shown(world).await? != before)
    })
    .await?;
    world.pass(OVERLAP + time::Duration::SECOND);
    eventually("the end of the old authority", async || {
        let of = authorities(world).await?;
        let mut rows = of.generations.iter().rev().skip(1);
        Ok(rows.all(|row| row.state == "retired"))
    })
    .await?;
    eventually(
        "the refusal of who believes the old root alone",
        async || {
            let answer = world
                .to_ccf(None)?
                .get("/.well-known/jwks.json")
                .send()
                .await?;
            Ok(matches!(answer, Err(ClientError::Tls(_))))
        },
    )
    .await?;
    call(steady).await?.with(200)?;
    steady.discover(&DiscoveryQuery::default()).await?;
    Ok("the old root ends no chain any more; the invoker and the gateway go on".to_owned())
}

async fn audited(world: &World) -> anyhow::Result<String> {
    let verified = audit::verify_served(&world.operator(), &[])
        .await?
        .map_err(|broken| anyhow::anyhow!("it is broken at {broken}"))?;
    ensure!(verified.records > 0, "it is empty");
    Ok(format!(
        "{} records, each chained to the one before",
        verified.records
    ))
}
