//! The session of an onboarding ends with its answer (TS 33.122 annex B.1).

use capif_transport::{Connection, Peer};

use crate::demo::{
    stage::eventually,
    wire::Key,
    world::{FORECAST, World, live},
};

pub(super) async fn torn_down_after_bad(world: &World) -> anyhow::Result<String> {
    // The client would keep the connection: it is the core function that ends it.
    let wire = world.to_ccf(None)?;
    wire.onboarding("key", Some("hunter2")).expect(401).await?;
    no_session(world).await
}

pub(super) async fn torn_down_after_good(world: &World) -> anyhow::Result<String> {
    let parts = world.invite(&[FORECAST], 15).await?;
    let wire = world.to_ccf(None)?;
    let id = wire
        .onboarding(
            &Key::generate()?.request()?,
            Some(parts.credential.expose()),
        )
        .expect(201)
        .await?
        .text("/apiInvokerId")?;
    let detail = no_session(world).await?;
    // It has played its part.
    world.operator().delete("invokers", &id).await?;
    Ok(detail)
}

async fn no_session(world: &World) -> anyhow::Result<String> {
    let connections = world.ccf()?.connections();
    let anonymous = |connection: &Connection| matches!(connection.peer, Peer::Anonymous);
    let after = eventually("the end of the session", async || {
        Ok(live(connections, anonymous) == 0)
    })
    .await?;
    Ok(format!(
        "the core function closed it within {} ms",
        after.as_millis()
    ))
}
