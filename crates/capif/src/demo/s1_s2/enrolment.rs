//! What an invoker needs before it enrols, and whom it believes (TS 33.122 clause 6.1 steps 1 and 3).

use anyhow::{bail, ensure};
use capif_ccf::admin::EnrolmentParts;
use capif_client::{Enrolment, ErrorKind};
use capif_transport::ClientError;
use serde_json::Value;

use super::{Invitation, given};
use crate::{
    demo::{
        forgery::Jwt,
        wire::Wire,
        world::{FORECAST, WEATHER, World, code_of},
    },
    output,
};

pub(super) async fn parts(world: &World, invitation: &mut Invitation) -> anyhow::Result<String> {
    let parts = world.invite(&[WEATHER, FORECAST], 15).await?;
    ensure!(
        parts.address == world.ccf()?.address(),
        "the address is another one"
    );
    ensure!(
        parts.ca_pem == world.root_pem(),
        "the certificate is not the root's"
    );
    let jwt = Jwt::parse(parts.credential.expose())?;
    let alg = jwt
        .header
        .get("alg")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    ensure!(alg == "ES256", "the credential is signed with {alg}");
    let detail = format!(
        "{}, root CA sha256 {}, a JWT signed with {alg} that ends {}",
        parts.address,
        root(&parts)?,
        output::time(&parts.expires)
    );
    *invitation = Some(parts);
    Ok(detail)
}

pub(super) async fn by_fingerprint(
    world: &World,
    invitation: &Invitation,
) -> anyhow::Result<String> {
    let parts = given(invitation)?;
    let code = code_of(parts)?;
    let enrolment = Enrolment::from_code(&code, world.clock()).await?;
    ensure!(
        enrolment.anchors_pem == parts.ca_pem,
        "another certificate was found"
    );
    Ok(format!(
        "a code of {} characters stands for all three parts",
        code.to_string().len()
    ))
}

pub(super) async fn wrong_fingerprint(
    world: &World,
    invitation: &Invitation,
) -> anyhow::Result<String> {
    let mut code = code_of(given(invitation)?)?;
    code.ca_sha256 = [0x5a; 32];
    match Enrolment::from_code(&code, world.clock()).await {
        Ok(_) => bail!("a root certificate of another fingerprint was believed"),
        Err(error) => {
            ensure!(
                error.kind() == ErrorKind::Authentication,
                "it failed otherwise: {error}"
            );
            Ok(error.to_string())
        }
    }
}

pub(super) async fn foreign_authority(world: &World) -> anyhow::Result<String> {
    let address = world.ccf()?.address();
    let wire = Wire::new(&address, &world.foreign_root_pem()?, None, world.clock())?;
    match wire.get("/.well-known/jwks.json").send().await? {
        Err(ClientError::Tls(reason)) => Ok(format!("no handshake: {reason}")),
        Err(other) => bail!("it failed otherwise: {other}"),
        Ok(said) => bail!("it was answered with {}", said.gist()),
    }
}

fn root(parts: &EnrolmentParts) -> anyhow::Result<String> {
    let digits = crate::folder::root_of(&parts.ca_pem)?.to_string();
    Ok(digits.chars().take(16).collect::<String>() + "…")
}
