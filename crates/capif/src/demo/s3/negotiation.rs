//! Mutual TLS and the choice of the method (TS 33.122 clause 6.3).

use anyhow::ensure;
use capif_client::{DiscoveryQuery, Wish};
use capif_spec::publish_service::{SecurityMethod, ServiceApiDescription};
use http::Method;
use serde_json::{Value, json};

use super::{TODAY, context_of, discovery_of, enrolment_of};
use crate::demo::world::{FORECAST, WEATHER, World};

/// An id that nobody has.
pub(super) const NOBODY: &str = "INV00000000000000000000000000000000";

pub(super) async fn no_certificate(world: &World) -> anyhow::Result<String> {
    let id = &world.bare()?.id;
    let wire = world.to_ccf(None)?;
    let context = context_of(id);
    wire.get(&discovery_of(id)).expect(401).await?;
    wire.ask(Method::PUT, &context)
        .json(&json!({}))
        .expect(401)
        .await?;
    wire.get(&context).expect(401).await?;
    wire.ask(Method::DELETE, &enrolment_of(id))
        .expect(401)
        .await?;
    let said = wire
        .post(&format!("/capif-security/v1/securities/{id}/token"))
        .form(&[("grant_type", "client_credentials"), ("client_id", id)])
        .expect(401)
        .await?;
    Ok(format!(
        "discovery, negotiation, security context, offboarding, token: {}",
        said.gist()
    ))
}

pub(super) async fn other_id(world: &World) -> anyhow::Result<String> {
    let wire = world.to_ccf(Some(&world.bare()?.identity))?;
    let mut answers = Vec::new();
    for id in [world.app()?.id().as_str(), NOBODY] {
        let context = context_of(id);
        let asked = [
            wire.get(&discovery_of(id)).answer().await?,
            wire.ask(Method::PUT, &context)
                .json(&wanted(&[("AEF0", &["PKI"])]))
                .answer()
                .await?,
            wire.ask(Method::DELETE, &enrolment_of(id)).answer().await?,
        ];
        for said in &asked {
            ensure!(said.status == 403, "it was answered with {}", said.gist());
        }
        answers.push(asked.map(|said| said.gist()));
    }
    answers.dedup();
    let [[_, answer, _]] = answers.as_slice() else {
        anyhow::bail!("the answers tell which ids exist");
    };
    Ok(answer.clone())
}

pub(super) async fn discovery(world: &World) -> anyhow::Result<String> {
    let names = |apis: &[ServiceApiDescription]| {
        let mut names: Vec<String> = apis.iter().map(|api| api.api_name.clone()).collect();
        names.sort_unstable();
        names
    };
    let narrow = names(&world.app()?.discover(&DiscoveryQuery::default()).await?);
    ensure!(
        narrow == [WEATHER],
        "enrolled for {WEATHER}, it sees {}",
        narrow.join(", ")
    );
    let bare = world.bare()?;
    let said = world
        .to_ccf(Some(&bare.identity))?
        .get(&discovery_of(&bare.id))
        .expect(200)
        .await?;
    let wide = said.json()?;
    let wide = wide
        .pointer("/serviceAPIDescriptions")
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    ensure!(wide == 2, "enrolled for two APIs, it sees {wide}");
    Ok(format!(
        "{WEATHER} to one invoker; {WEATHER} and {FORECAST} to another"
    ))
}

pub(super) async fn negotiate_oauth(world: &World) -> anyhow::Result<String> {
    let (bare, rival) = (world.bare()?, world.rival()?);
    let aef = world.gateway()?.aef_id().as_str();
    let said = world
        .to_ccf(Some(&bare.identity))?
        .ask(Method::PUT, &context_of(&bare.id))
        .json(&wanted(&[(aef, &["OAUTH"]), (&rival.aef_id, &["OAUTH"])]))
        .expect(201)
        .await?;
    for index in 0..2 {
        let method = said.text(&format!("/securityInfo/{index}/selSecurityMethod"))?;
        ensure!(method == "OAUTH", "{method} was selected");
    }
    Ok(format!("OAUTH at {aef} and at {}", rival.aef_id))
}

pub(super) async fn negotiate_pki(world: &World) -> anyhow::Result<String> {
    let aef_id = world.gateway()?.aef_id().clone();
    let wish = Wish {
        aef_id: aef_id.clone(),
        api_id: None,
        preferred: vec![SecurityMethod::Oauth, SecurityMethod::Pki],
        profile: None,
    };
    let agreed = world.app()?.negotiate(&[wish]).await?;
    let method = agreed
        .security_info
        .first()
        .and_then(|entry| entry.sel_security_method.as_ref());
    ensure!(
        method == Some(&SecurityMethod::Pki),
        "{method:?} was selected"
    );
    Ok(format!("PKI at {aef_id}"))
}

pub(super) async fn nothing_in_common(world: &World) -> anyhow::Result<String> {
    let limited = world.enrol_bare(&[WEATHER]).await?;
    let aef = world.gateway()?.aef_id().as_str();
    let said = world
        .to_ccf(Some(&limited.identity))?
        .ask(Method::PUT, &context_of(&limited.id))
        .json(&wanted(&[(aef, &["PSK"])]))
        .expect(201)
        .await?;
    let answer = said.json()?;
    ensure!(
        answer.pointer("/securityInfo/0").is_some()
            && answer
                .pointer("/securityInfo/0/selSecurityMethod")
                .is_none(),
        "a method was selected"
    );
    let said = world
        .to_gateway(Some(&limited.identity))?
        .get(TODAY)
        .answer()
        .await?;
    ensure!(
        said.status.is_client_error(),
        "a call is answered with {}",
        said.gist()
    );
    world.operator().delete("invokers", &limited.id).await?;
    Ok(format!(
        "PSK alone: an entry without a method, and no call through: {}",
        said.gist()
    ))
}

pub(super) async fn other_aef(world: &World) -> anyhow::Result<String> {
    let wire = world.to_ccf(Some(&world.rival()?.aef))?;
    let mut answers = Vec::new();
    for id in [world.app()?.id().as_str(), NOBODY] {
        let path = format!(
            "{}?authenticationInfo=true&authorizationInfo=true",
            context_of(id)
        );
        answers.push(wire.get(&path).expect(404).await?.gist());
    }
    answers.dedup();
    ensure!(answers.len() == 1, "the answers tell which ids exist");
    Ok(format!(
        "an invoker of another AEF and one that does not exist: {}",
        answers.concat()
    ))
}

/// A request for these methods at these AEFs.
pub(in crate::demo) fn wanted(entries: &[(&str, &[&str])]) -> Value {
    let entries: Vec<Value> = entries
        .iter()
        .map(|(aef, methods)| json!({ "aefId": aef, "prefSecurityMethods": methods }))
        .collect();
    json!({ "securityInfo": entries, "notificationDestination": "https://invoker.invalid/" })
}
