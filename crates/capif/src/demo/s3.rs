//! CAPIF-1e, the choice of the security method, invocation, and the change of the method (S3, TS 33.122 clauses 6.3, 6.5 and 6.7).

use anyhow::{Context, ensure};
use capif_client::{DiscoveryQuery, Invoker, Wish};
use capif_spec::{
    publish_service::{SecurityMethod, ServiceApiDescription},
    security::ServiceSecurity,
};
use capif_transport::{Body, empty};
use http::{HeaderMap, Method, Request, Response, header};
use serde_json::{Value, json};

use super::{
    forgery::Jwt,
    stage::{Stage, eventually, missing},
    wire::Said,
    world::{FORECAST, WEATHER, World},
};
use crate::exit::Failure;

/// An id that nobody has.
const NOBODY: &str = "INV00000000000000000000000000000000";

/// The header by which the gateway tells the API who calls.
const INVOKER: &str = "capif-api-invoker-id";

/// What is called.
pub(super) const TODAY: &str = "/weather/v1/today";

pub(super) async fn play(stage: &mut Stage, world: &mut World) -> Result<(), Failure> {
    stage.chapter("S3: mutual TLS, the choice of the security method, and calls")?;
    stage
        .step(
            "S3",
            "no operation without a certificate",
            "TS 33.122 clause 6.3",
            no_certificate(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "the id of another invoker is refused the same way, whether it exists or not",
            "TS 33.122 clause 6.3",
            other_id(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "discovery shows an invoker the APIs of its enrolment",
            "TS 23.222 clause 8.7",
            discovery(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "the core function selects OAUTH for who asks for OAUTH",
            "TS 33.122 clause 6.3",
            negotiate_oauth(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "and PKI for who can do both, as the operator prefers it",
            "TS 33.122 clause 6.3",
            negotiate_pki(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "without a common method none is selected",
            "TS 29.222 clause 8.5.4.2.3",
            nothing_in_common(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "an AEF learns nothing about invokers of other AEFs",
            "TS 29.222 clause 5.6.2.4",
            other_aef(world),
        )
        .await?;

    stage
        .step(
            "S3",
            "a wrong Onboard_Secret gets no token",
            "TS 33.122 clause C.3",
            wrong_secret(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "a scope that was not agreed on gets no token",
            "RFC 6749 section 5.2",
            wide_scope(world),
        )
        .await?;
    let token = async {
        let (token, detail) = token(world, WEATHER, world.gateway()?.aef_id().as_str()).await?;
        if let Some(bare) = &mut world.bare {
            bare.token = Some(token.into());
        }
        Ok(detail)
    };
    stage
        .step(
            "S3",
            "certificate, id and secret of one invoker get a token",
            "TS 33.122 clause 6.5.2.3",
            token,
        )
        .await?;
    stage
        .step(
            "S3",
            "the API is called with the token",
            "TS 33.122 clause 6.5.2.3",
            call_with_token(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "the API is called with the certificate, by the library",
            "TS 33.122 clause 6.5.2.2",
            call_with_certificate(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "no credential, no call",
            "TS 33.122 clause 6.5.2.3",
            no_credential(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "an altered token and one for another API are refused",
            "TS 33.122 clause C.2",
            bad_tokens(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "neither credentials nor forged identities reach the API",
            "TS 33.122 clause 6.5.2.3",
            spoofing(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "the invocation log arrives at the core function",
            "TS 23.222 clause 8.19",
            logged(world),
        )
        .await?;

    stage
        .step(
            "S3",
            "who uses another method than agreed is told so",
            "TS 33.122 clause 6.7",
            mismatch(world),
        )
        .await?;
    let change = async {
        world.restart_gateway(vec![SecurityMethod::Oauth]).await?;
        let app = world.app()?;
        let context = app.security_context().context("there is no context")?;
        ensure!(selected(&context) == Some("PKI"), "the invoker knew before");
        let response = call(app).await?;
        ensure!(
            response.status() == 200,
            "it was answered with {}",
            response.status()
        );
        let context = app.security_context().context("there is no context")?;
        ensure!(
            selected(&context) == Some("OAUTH"),
            "the method is the old one"
        );
        Ok("the AEF went from PKI to OAUTH; told so, the invoker asked the core function and called again".to_owned())
    };
    stage
        .step(
            "S3",
            "the method of the AEF changes, and an invoker finds its way",
            "TS 33.122 clause 6.7",
            change,
        )
        .await
}

async fn no_certificate(world: &World) -> anyhow::Result<String> {
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

async fn other_id(world: &World) -> anyhow::Result<String> {
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

async fn discovery(world: &World) -> anyhow::Result<String> {
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

async fn negotiate_oauth(world: &World) -> anyhow::Result<String> {
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

async fn negotiate_pki(world: &World) -> anyhow::Result<String> {
    let aef_id = world.gateway()?.aef_id().clone();
    let wish = Wish {
        aef_id: aef_id.clone(),
        api_id: None,
        preferred: vec![SecurityMethod::Oauth, SecurityMethod::Pki],
    };
    let agreed = world.app()?.negotiate(&[wish]).await?;
    let method = selected(&agreed);
    ensure!(method == Some("PKI"), "{method:?} was selected");
    Ok(format!("PKI at {aef_id}"))
}

async fn nothing_in_common(world: &World) -> anyhow::Result<String> {
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

async fn other_aef(world: &World) -> anyhow::Result<String> {
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

async fn wrong_secret(world: &World) -> anyhow::Result<String> {
    let aef = world.gateway()?.aef_id().as_str();
    let bare = world.bare()?;
    let scope = format!("3gpp#{aef}:{WEATHER}");
    let said = ask_token(world, &bare.id, &bare.id, "a-guess", &scope).await?;
    ensure!(said.status == 401, "it was answered with {}", said.gist());
    let other = world.app()?.id().as_str();
    let said = ask_token(world, other, other, bare.secret.expose(), &scope).await?;
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

async fn wide_scope(world: &World) -> anyhow::Result<String> {
    let aef = world.gateway()?.aef_id().as_str();
    let bare = world.bare()?;
    let scope = format!("3gpp#{aef}:{WEATHER},{FORECAST}");
    let said = ask_token(world, &bare.id, &bare.id, bare.secret.expose(), &scope).await?;
    ensure!(
        said.status == 400 && said.text("/error")? == "invalid_scope",
        "it was answered with {}",
        said.gist()
    );
    Ok(format!("invalid_scope: {}", said.gist()))
}

async fn token(world: &World, api: &str, aef: &str) -> anyhow::Result<(String, String)> {
    let bare = world.bare()?;
    let scope = format!("3gpp#{aef}:{api}");
    let said = ask_token(world, &bare.id, &bare.id, bare.secret.expose(), &scope).await?;
    ensure!(said.status == 200, "it was answered with {}", said.gist());
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

async fn call_with_token(world: &World) -> anyhow::Result<String> {
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

async fn call_with_certificate(world: &World) -> anyhow::Result<String> {
    let response = call(world.app()?).await?;
    ensure!(
        response.status() == 200,
        "it was answered with {}",
        response.status()
    );
    let seen = world.api()?.last()?;
    ensure!(
        header_of(&seen.headers, INVOKER) == world.app()?.id().as_str(),
        "the gateway did not say who calls"
    );
    Ok("discovered, negotiated before, proven by the certificate: 200".to_owned())
}

async fn no_credential(world: &World) -> anyhow::Result<String> {
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

async fn bad_tokens(world: &World) -> anyhow::Result<String> {
    let count = world.api()?.count();
    let jwt = Jwt::parse(own_token(world)?)?;
    let (foreign, _) = token(world, FORECAST, &world.rival()?.aef_id).await?;
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

async fn spoofing(world: &World) -> anyhow::Result<String> {
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

async fn logged(world: &World) -> anyhow::Result<String> {
    let id = json!(world.bare()?.id);
    let found = |entries: &[Value]| {
        entries
            .iter()
            .find(|entry| entry.get("apiInvokerId") == Some(&id))
            .map(|entry| entry.pointer("/log").cloned().unwrap_or_default())
    };
    let after = eventually("the log entry", async || {
        Ok(found(&world.listed("logs").await?).is_some())
    })
    .await?;
    let log = found(&world.listed("logs").await?).unwrap_or_default();
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

async fn mismatch(world: &World) -> anyhow::Result<String> {
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

/// Calls the API by the library.
pub(super) async fn call(invoker: &Invoker) -> anyhow::Result<Response<Body>> {
    let request = Request::get(TODAY).body(empty())?;
    Ok(invoker.call(WEATHER, request).await?)
}

/// Asks the token endpoint of an invoker, under the certificate of the one on the bare wire.
async fn ask_token(
    world: &World,
    path_id: &str,
    client_id: &str,
    secret: &str,
    scope: &str,
) -> anyhow::Result<Said> {
    world
        .to_ccf(Some(&world.bare()?.identity))?
        .post(&format!("/capif-security/v1/securities/{path_id}/token"))
        .form(&[
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            ("client_secret", secret),
            ("scope", scope),
        ])
        .answer()
        .await
}

/// The token of the invoker on the bare wire.
pub(super) fn own_token(world: &World) -> anyhow::Result<&str> {
    let token = world
        .bare()?
        .token
        .as_ref()
        .ok_or_else(|| missing("the access token"))?;
    Ok(token.expose())
}

/// The path of the security context of an invoker.
pub(super) fn context_of(id: &str) -> String {
    format!("/capif-security/v1/trustedInvokers/{id}")
}

/// The path of discovery for an invoker.
pub(super) fn discovery_of(id: &str) -> String {
    format!("/service-apis/v1/allServiceAPIs?api-invoker-id={id}")
}

/// The path of the enrolment of an invoker.
pub(super) fn enrolment_of(id: &str) -> String {
    format!("/api-invoker-management/v1/onboardedInvokers/{id}")
}

/// A request for these methods at these AEFs.
fn wanted(entries: &[(&str, &[&str])]) -> Value {
    let entries: Vec<Value> = entries
        .iter()
        .map(|(aef, methods)| json!({ "aefId": aef, "prefSecurityMethods": methods }))
        .collect();
    json!({ "securityInfo": entries, "notificationDestination": "https://invoker.invalid/" })
}

fn selected(context: &ServiceSecurity) -> Option<&str> {
    let entry = context.security_info.first()?;
    entry
        .sel_security_method
        .as_ref()
        .map(SecurityMethod::as_str)
}

fn header_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
