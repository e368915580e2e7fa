//! The AEF changes its security method (TS 33.122 clause 6.7).

use anyhow::{Context, ensure};
use capif_spec::{publish_service::SecurityMethod, security::ServiceSecurity};
use serde_json::Value;

use super::{TODAY, call};
use crate::demo::world::World;

pub(super) async fn mismatch(world: &World) -> anyhow::Result<String> {
    // Agreed on OAUTH, it comes with its certificate alone.
    let said = world
        .to_gateway(Some(&world.bare()?.identity))?
        .get(TODAY)
        .expect(401)
        .await?;
    let answer = said.json()?;
    ensure!(
        answer.get("cause").and_then(Value::as_str) == Some("SECURITY_METHOD_MISMATCH"),
        "the answer does not say so: {}",
        said.gist()
    );
    Ok(said.gist())
}

pub(super) async fn followed(world: &mut World) -> anyhow::Result<String> {
    world.restart_gateway(vec![SecurityMethod::Oauth]).await?;
    let app = world.app()?;
    let context = app.security_context().context("there is no context")?;
    ensure!(selected(&context) == Some("PKI"), "the invoker knew before");
    call(app).await?.with(200)?;
    let context = app.security_context().context("there is no context")?;
    ensure!(
        selected(&context) == Some("OAUTH"),
        "the method is the old one"
    );
    Ok("the AEF went from PKI to OAUTH; told so, the invoker asked the core function and called again".to_owned())
}

/// The method of the first entry.
pub(super) fn selected(context: &ServiceSecurity) -> Option<&str> {
    let entry = context.security_info.first()?;
    entry
        .sel_security_method
        .as_ref()
        .map(SecurityMethod::as_str)
}
