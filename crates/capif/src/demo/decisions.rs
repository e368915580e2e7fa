//! What waits for the operator, and what the operator hides (TS 29.222 clauses 5.3.2.2 and 5.5.2.2).

use anyhow::{Context, bail, ensure};
use capif_ccf::admin::{
    ApiChoice, Approval, Decision, EnrolmentParts, NewHiding, NewInvite, OldHiding, Rejection,
    WhatIsHidden,
};
use capif_client::{Enrolment, Error, Invoker, Keystore, OnboardingRequest};
use capif_spec::common::AefId;
use capif_transport::Identity;
use serde_json::{Value, json};

use super::{
    s3::{call, discovery_of},
    stage::{Stage, missing},
    wire::{Key, Said},
    world::{Bare, FORECAST, Rival, WEATHER, World, code_of},
};
use crate::exit::Failure;

/// The address that stands in for the one that nobody is to see.
const ENTRY: &str = "entry.invalid";

pub(super) async fn play(stage: &mut Stage, world: &World) -> Result<(), Failure> {
    stage.chapter("The operator decides: who comes in, and what is seen")?;
    stage
        .step(
            "approval",
            "who needs approval is not let in yet, and one that is rejected never is",
            "TS 29.222 clause 5.5.2.2.2",
            rejected(world),
        )
        .await?;
    stage
        .step(
            "approval",
            "one that is approved gets certificate and secret by asking again, and calls",
            "TS 23.222 clause 8.1",
            approved(world),
        )
        .await?;
    let mut entry = None;
    let added = async {
        let found = added(world.rival()?, world).await?;
        let detail = format!(
            "{} is the second AEF; ids and order of the others stay",
            found.0
        );
        entry = Some(found);
        Ok(detail)
    };
    stage
        .step(
            "provider",
            "a provider adds an AEF without registering anew",
            "TS 29.222 clause 5.11.2.3",
            added,
        )
        .await?;
    stage
        .step(
            "hiding",
            "with the topology hidden, an invoker sees the entry alone",
            "TS 23.222 clause 8.13",
            hidden(world, entry.as_ref()),
        )
        .await?;
    stage
        .step(
            "hiding",
            "to where calls go behind it, the hiding AEF learns, and no other",
            "TS 29.222 clause 5.12",
            routed(world, entry.as_ref()),
        )
        .await
}

/// An invitation whose guest the operator wants to look at first.
async fn invited(world: &World) -> anyhow::Result<EnrolmentParts> {
    let invite = NewInvite {
        apis: Some([WEATHER.to_owned()].into()),
        minutes: Some(15),
        approval: true,
    };
    Ok(world.operator().post("/invites", &invite).await?)
}

/// The one enrolment that waits.
async fn waiting(world: &World) -> anyhow::Result<String> {
    let pending = world.listed("pending").await?;
    let waits = |row: &&Value| row.get("rejected").is_some_and(Value::is_null);
    let row = pending.iter().find(waits).context("nothing waits")?;
    let id = row.get("id").and_then(Value::as_str);
    Ok(id.context("what waits has no id")?.to_owned())
}

async fn rejected(world: &World) -> anyhow::Result<String> {
    let parts = invited(world).await?;
    let request = Key::generate()?.request()?;
    let ask = async || {
        let details = json!({
            "onboardingInformation": { "apiInvokerPublicKey": request },
            "notificationDestination": "https://invoker.invalid/",
            "vendorSpecific-capif": { "attempt": "first" },
        });
        world
            .to_ccf(None)?
            .post("/api-invoker-management/v1/onboardedInvokers")
            .bearer(parts.credential.expose())
            .json(&details)
            .answer()
            .await
    };
    let said: Said = ask().await?.with(202)?;
    ensure!(
        said.json().is_err(),
        "202 says more than that it waits: {}",
        said.gist()
    );
    let id = waiting(world).await?;
    let rejection = Rejection {
        id: id.clone(),
        reason: Some("nobody here knows you".to_owned()),
    };
    let _decided: Decision = world.operator().post("/rejections", &rejection).await?;
    let said = ask().await?.with(403)?;
    let invokers = world.listed("invokers").await?;
    let is_there = |row: &Value| row.get("apiInvokerId") == Some(&json!(id));
    ensure!(!invokers.iter().any(is_there), "{id} was let in");
    Ok(format!("202 without a body, then {}", said.gist()))
}

async fn approved(world: &World) -> anyhow::Result<String> {
    let parts = invited(world).await?;
    let code = code_of(&parts)?.to_string().parse()?;
    let enrolment = Enrolment::from_code(&code, world.clock()).await?;
    let keystore = || Keystore::open(world.invoker_folder("approved"));
    let onboard = async || {
        let request = OnboardingRequest::default();
        Invoker::onboard(keystore()?, &enrolment, request, world.clock()).await
    };
    match onboard().await {
        Err(Error::ApprovalPending { .. }) => {}
        Err(other) => return Err(other.into()),
        Ok(_) => bail!("it was let in without approval"),
    }
    let approval = Approval {
        id: waiting(world).await?,
    };
    let _decided: Decision = world.operator().post("/approvals", &approval).await?;
    let invoker = onboard().await?;
    ensure!(
        invoker.id().as_str() == approval.id,
        "it has become another one: {}",
        invoker.id()
    );
    call(&invoker).await?.with(200)?;
    let id = invoker.id().to_string();
    world.operator().delete("invokers", &id).await?;
    Ok(format!(
        "{id} was approved, fetched its certificate by the same request, and called"
    ))
}

/// Adds an AEF to a provider domain: its id and identity.
async fn added(rival: &Rival, world: &World) -> anyhow::Result<(AefId, Identity)> {
    let amf = world.to_ccf(Some(&rival.amf))?;
    let path = format!(
        "/api-provider-management/v1/registrations/{}",
        rival.domain_id
    );
    let key = Key::generate()?;
    let mut wanted = rival.functions.clone();
    wanted.push(json!({
        "regInfo": { "apiProvPubKey": key.request()? },
        "apiProvFuncRole": "AEF",
    }));
    let said = amf
        .ask(http::Method::PATCH, &path)
        .merge_patch(&json!({ "apiProvFuncs": wanted }))
        .expect(200)
        .await?;
    for (index, function) in rival.functions.iter().enumerate() {
        let id = said.text(&format!("/apiProvFuncs/{index}/apiProvFuncId"))?;
        ensure!(
            function.get("apiProvFuncId") == Some(&json!(id)),
            "function {index} became {id}"
        );
    }
    let last = rival.functions.len();
    let id = said.text(&format!("/apiProvFuncs/{last}/apiProvFuncId"))?;
    let chain = said.text(&format!("/apiProvFuncs/{last}/regInfo/apiProvCert"))?;
    Ok((AefId::new(id), key.identity(&chain)?))
}

/// What an invoker discovers of the other provider's API.
async fn seen(world: &World, guest: &Bare) -> anyhow::Result<String> {
    let said = world
        .to_ccf(Some(&guest.identity))?
        .get(&discovery_of(&guest.id))
        .expect(200)
        .await?;
    Ok(said.json()?.to_string())
}

async fn hidden(world: &World, entry: Option<&(AefId, Identity)>) -> anyhow::Result<String> {
    let (entry, _) = entry.ok_or_else(|| missing("the second AEF"))?;
    let rival = world.rival()?;
    let guest = world.enrol_bare(&[FORECAST]).await?;
    ensure!(
        seen(world, &guest).await?.contains(&rival.aef_id),
        "the API is not discovered"
    );
    let hiding = NewHiding {
        what: WhatIsHidden::Api(ApiChoice::Name(FORECAST.to_owned())),
        aef_id: entry.clone(),
        interfaces: vec![serde_json::from_value(
            json!({ "fqdn": ENTRY, "port": 443 }),
        )?],
        security_methods: Vec::new(),
        routes: Vec::new(),
        abroad: false,
    };
    let _hidden: Value = world.operator().post("/hidden", &hiding).await?;
    let sees = seen(world, &guest).await?;
    ensure!(
        sees.contains(entry.as_str()) && sees.contains(ENTRY),
        "the entry is not shown: {sees}"
    );
    ensure!(
        !sees.contains(&rival.aef_id) && !sees.contains("forecast.invalid"),
        "what is hidden is shown: {sees}"
    );
    world.operator().delete("invokers", &guest.id).await?;
    Ok(format!("{FORECAST} is shown at {ENTRY} and nowhere else"))
}

async fn routed(world: &World, entry: Option<&(AefId, Identity)>) -> anyhow::Result<String> {
    let (entry, identity) = entry.ok_or_else(|| missing("the second AEF"))?;
    let rival = world.rival()?;
    let apis = world.listed("apis").await?;
    let named = |row: &&Value| row.get("apiName") == Some(&json!(FORECAST));
    let api = apis
        .iter()
        .find(named)
        .and_then(|row| row.get("apiId")?.as_str());
    let api = api.context("the API is not listed")?;
    let path = |aef: &str| format!("/capif-routing-info/v1/service-apis/{api}?aef-id={aef}");
    let said = world
        .to_ccf(Some(identity))?
        .get(&path(entry.as_str()))
        .expect(200)
        .await?;
    let target = said.text("/routingRules/0/aefProfile/aefId")?;
    ensure!(target == rival.aef_id, "calls go to {target}");
    let said = world
        .to_ccf(Some(&rival.aef))?
        .get(&path(&rival.aef_id))
        .answer()
        .await?;
    ensure!(
        said.status.is_client_error(),
        "another AEF is told: {}",
        said.gist()
    );
    let old = OldHiding {
        what: WhatIsHidden::Api(ApiChoice::Name(FORECAST.to_owned())),
        provider: None,
    };
    let _shown: Value = world.operator().post("/hidden/remove", &old).await?;
    Ok(format!(
        "calls go on to {target}; another AEF is told {}",
        said.gist()
    ))
}
