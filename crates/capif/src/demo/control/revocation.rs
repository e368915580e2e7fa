//! The operator takes an authorization away, and gives it back (TS 23.222 clause 8.23).

use anyhow::{bail, ensure};
use capif_ccf::admin::{Permitted, Revoked, Verdict};
use capif_transport::ClientError;
use http::Method;
use serde_json::{Value, json};

use crate::{
    demo::{
        s3::{
            TODAY, call, context_of,
            negotiation::wanted,
            psk::{agree, alert, alert_for_nobody},
        },
        stage::{Stage, missing},
        world::{Keyed, WEATHER, World},
    },
    exit::Failure,
};

pub(super) async fn play(stage: &mut Stage, world: &mut World) -> Result<(), Failure> {
    stage.chapter("Revocation by the operator")?;
    stage
        .step(
            "revocation",
            "it bites on the open connection of the invoker, and on no other",
            "TS 23.222 clause 8.23",
            revoke(world),
        )
        .await?;
    stage
        .step(
            "revocation",
            "the AEF takes a revocation from the core function alone",
            "TS 29.222 clause 6.2.2.3",
            by_nobody_else(world),
        )
        .await?;
    stage
        .step(
            "revocation",
            "the invoker negotiates in vain",
            "TS 29.222 clause 5.6.2.5",
            in_vain(world),
        )
        .await?;
    let keyed = world.keyed.take();
    let permitted = async {
        let keyed = keyed.ok_or_else(|| missing("the invoker with a key"))?;
        let (keyed, detail) = permit(world, keyed).await?;
        world.keyed = Some(keyed);
        Ok(detail)
    };
    stage
        .step(
            "revocation",
            "permitted again, it negotiates a new key and calls; the old one stays dead",
            "TS 23.222 clause 8.23",
            permitted,
        )
        .await
}

/// What the operator says about everything of an invoker.
fn verdict(keyed: &Keyed) -> Verdict {
    Verdict {
        invoker: keyed.bare.id.as_str().into(),
        api: None,
    }
}

async fn revoke(world: &World) -> anyhow::Result<String> {
    let keyed = world.keyed()?;
    let open = world.to_gateway_by_key(&keyed.key)?;
    open.get(TODAY).expect(200).await?;
    let connections = world.at_gateway(&keyed.bare.id)?;
    ensure!(connections == 1, "{connections} connections are open");
    let revoked: Revoked = world
        .operator()
        .post("/revocations", &verdict(keyed))
        .await?;
    ensure!(
        revoked.told.as_slice() == [world.gateway()?.aef_id().clone()],
        "the AEF is not told"
    );
    let after = world.dropped(&keyed.bare.id).await?;
    let count = world.api()?.count();
    let reason = match open.get(TODAY).send().await? {
        Err(ClientError::Tls(reason)) => reason,
        Err(other) => bail!("it failed otherwise: {other}"),
        Ok(said) => bail!("it was answered with {}", said.gist()),
    };
    ensure!(
        reason == alert_for_nobody(world).await?,
        "the alert tells that there was a key: {reason}"
    );
    ensure!(
        world.api()?.count() == count,
        "the API was asked all the same"
    );
    call(world.app()?).await?.with(200)?;
    Ok(format!(
        "{} is told, acknowledges, and has closed it within {} ms; its key opens no other: {reason}; another invoker calls on",
        revoked.told.first().map_or("nobody", |aef| aef.as_str()),
        after.as_millis()
    ))
}

async fn by_nobody_else(world: &World) -> anyhow::Result<String> {
    let (app, bare) = (world.app()?, world.bare()?);
    let revocation = json!({
        "revokeInfo": { "apiInvokerId": app.id(), "apiIds": [WEATHER], "cause": "OTHER_REASON" },
        "supportedFeatures": "0",
    });
    let mut answers = Vec::new();
    let refused = [
        (None, 401),
        (Some(&bare.identity), 403),
        (Some(&world.rival()?.aef), 403),
    ];
    for (identity, status) in refused {
        let said = world
            .to_gateway(identity)?
            .post("/aef-security/v1/revoke-authorization")
            .json(&revocation)
            .expect(status)
            .await?;
        answers.push(said.gist());
    }
    answers.dedup();
    call(app).await?.with(200)?;
    Ok(format!(
        "nobody, an invoker and another AEF: {}",
        answers.join(" / ")
    ))
}

async fn in_vain(world: &World) -> anyhow::Result<String> {
    let keyed = world.keyed()?;
    let aef = world.gateway()?.aef_id().as_str();
    let answer = world
        .to_ccf(Some(&keyed.bare.identity))?
        .ask(Method::PUT, &context_of(&keyed.bare.id))
        .json(&wanted(&[(aef, &["PSK", "PKI", "OAUTH"])]))
        .expect(201)
        .await?
        .json()?;
    let entry = answer.pointer("/securityInfo/0");
    let says = |name: &str| entry.and_then(|entry| entry.get(name));
    ensure!(
        entry.is_some_and(Value::is_object)
            && says("selSecurityMethod").is_none()
            && says("authenticationInfo").is_none(),
        "a method was selected"
    );
    let said = world
        .to_gateway(Some(&keyed.bare.identity))?
        .get(TODAY)
        .answer()
        .await?;
    ensure!(
        said.status.is_client_error(),
        "a call is answered with {}",
        said.gist()
    );
    Ok(format!(
        "all three methods offered, none selected; its certificate: {}",
        said.gist()
    ))
}

async fn permit(world: &World, keyed: Keyed) -> anyhow::Result<(Keyed, String)> {
    let permitted: Permitted = world
        .operator()
        .post("/permissions", &verdict(&keyed))
        .await?;
    ensure!(permitted.lifted, "it was not shut out");
    let agreed = agree(world, &keyed.bare).await?;
    world
        .to_gateway_by_key(&agreed.key)?
        .get(TODAY)
        .expect(200)
        .await?;
    let reason = alert(world, &keyed.key).await?;
    let detail = format!(
        "{}: 200; {}: {reason}",
        agreed.key.identity, keyed.key.identity
    );
    let keyed = Keyed {
        key: agreed.key,
        ..keyed
    };
    Ok((keyed, detail))
}
