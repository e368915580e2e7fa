//! Offboarding (S4, TS 33.122 clause 6.8): what goes, where, and what stays.

mod by_key;

use anyhow::ensure;
use capif_client::{Departure, DiscoveryQuery, ErrorKind};
use capif_transport::Connection;
use http::Method;

use super::{
    s3::{TODAY, call, discovery_of, enrolment_of, own_token},
    stage::{Stage, eventually, missing},
    wire::{Key, Wire},
    world::{World, live},
};
use crate::exit::Failure;

/// Connections that stand open while their invoker is offboarded.
struct Open {
    to_gateway: Wire,
    /// Held, so that it is not this side that closes it.
    _to_ccf: Wire,
}

pub(super) async fn play(stage: &mut Stage, world: &mut World) -> Result<(), Failure> {
    stage.chapter("S4: API invokers are offboarded")?;
    let onboarded = async {
        world.unwanted = Some(world.enrol("unwanted").await?);
        world.steady = Some(world.enrol("steady").await?);
        for invoker in [&world.unwanted, &world.steady].into_iter().flatten() {
            call(invoker).await?.with(200)?;
        }
        Ok("both call the API".to_owned())
    };
    stage
        .step(
            "S4",
            "two more invokers are onboarded",
            "TS 33.122 clause 6.8 precondition",
            onboarded,
        )
        .await?;

    let mut open = None;
    let it = &mut open;
    stage
        .step(
            "S4",
            "an invoker offboards itself",
            "TS 33.122 clause 6.8 steps 2 to 4",
            offboard(world, it),
        )
        .await?;
    stage
        .step(
            "S4",
            "the core function tears its sessions down",
            "TS 33.122 clause 6.8 step 6",
            session_gone(world),
        )
        .await?;
    stage
        .step(
            "S4",
            "the AEF hears of it, tears down, and acknowledges",
            "TS 33.122 clause 6.8 steps 7 to 10",
            acknowledged(world),
        )
        .await?;
    stage
        .step(
            "S4",
            "its token is refused, on the old session and on a new one",
            "TS 33.122 clause 6.8 step 8",
            token_refused(world, &open),
        )
        .await?;
    stage
        .step(
            "S4",
            "its certificate is refused everywhere",
            "TS 33.122 clause 6.8 step 3",
            certificate_refused(world),
        )
        .await?;
    stage
        .step(
            "S4",
            "nothing is left under its id",
            "TS 33.122 clause 6.8 step 3",
            nothing_left(world),
        )
        .await?;
    by_key::play(stage, world).await?;

    let app = world.app.take();
    stage
        .step(
            "S4",
            "the library offboards, and erases what it kept",
            "TS 33.122 clause 6.8 step 5",
            erased(world, app),
        )
        .await?;
    let unwanted = world.unwanted.take();
    stage
        .step(
            "S4",
            "the operator offboards one, while it calls",
            "TS 33.122 clause 6.8 steps 3 to 10",
            by_operator(world, unwanted),
        )
        .await?;

    let restart = async {
        world.restart_ccf().await?;
        let steady = world.steady.as_ref().ok_or_else(|| missing("an invoker"))?;
        let seen = steady.discover(&DiscoveryQuery::default()).await?;
        call(steady).await?.with(200)?;
        Ok(format!(
            "{} still sees {} API and calls it",
            steady.id(),
            seen.len()
        ))
    };
    stage
        .step(
            "S4",
            "the core function starts anew, and knows what it acknowledged",
            "TS 33.122 clause 6.8 step 3",
            restart,
        )
        .await?;
    stage
        .step(
            "S4",
            "who was offboarded stays so, and so does a used credential",
            "TS 33.122 clause 6.8 step 3",
            stays_refused(world),
        )
        .await
}

async fn offboard(world: &World, open: &mut Option<Open>) -> anyhow::Result<String> {
    let bare = world.bare()?;
    let to_gateway = world.to_gateway(None)?;
    to_gateway
        .get(TODAY)
        .bearer(own_token(world)?)
        .expect(200)
        .await?;
    ensure!(
        world.at_gateway(&bare.id)? > 0,
        "there is no open connection to the gateway"
    );
    let to_ccf = world.to_ccf(Some(&bare.identity))?;
    to_ccf.get(&discovery_of(&bare.id)).expect(200).await?;
    *open = Some(Open {
        to_gateway,
        _to_ccf: to_ccf,
    });
    let said = world
        .to_ccf(Some(&bare.identity))?
        .ask(Method::DELETE, &enrolment_of(&bare.id))
        .expect(204)
        .await?;
    Ok(format!("DELETE by {}: {}", bare.id, said.status.as_u16()))
}

async fn session_gone(world: &World) -> anyhow::Result<String> {
    let id = &world.bare()?.id;
    let connections = world.ccf()?.connections();
    let own = |connection: &Connection| {
        connection
            .peer
            .certificate()
            .is_some_and(|certificate| certificate.common_name == *id)
    };
    let after = eventually("the end of the sessions", async || {
        Ok(live(connections, own) == 0)
    })
    .await?;
    Ok(format!("no session of it within {} ms", after.as_millis()))
}

async fn acknowledged(world: &World) -> anyhow::Result<String> {
    let after = world.dropped(&world.bare()?.id).await?;
    Ok(format!(
        "API_INVOKER_OFFBOARDED acknowledged, and its connection to the AEF closed, within {} ms",
        after.as_millis()
    ))
}

async fn token_refused(world: &World, open: &Option<Open>) -> anyhow::Result<String> {
    let open = open
        .as_ref()
        .ok_or_else(|| missing("the open connection"))?;
    let count = world.api()?.count();
    let token = own_token(world)?;
    let old = open.to_gateway.get(TODAY).bearer(token).expect(401).await?;
    world
        .to_gateway(None)?
        .get(TODAY)
        .bearer(token)
        .expect(401)
        .await?;
    ensure!(
        world.api()?.count() == count,
        "the API was asked all the same"
    );
    Ok(format!("long before the token ends: {}", old.gist()))
}

async fn certificate_refused(world: &World) -> anyhow::Result<String> {
    let bare = world.bare()?;
    let wire = world.to_ccf(Some(&bare.identity))?;
    wire.get(&discovery_of(&bare.id)).expect(401).await?;
    wire.ask(Method::DELETE, &enrolment_of(&bare.id))
        .expect(401)
        .await?;
    let said = wire
        .post(&format!("/capif-security/v1/securities/{}/token", bare.id))
        .form(&[
            ("grant_type", "client_credentials"),
            ("client_id", &bare.id),
            ("client_secret", bare.secret.expose()),
        ])
        .expect(401)
        .await?;
    world
        .to_gateway(Some(&bare.identity))?
        .get(TODAY)
        .expect(401)
        .await?;
    Ok(format!(
        "discovery, offboarding, token, and calls: {}",
        said.gist()
    ))
}

async fn nothing_left(world: &World) -> anyhow::Result<String> {
    let id = &world.bare()?.id;
    let aef = &world.gateway()?.aef_id().to_string();
    for what in ["invokers", "contexts", "events"] {
        let rows = serde_json::to_string(&world.listed(what).await?)?;
        ensure!(!rows.contains(id), "it is still listed among {what}");
    }
    let asked = world.rival().map(|rival| rival.aef.clone())?;
    let path = format!("{}?authenticationInfo=true", super::s3::context_of(id));
    world.to_ccf(Some(&asked))?.get(&path).expect(404).await?;
    Ok(format!(
        "no profile, context, subscription or notification; what {aef} reported of its calls stays the provider's"
    ))
}

async fn erased(world: &World, app: Option<capif_client::Invoker>) -> anyhow::Result<String> {
    let app = app.ok_or_else(|| missing("the invoker that uses the library"))?;
    let folder = world.invoker_folder("app");
    ensure!(folder.exists(), "there is no folder");
    let departure = app.offboard().await?;
    ensure!(departure == Departure::Confirmed, "it was not confirmed");
    ensure!(!folder.exists(), "the folder is still there");
    Ok("key, certificate, Onboard_Secret, tokens and folder are gone".to_owned())
}

async fn by_operator(
    world: &World,
    unwanted: Option<capif_client::Invoker>,
) -> anyhow::Result<String> {
    let unwanted = unwanted.ok_or_else(|| missing("the invoker"))?;
    call(&unwanted).await?.with(200)?;
    world
        .operator()
        .delete("invokers", unwanted.id().as_str())
        .await?;
    let after = eventually("the refusal", async || {
        // With what the invoker has at hand, nothing is asked anew.
        match call(&unwanted).await {
            Ok(said) => Ok(said.status == 401),
            Err(_) => Ok(true),
        }
    })
    .await?;
    let error = unwanted.discover(&DiscoveryQuery::default()).await.err();
    let kind = error.map(|error| error.kind());
    ensure!(
        kind == Some(ErrorKind::Authentication),
        "the core function says {kind:?}"
    );
    ensure!(
        unwanted.offboard().await? == Departure::KnownNoMore,
        "it is known still"
    );
    Ok(format!(
        "its calls fail {} ms later; told so, the library clears its folder",
        after.as_millis()
    ))
}

async fn stays_refused(world: &World) -> anyhow::Result<String> {
    let bare = world.bare()?;
    world
        .to_ccf(Some(&bare.identity))?
        .get(&discovery_of(&bare.id))
        .expect(401)
        .await?;
    world
        .to_gateway(None)?
        .get(TODAY)
        .bearer(own_token(world)?)
        .expect(401)
        .await?;
    let used = world
        .used
        .as_ref()
        .ok_or_else(|| missing("the used credential"))?;
    let said = world
        .to_ccf(None)?
        .onboarding(&Key::generate()?.request()?, Some(used.expose()))
        .expect(401)
        .await?;
    Ok(format!(
        "certificate, token and credential: {}",
        said.gist()
    ))
}
