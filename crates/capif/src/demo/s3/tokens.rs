//! Access tokens (TS 33.122 clause 6.5.2.3 and annex C).

use anyhow::{Context, ensure};
use http::header;
use serde_json::{Value, json};

use crate::demo::{
    forgery::Jwt,
    wire::Said,
    world::{Bare, FORECAST, WEATHER, World},
};

pub(super) async fn wrong_secret(world: &World) -> anyhow::Result<String> {
    let aef = world.gateway()?.aef_id().as_str();
    let bare = world.bare()?;
    let scope = format!("3gpp#{aef}:{WEATHER}");
    ask_token(world, bare, &bare.id, "a-guess", &scope)
        .await?
        .with(401)?;
    let other = world.app()?.id().as_str();
    let said = ask_token(world, bare, other, bare.secret.expose(), &scope).await?;
    ensure!(
        said.status == 401,
        "for another invoker it was answered with {}",
        said.gist()
    );
    Ok(format!(
        "nor does the right one for another invoker: {}",
        said.gist()
    ))
}

pub(super) async fn wide_scope(world: &World) -> anyhow::Result<String> {
    let aef = world.gateway()?.aef_id().as_str();
    let bare = world.bare()?;
    let scope = format!("3gpp#{aef}:{WEATHER},{FORECAST}");
    let said = ask_token(world, bare, &bare.id, bare.secret.expose(), &scope).await?;
    ensure!(
        said.status == 400 && said.text("/error")? == "invalid_scope",
        "it was answered with {}",
        said.gist()
    );
    Ok(format!("invalid_scope: {}", said.gist()))
}

pub(super) async fn granted(world: &mut World) -> anyhow::Result<String> {
    let aef = world.gateway()?.aef_id().as_str();
    let (token, detail) = token(world, world.bare()?, WEATHER, aef).await?;
    if let Some(bare) = &mut world.bare {
        bare.token = Some(token.into());
    }
    Ok(detail)
}

/// A token for an API at an AEF.
pub(super) async fn token(
    world: &World,
    bare: &Bare,
    api: &str,
    aef: &str,
) -> anyhow::Result<(String, String)> {
    let scope = format!("3gpp#{aef}:{api}");
    let said = ask_token(world, bare, &bare.id, bare.secret.expose(), &scope)
        .await?
        .with(200)?;
    let token = said.text("/access_token")?;
    let jwt = Jwt::parse(&token)?;
    let claim = |name: &str| jwt.claims.get(name).cloned().unwrap_or_default();
    ensure!(
        claim("client_id") == json!(bare.id) && claim("iss") == json!(bare.id),
        "the token is not the invoker's"
    );
    ensure!(
        claim("scope") == json!(scope),
        "its scope is {}",
        claim("scope")
    );
    let seconds = claim("exp")
        .as_i64()
        .zip(claim("iat").as_i64())
        .map(|(end, begin)| end - begin);
    let seconds = seconds.context("it has no end")?;
    ensure!(
        said.header(header::CACHE_CONTROL) == "no-store",
        "the answer may be stored"
    );
    let alg = jwt
        .header
        .get("alg")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    Ok((
        token,
        format!("{alg}, scope {scope}, good for {seconds} s, no-store"),
    ))
}

/// Asks the token endpoint of the invoker of this id, under the certificate of `bare`.
async fn ask_token(
    world: &World,
    bare: &Bare,
    id: &str,
    secret: &str,
    scope: &str,
) -> anyhow::Result<Said> {
    world
        .to_ccf(Some(&bare.identity))?
        .post(&format!("/capif-security/v1/securities/{id}/token"))
        .form(&[
            ("grant_type", "client_credentials"),
            ("client_id", id),
            ("client_secret", secret),
            ("scope", scope),
        ])
        .answer()
        .await
}
