//! The AEF changes its security method, while invokers call (TS 33.122 clause 6.7).

use std::{
    slice,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use anyhow::{Context, ensure};
use capif_client::{Invoker, Wish};
use capif_spec::publish_service::SecurityMethod;
use capif_transport::PskCredential;
use http::Method;
use serde_json::{Value, json};

use super::{ALL, TODAY, call, context_of, negotiation::wanted, own_token, psk, tokens::token};
use crate::{
    demo::{
        stage::{Stage, eventually, missing},
        wire::{Said, Wire},
        world::{Bare, WEATHER, World},
    },
    exit::Failure,
};

/// How many calls must go on after each change.
const MORE_CALLS: usize = 20;

pub(super) async fn play(stage: &mut Stage, world: &mut World) -> Result<(), Failure> {
    stage.chapter("S3: the security method of the AEF changes")?;
    stage
        .step(
            "S3",
            "who uses another method than agreed is told so",
            "TS 33.122 clause 6.7",
            mismatch(world),
        )
        .await?;
    stage
        .step(
            "S3",
            "told that another method counts, the library asks once, and calls again",
            "TS 33.122 clause 6.7",
            recovered(world),
        )
        .await?;

    let load = Load::default();
    let mut line = world
        .keyed()
        .and_then(|keyed| Line::by_key(world, &keyed.key))
        .ok();
    let changes = async {
        let outcome = changes(stage, world, &load, &mut line).await;
        load.over.store(true, Ordering::Relaxed);
        outcome
    };
    let (called, outcome) = tokio::join!(load.run(world), changes);
    outcome?;
    stage
        .step(
            "S3",
            "no call failed meanwhile, and none was carried out twice",
            "TS 33.122 clause 6.7",
            undisturbed(world, called),
        )
        .await?;
    if let (Some(keyed), Some(key)) = (&mut world.keyed, line.and_then(|line| line.key)) {
        keyed.key = key;
    }
    Ok(())
}

/// Plays the changes, one step each.
async fn changes(
    stage: &mut Stage,
    world: &World,
    load: &Load,
    line: &mut Option<Line>,
) -> Result<(), Failure> {
    let [psk, pki, oauth] = &ALL;
    for (old, new) in [(psk, pki), (pki, oauth), (oauth, psk)] {
        stage
            .step(
                "S3",
                &format!("{old} gives way to {new} while calls go on"),
                "TS 33.122 clause 6.7",
                changed(world, load, line, new),
            )
            .await?;
    }
    Ok(())
}

async fn mismatch(world: &World) -> anyhow::Result<String> {
    // Agreed on OAUTH, it comes with its certificate alone.
    let said = world
        .to_gateway(Some(&world.bare()?.identity))?
        .get(TODAY)
        .expect(401)
        .await?;
    ensure!(
        said.text("/cause")? == "SECURITY_METHOD_MISMATCH",
        "the answer does not say so: {}",
        said.gist()
    );
    Ok(said.gist())
}

async fn recovered(world: &World) -> anyhow::Result<String> {
    let [psk, pki, _] = &ALL;
    let app = world.app()?;
    app.negotiate(&[Wish::at(world.gateway()?.aef_id().clone())])
        .await?;
    call(app).await?.with(200)?;
    ensure!(
        method_of(app).as_ref() == Some(pki),
        "PKI was not selected before"
    );
    let before = negotiations(world)?;
    world.publish_methods(slice::from_ref(psk)).await?;
    ensure!(
        method_of(app).as_ref() == Some(pki),
        "the invoker knew before"
    );
    call(app).await?.with(200)?;
    ensure!(
        method_of(app).as_ref() == Some(psk),
        "the method is the old one"
    );
    let asked = negotiations(world)? - before;
    ensure!(asked == 1, "it asked {asked} times");
    Ok(
        "the AEF went from PKI to PSK, without a restart; the call is answered with 200 after one question"
            .to_owned(),
    )
}

async fn changed(
    world: &World,
    load: &Load,
    line: &mut Option<Line>,
    method: &SecurityMethod,
) -> anyhow::Result<String> {
    let old = line.take().ok_or_else(|| missing("the old method"))?;
    let (app, before) = (world.app()?, negotiations(world)?);
    world.publish_methods(slice::from_ref(method)).await?;
    let refused = async {
        let said = old.call().await?.with(401)?;
        ensure!(
            said.text("/cause")? == "SECURITY_METHOD_MISMATCH"
                && said.json()?.get("supportedMethods") == Some(&json!([method])),
            "the old method is answered with {}",
            said.gist()
        );
        Ok(())
    };
    let followed = eventually("the library's change", async || {
        Ok(method_of(app).as_ref() == Some(method))
    });
    let ((), after) = tokio::try_join!(refused, followed)?;
    let enough = load.served() + MORE_CALLS;
    eventually("the next calls", async || Ok(load.served() >= enough)).await?;
    let asked = negotiations(world)? - before;
    ensure!(asked == 1, "the library asked {asked} times");
    *line = Some(Line::agree(world, &world.keyed()?.bare, method).await?);
    Ok(format!(
        "the old method: 401 SECURITY_METHOD_MISMATCH, supportedMethods [{method}]; the library asked once, within {} ms",
        after.as_millis()
    ))
}

async fn undisturbed(world: &World, called: anyhow::Result<Called>) -> anyhow::Result<String> {
    let called = called?;
    let asked = world.api()?.count() - called.begun;
    ensure!(
        asked == called.served,
        "{} calls were answered, but the API was asked {asked} times",
        called.served
    );
    world.publish_methods(&ALL).await?;
    // What was agreed on at the beginning counts again.
    world
        .to_gateway(None)?
        .get(TODAY)
        .bearer(own_token(world)?)
        .expect(200)
        .await?;
    Ok(format!(
        "{} calls through three changes, each answered with 200 and carried out once",
        called.served
    ))
}

/// Calls of the library, without a pause.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    served: AtomicUsize,
}

/// What became of them.
struct Called {
    /// How often the API had been asked before.
    begun: usize,
    served: usize,
}

impl Load {
    /// Calls until it is over, or a call fails.
    async fn run(&self, world: &World) -> anyhow::Result<Called> {
        let (app, begun) = (world.app()?, world.api()?.count());
        let caller = async || {
            while !self.over.load(Ordering::Relaxed) {
                call(app).await?.with(200)?;
                self.served.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        };
        tokio::try_join!(caller(), caller(), caller())?;
        Ok(Called {
            begun,
            served: self.served(),
        })
    }

    fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }
}

/// What an invoker on the bare wire calls with.
struct Line {
    wire: Wire,
    token: Option<String>,
    key: Option<PskCredential>,
}

impl Line {
    fn by_key(world: &World, key: &PskCredential) -> anyhow::Result<Self> {
        Ok(Self {
            wire: world.to_gateway_by_key(key)?,
            token: None,
            key: Some(key.clone()),
        })
    }

    /// Negotiates this method alone.
    async fn agree(world: &World, bare: &Bare, method: &SecurityMethod) -> anyhow::Result<Self> {
        if *method == SecurityMethod::Psk {
            return Self::by_key(world, &psk::agree(world, bare).await?.key);
        }
        let aef = world.gateway()?.aef_id().as_str();
        let said = world
            .to_ccf(Some(&bare.identity))?
            .ask(Method::PUT, &context_of(&bare.id))
            .json(&wanted(&[(aef, &[method.as_str()])]))
            .answer()
            .await?;
        ensure!(
            said.text("/securityInfo/0/selSecurityMethod")? == method.as_str(),
            "{method} was not selected: {}",
            said.gist()
        );
        let (identity, token) = match method {
            SecurityMethod::Oauth => (None, Some(token(world, bare, WEATHER, aef).await?.0)),
            _ => (Some(&bare.identity), None),
        };
        Ok(Self {
            wire: world.to_gateway(identity)?,
            token,
            key: None,
        })
    }

    async fn call(&self) -> anyhow::Result<Said> {
        let asking = self.wire.get(TODAY);
        match &self.token {
            Some(token) => asking.bearer(token).answer().await,
            None => asking.answer().await,
        }
    }
}

/// The method that the library uses.
pub(super) fn method_of(app: &Invoker) -> Option<SecurityMethod> {
    app.agreements().into_iter().next()?.method
}

/// How often the library has asked the core function which method counts, as its folder tells.
fn negotiations(world: &World) -> anyhow::Result<u64> {
    let file = world.invoker_folder("app").join("capif-invoker.json");
    let state: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    state
        .pointer("/onboarded/negotiations")
        .and_then(Value::as_u64)
        .context("the folder does not tell how often was negotiated")
}
