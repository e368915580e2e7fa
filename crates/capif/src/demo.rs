//! `capif demo`: the product in one command, offline, on loopback, with real sockets and real TLS.
//!
//! A core function with a fresh store, an API, a gateway in front of it, a second provider and several invokers play the
//! procedures of TS 33.122, step by step. Each step says what it shows and where the standard asks for it. Steps that must be
//! refused are steps too. Everything lives in a temporary folder, which goes with the demonstration.

mod stage;

mod world;

mod weather;

mod wire;

mod forgery;

mod search;

mod s1_s2;

mod provider;

mod s3;

mod control;

mod decisions;

mod s4;

mod s0;

use clap::ValueEnum;

use self::{stage::Stage, world::World};
use crate::{
    exit::{Exit, Failure},
    logging,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How the steps are written
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// How the steps are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Two lines per step, for people
    #[default]
    Text,
    /// One JSON object per step: step, clause, ok, ms, detail
    Ndjson,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    // Refusals are what is shown here, so they are not warned of.
    logging::start(&logging::from_environment("error")?);
    let mut stage = Stage::new(args.output);
    let mut world = World::new().map_err(|error| Failure::usage(format!("{error:#}")))?;
    stage.open(&world.folder().display().to_string())?;
    s1_s2::play(&mut stage, &mut world).await?;
    provider::play(&mut stage, &mut world).await?;
    s3::play(&mut stage, &mut world).await?;
    control::play(&mut stage, &mut world).await?;
    decisions::play(&mut stage, &world).await?;
    s4::play(&mut stage, &mut world).await?;
    s0::play(&mut stage, &mut world).await?;
    world.end().await;
    stage.close()
}
