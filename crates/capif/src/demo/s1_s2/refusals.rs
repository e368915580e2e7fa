//! Who is not onboarded (TS 33.122 clause 6.1 step 5).

use anyhow::{bail, ensure};
use serde_json::json;

use super::{Invitation, ask, given};
use crate::demo::{
    forgery::{Jwt, RSA_1024},
    wire::Key,
    world::World,
};

pub(super) async fn forged(world: &World, invitation: &Invitation) -> anyhow::Result<String> {
    let jwt = Jwt::parse(given(invitation)?.credential.expose())?;
    let attempts = [
        ("signed by somebody else", jwt.signed_by_another()?),
        ("alg none", jwt.unsigned()),
        (
            "wider claims under the old signature",
            jwt.with_claim("apis", json!(["everything"])),
        ),
        (
            "an unknown issuer",
            jwt.with_claim("iss", json!("https://evil.example")),
        ),
        ("no JWT at all", "hunter2".to_owned()),
    ];
    let mut answers = Vec::new();
    for (what, credential) in &attempts {
        let said = ask(world, &Key::generate()?.request()?, Some(credential)).await?;
        ensure!(said.status == 401, "{what}: {}", said.gist());
        answers.push(said.gist());
    }
    answers.dedup();
    let [answer] = answers.as_slice() else {
        bail!(
            "the answers differ, so they tell which issuers are known: {}",
            answers.join(" / ")
        );
    };
    Ok(format!(
        "{} attempts, one and the same answer: {answer}",
        attempts.len()
    ))
}

pub(super) async fn wrong_audience(world: &World) -> anyhow::Result<String> {
    // Well signed by the core function itself, but for the registration of a provider.
    let parts = world.admit("nobody").await?;
    let said = ask(
        world,
        &Key::generate()?.request()?,
        Some(parts.credential.expose()),
    )
    .await?
    .with(401)?;
    Ok(format!(
        "a registration credential does not onboard: {}",
        said.gist()
    ))
}

pub(super) async fn expired(world: &World) -> anyhow::Result<String> {
    let parts = world.invite(&[], 1).await?;
    world.pass(time::Duration::minutes(2));
    let said = ask(
        world,
        &Key::generate()?.request()?,
        Some(parts.credential.expose()),
    )
    .await?
    .with(401)?;
    Ok(format!(
        "one minute of life, used after two: {}",
        said.gist()
    ))
}

pub(super) async fn without(world: &World) -> anyhow::Result<String> {
    let said = ask(world, &Key::generate()?.request()?, None)
        .await?
        .with(401)?;
    Ok(said.gist())
}

pub(super) async fn bad_keys(world: &World) -> anyhow::Result<String> {
    let parts = world.invite(&[], 15).await?;
    let credential = parts.credential.expose();
    let key = Key::generate()?;
    let (spoiled, private) = (key.spoiled_request()?, key.private_pem());
    for (what, key) in [
        ("RSA with 1024 bits", RSA_1024),
        ("a request with a bad signature", spoiled.as_str()),
        (
            "half a key",
            RSA_1024.get(..RSA_1024.len() / 2).unwrap_or_default(),
        ),
        ("a private key", private.as_str()),
        ("a word", "key"),
    ] {
        let said = ask(world, key, Some(credential)).await?;
        ensure!(said.status == 400, "{what}: {}", said.gist());
    }
    Ok(
        "400 for RSA with 1024 bits, a bad signature, half a key, a private key and a word"
            .to_owned(),
    )
}

pub(super) async fn nothing_stored(world: &World) -> anyhow::Result<String> {
    let invokers = world.listed("invokers").await?;
    ensure!(
        invokers.is_empty(),
        "{} invokers are stored",
        invokers.len()
    );
    Ok("no profile, no certificate, no secret".to_owned())
}

pub(super) async fn replayed(world: &World, invitation: &Invitation) -> anyhow::Result<String> {
    let credential = given(invitation)?.credential.expose();
    let before = world.listed("invokers").await?.len();
    let said = ask(world, &Key::generate()?.request()?, Some(credential))
        .await?
        .with(401)?;
    let after = world.listed("invokers").await?.len();
    ensure!(
        after == before,
        "there are {after} invokers now instead of {before}"
    );
    Ok(said.gist())
}
