//! Calls through the gateway (TS 33.122 clauses 6.5.2.2 and 6.5.2.3).

use anyhow::ensure;
use http::{HeaderMap, header};
use serde_json::{Value, json};

use super::{TODAY, call, own_token, tokens::token};
use crate::demo::{
    forgery::Jwt,
    stage::eventually,
    world::{FORECAST, WEATHER, World},
};

/// The header by which the gateway tells the API who calls.
pub(super) const INVOKER: &str = "capif-api-invoker-id";

pub(super) async fn call_with_token(world: &World) -> anyhow::Result<String> {
    let said = world
        .to_gateway(None)?
        .get(TODAY)
        .bearer(own_token(world)?)
        .expect(200)
        .await?;
    let seen = world.api()?.last()?;
    ensure!(seen.path == TODAY, "the API was asked for {}", seen.path);
    Ok(format!(
        "GET {TODAY}: the weather is {}",
        said.text("/weather")?
    ))
}

pub(super) async fn call_with_certificate(world: &World) -> anyhow::Result<String> {
    call(world.app()?).await?.with(200)?;
    let seen = world.api()?.last()?;
    ensure!(
        header_of(&seen.headers, INVOKER) == world.app()?.id().as_str(),
        "the gateway did not say who calls"
    );
    Ok("discovered, negotiated before, proven by the certificate: 200".to_owned())
}

pub(super) async fn no_credential(world: &World) -> anyhow::Result<String> {
    let count = world.api()?.count();
    let said = world.to_gateway(None)?.get(TODAY).expect(401).await?;
    ensure!(
        said.header(header::WWW_AUTHENTICATE).starts_with("Bearer"),
        "it is not said what is missing"
    );
    ensure!(
        world.api()?.count() == count,
        "the API was asked all the same"
    );
    Ok(said.gist())
}

pub(super) async fn bad_tokens(world: &World) -> anyhow::Result<String> {
    let count = world.api()?.count();
    let jwt = Jwt::parse(own_token(world)?)?;
    let (foreign, _) = token(world, world.bare()?, FORECAST, &world.rival()?.aef_id).await?;
    let wire = world.to_gateway(None)?;
    for (what, token, status) in [
        (
            "altered",
            jwt.with_claim("exp", json!(4_000_000_000_i64)),
            401,
        ),
        ("signed by somebody else", jwt.signed_by_another()?, 401),
        ("unsigned", jwt.unsigned(), 401),
        ("for another API", foreign, 403),
    ] {
        let said = wire.get(TODAY).bearer(&token).answer().await?;
        ensure!(said.status == status, "{what}: {}", said.gist());
    }
    // RFC 6750 section 2.3: in an address it would stand in logs.
    let said = wire
        .get(&format!("{TODAY}?access_token={}", own_token(world)?))
        .answer()
        .await?;
    ensure!(
        said.status.is_client_error(),
        "in the query: {}",
        said.gist()
    );
    ensure!(
        world.api()?.count() == count,
        "the API was asked all the same"
    );
    Ok("401 if altered, signed by somebody else or unsigned; 403 with the scope of another API; the API saw none".to_owned())
}

pub(super) async fn spoofing(world: &World) -> anyhow::Result<String> {
    world
        .to_gateway(None)?
        .get(TODAY)
        .bearer(own_token(world)?)
        .header(INVOKER, "INVadmin")
        .header("x-forwarded-for", "203.0.113.9")
        .header("x-remote-user", "root")
        .header("x-mine", "kept")
        .expect(200)
        .await?;
    let headers = world.api()?.last()?.headers;
    ensure!(
        !headers.contains_key(header::AUTHORIZATION),
        "the API saw the token"
    );
    ensure!(
        !headers.contains_key("x-remote-user"),
        "a forged identity reached the API"
    );
    ensure!(
        header_of(&headers, "x-forwarded-for") == "127.0.0.1",
        "a forged origin reached the API"
    );
    ensure!(
        header_of(&headers, "x-mine") == "kept",
        "a header of the caller's own was lost"
    );
    let ids: Vec<_> = headers.get_all(INVOKER).iter().collect();
    let bare = world.bare()?;
    ensure!(
        ids == [bare.id.as_str()],
        "the API was told that {ids:?} calls"
    );
    Ok(format!(
        "the API saw {INVOKER}: {}, set by the gateway",
        bare.id
    ))
}

pub(super) async fn logged(world: &World) -> anyhow::Result<String> {
    let id = json!(world.bare()?.id);
    let mut found = None;
    let after = eventually("the log entry", async || {
        let own = |entry: &Value| entry.get("apiInvokerId") == Some(&id);
        found = world.logged(own).await?;
        Ok(found.is_some())
    })
    .await?;
    let log = found
        .and_then(|entry| entry.get("log").cloned())
        .unwrap_or_default();
    let member = |name: &str| {
        log.get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    ensure!(
        member("apiName") == WEATHER,
        "it names API {:?}",
        member("apiName")
    );
    Ok(format!(
        "{} {} -> {}, within {} ms",
        member("operation"),
        member("uri"),
        member("result"),
        after.as_millis()
    ))
}

/// What a header says; nothing if it is not there.
pub(super) fn header_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
