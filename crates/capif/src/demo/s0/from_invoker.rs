//! The invoker begins: it asks for another certificate and another Onboard_Secret over mutual TLS.

use anyhow::{Context, ensure};
use capif_transport::Identity;
use http::Method;
use serde_json::{Value, json};

use super::TODAY;
use crate::{
    demo::{
        s3::{context_of, discovery_of, enrolment_of},
        stage::{Stage, eventually, missing},
        wire::{Key, ONBOARDING, Said},
        world::{Bare, WEATHER, World},
    },
    exit::Failure,
};

/// How long what is replaced still counts, in the core function's default configuration.
const OVERLAP: time::Duration = time::Duration::minutes(60);

/// An invoker on the bare wire, before and after its renewal.
#[derive(Default)]
struct Change {
    before: Option<Bare>,
    after: Option<Bare>,
    key: Option<Key>,
    request: Option<Value>,
}

impl Change {
    fn before(&self) -> anyhow::Result<&Bare> {
        self.before.as_ref().ok_or_else(|| missing("the invoker"))
    }

    fn after(&self) -> anyhow::Result<&Bare> {
        self.after.as_ref().ok_or_else(|| missing("the renewal"))
    }
}

pub(super) async fn play(stage: &mut Stage, world: &mut World) -> Result<(), Failure> {
    let mut change = Change::default();
    let it = &mut change;
    stage
        .step(
            "S0",
            "an invoker says at its onboarding that it can renew",
            "TS 29.222 clause 7.11",
            enrolled(world, it),
        )
        .await?;
    stage
        .step(
            "S0",
            "who has not said so keeps its key",
            "TS 29.222 clause 5.5.2.5.2",
            unrenewable(world),
        )
        .await?;
    stage
        .step(
            "S0",
            "nobody renews for another, and no key without proof that it is held",
            "S0, TS 33.122 clause 6.1 step 4",
            refused(world, &change),
        )
        .await?;
    let it = &mut change;
    stage
        .step(
            "S0",
            "the invoker renews: another key, certificate and Onboard_Secret, the same enrolment",
            "S0",
            renewed(world, it),
        )
        .await?;
    stage
        .step(
            "S0",
            "its answer was lost: the same request gets the same answer",
            "S0",
            repeated(world, &change),
        )
        .await?;
    stage
        .step(
            "S0",
            "old and new work side by side, at the core function and at the AEF",
            "S0",
            side_by_side(world, &change),
        )
        .await?;
    stage
        .step(
            "S0",
            "after the overlap the old ones are refused everywhere",
            "S0",
            retired(world, &change),
        )
        .await
}

async fn enrolled(world: &World, change: &mut Change) -> anyhow::Result<String> {
    let parts = world.invite(&[WEATHER], 15).await?;
    let key = Key::generate()?;
    let details = json!({
        "onboardingInformation": { "apiInvokerPublicKey": key.request()? },
        "notificationDestination": "https://invoker.invalid/",
        "vendorSpecific-capif": { "features": ["renewal"] },
    });
    let said = world
        .to_ccf(None)?
        .post(ONBOARDING)
        .json(&details)
        .bearer(parts.credential.expose())
        .expect(201)
        .await?;
    let agreed = said
        .json()?
        .pointer("/vendorSpecific-capif/features")
        .cloned();
    ensure!(
        agreed == Some(json!(["renewal"])),
        "it was answered with {agreed:?}"
    );
    let bare = Bare::of(&key, &said)?;
    let wish = json!({
        "securityInfo": [{ "aefId": world.gateway()?.aef_id(), "prefSecurityMethods": ["PKI"] }],
        "notificationDestination": "https://invoker.invalid/",
    });
    world
        .to_ccf(Some(&bare.identity))?
        .ask(Method::PUT, &context_of(&bare.id))
        .json(&wish)
        .expect(201)
        .await?;
    world
        .to_gateway(Some(&bare.identity))?
        .get(TODAY)
        .expect(200)
        .await?;
    let ends = said.text("/onboardingInformation/vendorSpecific-capif/secretExpires")?;
    let detail = format!(
        "{} calls the API; its Onboard_Secret ends on {ends}",
        bare.id
    );
    change.before = Some(bare);
    Ok(detail)
}

async fn unrenewable(world: &World) -> anyhow::Result<String> {
    let plain = world.enrol_bare(&[WEATHER]).await?;
    let said = patch(
        world,
        &plain.identity,
        &plain.id,
        &request(&Key::generate()?, "one")?,
    )
    .await?;
    ensure!(
        said.status.is_client_error(),
        "it was answered with {}",
        said.gist()
    );
    Ok(said.gist())
}

async fn refused(world: &World, change: &Change) -> anyhow::Result<String> {
    let own = change.before()?;
    let other = world.enrol_bare(&[WEATHER]).await?;
    let wanted = request(&Key::generate()?, "one")?;
    patch(world, &other.identity, &own.id, &wanted)
        .await?
        .with(403)?;
    let mut spoiled = wanted.clone();
    let place = spoiled.pointer_mut("/onboardingInformation/apiInvokerPublicKey");
    *place.context("there is no key")? = Key::generate()?.spoiled_request()?.into();
    let said = patch(world, &own.identity, &own.id, &spoiled)
        .await?
        .with(400)?;
    Ok(said.gist())
}

async fn renewed(world: &World, change: &mut Change) -> anyhow::Result<String> {
    let before = change.before()?;
    let key = Key::generate()?;
    let wanted = request(&key, "first")?;
    let said = patch(world, &before.identity, &before.id, &wanted)
        .await?
        .with(200)?;
    let after = Bare::of(&key, &said)?;
    ensure!(after.id == before.id, "it is called {} now", after.id);
    ensure!(
        after.secret.expose() != before.secret.expose(),
        "the Onboard_Secret is the old one"
    );
    change.after = Some(after);
    change.key = Some(key);
    change.request = Some(wanted);
    Ok("200 with both, and neither stands in an event".to_owned())
}

async fn repeated(world: &World, change: &Change) -> anyhow::Result<String> {
    let before = change.before()?;
    let wanted = change
        .request
        .as_ref()
        .ok_or_else(|| missing("the renewal"))?;
    let key = change.key.as_ref().ok_or_else(|| missing("the key"))?;
    let again = patch(world, &before.identity, &before.id, wanted)
        .await?
        .with(200)?;
    let again = Bare::of(key, &again)?;
    ensure!(
        again.secret.expose() == change.after()?.secret.expose(),
        "there is another Onboard_Secret"
    );
    // The same name for another request is a mistake and changes nothing.
    let other = request(&Key::generate()?, "first")?;
    let said = patch(world, &before.identity, &before.id, &other).await?;
    ensure!(
        said.status.is_client_error(),
        "it was answered with {}",
        said.gist()
    );
    Ok(format!(
        "the same Onboard_Secret; another key under the same name: {}",
        said.gist()
    ))
}

async fn side_by_side(world: &World, change: &Change) -> anyhow::Result<String> {
    // The first use of what is new begins the overlap.
    for bare in [change.before()?, change.after()?, change.before()?] {
        world
            .to_ccf(Some(&bare.identity))?
            .get(&discovery_of(&bare.id))
            .expect(200)
            .await?;
        world
            .to_gateway(Some(&bare.identity))?
            .get(TODAY)
            .expect(200)
            .await?;
    }
    let (before, after) = (change.before()?, change.after()?);
    token(world, &before.identity, before).await?.with(400)?;
    Ok(format!(
        "discovery and calls with either certificate; the security context of {} is as it was",
        after.id
    ))
}

async fn retired(world: &World, change: &Change) -> anyhow::Result<String> {
    world.pass(OVERLAP + time::Duration::SECOND);
    let (before, after) = (change.before()?, change.after()?);
    let said = world
        .to_ccf(Some(&before.identity))?
        .get(&discovery_of(&before.id))
        .expect(401)
        .await?;
    let refused = eventually("the refusal at the AEF", async || {
        let said = world
            .to_gateway(Some(&before.identity))?
            .get(TODAY)
            .answer()
            .await?;
        Ok(said.status == 401)
    })
    .await?;
    token(world, &after.identity, before).await?.with(401)?;
    world
        .to_gateway(Some(&after.identity))?
        .get(TODAY)
        .expect(200)
        .await?;
    Ok(format!(
        "certificate at once, at the AEF within {} ms, the old secret too: {}",
        refused.as_millis(),
        said.gist()
    ))
}

/// A renewal of this name for a key.
fn request(key: &Key, name: &str) -> anyhow::Result<Value> {
    Ok(json!({
        "onboardingInformation": {
            "apiInvokerPublicKey": key.request()?,
            "vendorSpecific-capif": { "renewal": name },
        },
    }))
}

async fn patch(
    world: &World,
    identity: &Identity,
    id: &str,
    wanted: &Value,
) -> anyhow::Result<Said> {
    world
        .to_ccf(Some(identity))?
        .ask(Method::PATCH, &enrolment_of(id))
        .merge_patch(wanted)
        .answer()
        .await
}

/// Asks for a token under a certificate, with the secret of `bare`. It agreed on PKI, so that a right secret gets no further than
/// to the scope.
async fn token(world: &World, identity: &Identity, bare: &Bare) -> anyhow::Result<Said> {
    world
        .to_ccf(Some(identity))?
        .post(&format!("/capif-security/v1/securities/{}/token", bare.id))
        .form(&[
            ("grant_type", "client_credentials"),
            ("client_id", &bare.id),
            ("client_secret", bare.secret.expose()),
        ])
        .answer()
        .await
}
