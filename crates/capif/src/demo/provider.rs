//! Providers: registration, roles, publication (TS 23.222 clauses 8.28 and 8.3, TS 33.122 clause 6.6).

use anyhow::{Context, ensure};
use capif_spec::common::DateTime;
use serde_json::{Value, json};
use x509_parser::pem::parse_x509_pem;

use super::{
    s3::discovery_of,
    stage::{Stage, missing},
    wire::{Key, Said},
    world::{Bare, FORECAST, Rival, WEATHER, World},
};
use crate::exit::Failure;

const REGISTRATIONS: &str = "/api-provider-management/v1/registrations";

/// The roles of a provider's functions, in the order of registration.
const ROLES: [&str; 3] = ["AMF", "APF", "AEF"];

pub(super) async fn play(stage: &mut Stage, world: &mut World) -> Result<(), Failure> {
    stage.chapter("Providers register and publish")?;
    let gateway = async {
        let api = world.start_api()?;
        world.start_gateway().await?;
        let gateway = world.gateway()?;
        Ok(format!(
            "the API at {api} knows nothing of CAPIF; {} serves it at {}",
            gateway.aef_id(),
            gateway.address()
        ))
    };
    stage
        .step(
            "provider",
            "a gateway registers, publishes and serves an API as it is",
            "TS 23.222 clauses 8.28 and 8.3",
            gateway,
        )
        .await?;
    stage
        .step(
            "provider",
            "the operator sees the provider and its API",
            "TS 23.222 clause 8.28",
            listed(world),
        )
        .await?;

    let mut credential = None;
    let registration = async {
        let parts = world.admit("rival").await?;
        let (rival, detail) = register(world, parts.credential.expose()).await?;
        world.rival = Some(rival);
        credential = Some(parts.credential);
        Ok(detail)
    };
    stage
        .step(
            "provider",
            "each function gets a certificate of its own for its role",
            "TS 33.122 clause 6.6",
            registration,
        )
        .await?;
    let again = async {
        let credential = credential.ok_or_else(|| missing("the credential"))?;
        let said = attempt(world, credential.expose(), &keys()?)
            .await?
            .with(401)?;
        Ok(said.gist())
    };
    stage
        .step(
            "provider",
            "the registration credential cannot be used twice",
            "RFC 7519 section 4.1.7",
            again,
        )
        .await?;
    stage
        .step(
            "provider",
            "an APF publishes for the AEFs of its own provider alone",
            "TS 29.222 clause 5.3.2.2",
            publish(world),
        )
        .await?;
    stage
        .step(
            "provider",
            "the certificate of an AEF cannot publish",
            "TS 33.122 clause 6.6",
            roles(world),
        )
        .await?;
    stage
        .step(
            "provider",
            "the certificate of an APF neither onboards nor reads security contexts",
            "TS 33.122 clause 6.6",
            apf_is_no_more(world),
        )
        .await?;
    stage
        .step(
            "S1",
            "a token that the provider handed over beforehand onboards one invoker",
            "TS 33.122 clause 6.1 step 2",
            handed_over(world),
        )
        .await
}

async fn listed(world: &World) -> anyhow::Result<String> {
    let providers = world.listed("providers").await?;
    let functions = providers
        .iter()
        .find(|provider| provider.get("name").and_then(Value::as_str) == Some("acme"))
        .and_then(|provider| provider.get("functions")?.as_array())
        .context("the provider is not listed")?;
    let mut roles: Vec<&str> = functions
        .iter()
        .filter_map(|function| function.get("role")?.as_str())
        .collect();
    roles.sort_unstable();
    ensure!(
        roles == ["AEF", "AMF", "APF"],
        "its functions are {}",
        roles.join(", ")
    );
    let apis = world.listed("apis").await?;
    let api = apis
        .iter()
        .find(|api| api.get("apiName").and_then(Value::as_str) == Some(WEATHER))
        .context("the API is not listed")?;
    let methods = api
        .pointer("/aefProfiles/0/securityMethods")
        .context("the API offers no security method")?;
    Ok(format!(
        "acme with AMF, APF and AEF; {WEATHER} with {methods}"
    ))
}

fn keys() -> anyhow::Result<Vec<Key>> {
    ROLES.iter().map(|_| Key::generate()).collect()
}

async fn attempt(world: &World, credential: &str, keys: &[Key]) -> anyhow::Result<Said> {
    let mut functions = Vec::new();
    for (role, key) in ROLES.iter().zip(keys) {
        functions.push(json!({
            "regInfo": { "apiProvPubKey": key.request()? },
            "apiProvFuncRole": role,
        }));
    }
    let details = json!({ "regSec": credential, "apiProvFuncs": functions });
    world
        .to_ccf(None)?
        .post(REGISTRATIONS)
        .bearer(credential)
        .json(&details)
        .answer()
        .await
}

async fn register(world: &World, credential: &str) -> anyhow::Result<(Rival, String)> {
    let keys = keys()?;
    let said = attempt(world, credential, &keys).await?.with(201)?;
    let mut identities = Vec::new();
    for (index, (role, key)) in ROLES.iter().zip(&keys).enumerate() {
        let id = said.text(&format!("/apiProvFuncs/{index}/apiProvFuncId"))?;
        let chain = said.text(&format!("/apiProvFuncs/{index}/regInfo/apiProvCert"))?;
        let (_, block) = parse_x509_pem(chain.as_bytes()).context("the certificate is not PEM")?;
        let subject = block.parse_x509()?.subject().to_string();
        ensure!(
            subject == format!("OU={role}, CN={id}"),
            "the certificate of the {role} names {subject}"
        );
        identities.push((id, key.identity(&chain)?));
    }
    let mut identities = identities.into_iter();
    let (Some(amf), Some(apf), Some(aef)) =
        (identities.next(), identities.next(), identities.next())
    else {
        anyhow::bail!("functions are missing");
    };
    let detail = format!(
        "OU=AMF with CN={}, OU=APF with CN={}, OU=AEF with CN={}",
        amf.0, apf.0, aef.0
    );
    let rival = Rival {
        domain_id: said.text("/apiProvDomId")?,
        amf: amf.1,
        apf_id: apf.0,
        apf: apf.1,
        aef_id: aef.0,
        aef: aef.1,
        functions: said
            .json()?
            .get("apiProvFuncs")
            .and_then(Value::as_array)
            .cloned()
            .context("functions are missing")?,
    };
    Ok((rival, detail))
}

async fn publish(world: &World) -> anyhow::Result<String> {
    let rival = world.rival()?;
    let wire = world.to_ccf(Some(&rival.apf))?;
    let path = format!("/published-apis/v1/{}/service-apis", rival.apf_id);
    let said = wire
        .post(&path)
        .json(&forecast(world.gateway()?.aef_id().as_str()))
        .answer()
        .await?;
    ensure!(
        said.status == 400,
        "an API at the AEF of another provider: {}",
        said.gist()
    );
    wire.post(&path)
        .json(&forecast(&rival.aef_id))
        .expect(201)
        .await?;
    let somebody_else = format!("/published-apis/v1/{}/service-apis", "APF0");
    let said = wire
        .post(&somebody_else)
        .json(&forecast(&rival.aef_id))
        .answer()
        .await?;
    ensure!(
        said.status == 403,
        "in the name of another APF: {}",
        said.gist()
    );
    Ok(format!(
        "{FORECAST} is published; the AEF and the name of others were refused"
    ))
}

async fn roles(world: &World) -> anyhow::Result<String> {
    let rival = world.rival()?;
    let wire = world.to_ccf(Some(&rival.aef))?;
    let path = format!("/published-apis/v1/{}/service-apis", rival.aef_id);
    let said = wire
        .post(&path)
        .json(&forecast(&rival.aef_id))
        .expect(403)
        .await?;
    Ok(said.gist())
}

async fn apf_is_no_more(world: &World) -> anyhow::Result<String> {
    let rival = world.rival()?;
    let wire = world.to_ccf(Some(&rival.apf))?;
    wire.onboarding(&Key::generate()?.request()?, None)
        .expect(401)
        .await?;
    let path = format!(
        "/capif-security/v1/trustedInvokers/{}?authenticationInfo=true",
        world.bare()?.id
    );
    let said = world
        .to_ccf(Some(&rival.apf))?
        .get(&path)
        .expect(403)
        .await?;
    Ok(said.gist())
}

/// The provider hands a token of its own making over to the core function, and gives it to an invoker.
async fn handed_over(world: &World) -> anyhow::Result<String> {
    const TOKEN: &str = "a-token-that-the-provider-made";
    let rival = world.rival()?;
    let path = format!(
        "/capif-onboarding-credentials/v1/{}/credentials",
        rival.domain_id
    );
    let expires = DateTime(world.clock().now() + time::Duration::minutes(5));
    world
        .to_ccf(Some(&rival.amf))?
        .post(&path)
        .json(&json!({ "token": TOKEN, "expires": expires }))
        .expect(201)
        .await?;
    let onboard = async || {
        let key = Key::generate()?;
        let request = key.request()?;
        let said = world
            .to_ccf(None)?
            .onboarding(&request, Some(TOKEN))
            .answer()
            .await?;
        anyhow::Ok((key, said))
    };
    let (key, said) = onboard().await?;
    ensure!(said.status == 201, "it was answered with {}", said.gist());
    let guest = Bare::of(&key, &said)?;
    let (_, again) = onboard().await?;
    ensure!(again.status == 401, "the second time: {}", again.gist());
    let found = world
        .to_ccf(Some(&guest.identity))?
        .get(&discovery_of(&guest.id))
        .expect(200)
        .await?
        .json()?;
    let names: Vec<&str> = found
        .pointer("/serviceAPIDescriptions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|api| api.get("apiName")?.as_str())
        .collect();
    ensure!(names == [FORECAST], "it reaches {}", names.join(", "));
    world.operator().delete("invokers", &guest.id).await?;
    Ok(format!(
        "good once, and for that provider's API {FORECAST} alone"
    ))
}

/// An API of the other provider.
fn forecast(aef_id: &str) -> Value {
    json!({
        "apiName": FORECAST,
        "aefProfiles": [{
            "aefId": aef_id,
            "versions": [{ "apiVersion": "v1" }],
            "protocol": "HTTP_1_1",
            "securityMethods": ["OAUTH"],
            "domainName": "forecast.invalid",
        }],
    })
}
