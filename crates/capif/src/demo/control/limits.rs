//! A limit is set, reached, and raised (TS 33.122 clause 6.5.1, TS 23.222 clause 8.23).

use anyhow::{Context, ensure};
use capif_ccf::admin::{ApiChoice, NewPolicy, OldPolicy, TimeRange};
use capif_client::{Invoker, Wish};
use capif_spec::common::DateTime;
use serde_json::{Value, json};

use crate::{
    demo::{
        s3::call,
        stage::{Stage, eventually, missing},
        world::{WEATHER, World},
    },
    exit::Failure,
};

/// How many calls are allowed at first.
const TOTAL: u64 = 3;

pub(super) async fn play(stage: &mut Stage, world: &World) -> Result<(), Failure> {
    stage.chapter("Access control: a limit is reached")?;
    let mut limited = None;
    let set = async {
        let invoker = world.enrol("limited").await?;
        invoker
            .negotiate(&[Wish::at(world.gateway()?.aef_id().clone())])
            .await?;
        let detail = allow(world, &invoker).await?;
        limited = Some(invoker);
        Ok(detail)
    };
    stage
        .step(
            "control",
            "the operator allows an invoker so many calls, and the AEF hears of it",
            "TS 29.222 clause 5.7",
            set,
        )
        .await?;
    let limited = limited.as_ref();
    stage
        .step(
            "control",
            "so many calls pass, and not one more",
            "TS 33.122 clause 6.5.1",
            reached(world, limited),
        )
        .await?;
    stage
        .step(
            "control",
            "the over-use is logged and reported, and the core function revokes",
            "TS 23.222 clause 8.23",
            revoked(world, limited),
        )
        .await?;
    stage
        .step(
            "control",
            "with a higher limit the library negotiates anew, and calls; what was used counts on",
            "TS 23.222 clause 8.23",
            raised(world, limited),
        )
        .await?;
    stage
        .step(
            "control",
            "outside the times that the operator allows no call passes",
            "TS 33.122 clause 6.5.1",
            times(world, limited),
        )
        .await
}

/// No limit at all, at the API behind the gateway.
fn policy(invoker: &Invoker) -> NewPolicy {
    NewPolicy {
        api: ApiChoice::Name(WEATHER.to_owned()),
        invoker: Some(invoker.id().clone()),
        total: None,
        per_second: None,
        times: Vec::new(),
        slices: Vec::new(),
        reset: false,
    }
}

/// Has the operator set it, and waits until the gateway has heard of it.
async fn set(world: &World, policy: &NewPolicy) -> anyhow::Result<()> {
    let _set: Value = world.operator().post("/policies", policy).await?;
    world.acknowledged().await.map(drop)
}

/// How many calls an invoker has made of those that it may make.
async fn used(world: &World, invoker: &Invoker) -> anyhow::Result<(u64, u64)> {
    let policies = world.listed("policies").await?;
    let own = policies
        .iter()
        .find(|row| row.get("apiInvokerId") == Some(&json!(invoker.id())))
        .context("the policy is not listed")?;
    let number = |name: &str| own.get(name).and_then(Value::as_u64);
    number("used")
        .zip(number("total"))
        .context("the policy has no total")
}

async fn allow(world: &World, invoker: &Invoker) -> anyhow::Result<String> {
    let policy = NewPolicy {
        total: Some(TOTAL),
        ..policy(invoker)
    };
    set(world, &policy).await?;
    let (used, total) = used(world, invoker).await?;
    ensure!((used, total) == (0, TOTAL), "{used} of {total} are used");
    Ok(format!(
        "{TOTAL} calls of {WEATHER} to {}; ACCESS_CONTROL_POLICY_UPDATE acknowledged",
        invoker.id()
    ))
}

async fn reached(world: &World, limited: Option<&Invoker>) -> anyhow::Result<String> {
    let limited = limited.ok_or_else(|| missing("the invoker with a limit"))?;
    let before = world.api()?.count();
    for _ in 0..TOTAL {
        call(limited).await?.with(200)?;
    }
    let said = call(limited).await?.with(429)?;
    ensure!(
        said.text("/cause")? == "OVERLIMIT_USAGE",
        "the answer does not say so: {}",
        said.gist()
    );
    let passed = world.api()?.count() - before;
    ensure!(
        u64::try_from(passed)? == TOTAL,
        "{passed} calls reached the API"
    );
    call(world.app()?).await?.with(200)?;
    Ok(format!(
        "{TOTAL} answers with 200, then {}; another invoker calls on",
        said.gist()
    ))
}

async fn revoked(world: &World, limited: Option<&Invoker>) -> anyhow::Result<String> {
    let limited = limited.ok_or_else(|| missing("the invoker with a limit"))?;
    let of_it = |row: &Value| row.get("apiInvokerId") == Some(&json!(limited.id()));
    let method = |row: &Value| row.get("selSecurityMethod").is_some_and(Value::is_string);
    let after = eventually("the revocation", async || {
        let contexts = world.listed("contexts").await?;
        Ok(!contexts.iter().any(|row| of_it(row) && method(row)))
    })
    .await?;
    world.dropped(limited.id().as_str()).await?;
    let refused = |row: &Value| {
        of_it(row) && row.pointer("/log/result").and_then(Value::as_str) == Some("429")
    };
    eventually("the log entry", async || {
        Ok(world.logged(refused).await?.is_some())
    })
    .await?;
    Ok(format!(
        "GET -> 429 in the log; reported with OVERLIMIT_USAGE, revoked {} ms later, its connection closed",
        after.as_millis()
    ))
}

async fn raised(world: &World, limited: Option<&Invoker>) -> anyhow::Result<String> {
    let limited = limited.ok_or_else(|| missing("the invoker with a limit"))?;
    let policy = NewPolicy {
        total: Some(TOTAL + 1),
        ..policy(limited)
    };
    set(world, &policy).await?;
    call(limited).await?.with(200)?;
    let (used, total) = used(world, limited).await?;
    ensure!(used == TOTAL + 1, "{used} of {total} are used");
    Ok(format!("200, and {used} of {total} calls are used"))
}

async fn times(world: &World, limited: Option<&Invoker>) -> anyhow::Result<String> {
    let limited = limited.ok_or_else(|| missing("the invoker with a limit"))?;
    let in_an_hour = DateTime(world.clock().now() + time::Duration::HOUR);
    let policy = NewPolicy {
        times: vec![TimeRange {
            from: Some(in_an_hour),
            to: None,
        }],
        ..policy(limited)
    };
    set(world, &policy).await?;
    let said = call(limited).await?.with(403)?;
    let old = OldPolicy {
        api: policy.api,
        invoker: policy.invoker,
    };
    let _removed: Value = world.operator().post("/policies/remove", &old).await?;
    world.acknowledged().await?;
    call(limited).await?.with(200)?;
    Ok(format!(
        "an hour too early: {}; without the policy: 200",
        said.gist()
    ))
}
