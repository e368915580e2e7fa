//! The offboarding of an invoker that calls by a key (TS 33.122 clause 6.8).

use anyhow::ensure;
use http::Method;

use crate::{
    demo::{
        s3::{
            TODAY, call, enrolment_of,
            psk::{alert, alert_for_nobody},
        },
        stage::Stage,
        world::World,
    },
    exit::Failure,
};

pub(super) async fn play(stage: &mut Stage, world: &World) -> Result<(), Failure> {
    stage
        .step(
            "S4",
            "with an invoker that calls by a key goes the connection that it opened",
            "TS 33.122 clause 6.8 step 9",
            torn_down(world),
        )
        .await?;
    stage
        .step(
            "S4",
            "and the key, which is refused like one that never was",
            "TS 33.122 clause 6.8 step 8",
            refused(world),
        )
        .await
}

async fn torn_down(world: &World) -> anyhow::Result<String> {
    let keyed = world.keyed()?;
    let open = world.to_gateway_by_key(&keyed.key)?;
    open.get(TODAY).expect(200).await?;
    ensure!(
        world.at_gateway(&keyed.bare.id)? > 0,
        "there is no open connection to the gateway"
    );
    let said = world
        .to_ccf(Some(&keyed.bare.identity))?
        .ask(Method::DELETE, &enrolment_of(&keyed.bare.id))
        .expect(204)
        .await?;
    let after = world.dropped(&keyed.bare.id).await?;
    let count = world.api()?.count();
    ensure!(
        open.get(TODAY).send().await?.is_err() && world.api()?.count() == count,
        "it was answered on the old session"
    );
    Ok(format!(
        "DELETE by {}: {}; closed and acknowledged within {} ms",
        keyed.bare.id,
        said.status.as_u16(),
        after.as_millis()
    ))
}

async fn refused(world: &World) -> anyhow::Result<String> {
    let keyed = world.keyed()?;
    let reason = alert(world, &keyed.key).await?;
    ensure!(
        reason == alert_for_nobody(world).await?,
        "the alert tells that there was a key: {reason}"
    );
    let steady = world.steady.as_ref();
    if let Some(steady) = steady {
        call(steady).await?.with(200)?;
    }
    Ok(format!(
        "{} ended long before its time: {reason}; others call on",
        keyed.key.identity
    ))
}
