//! What the operator allows and takes away (TS 33.122 clause 6.5.1, TS 23.222 clause 8.23).

mod limits;

mod revocation;

use super::{stage::Stage, world::World};
use crate::exit::Failure;

pub(super) async fn play(stage: &mut Stage, world: &mut World) -> Result<(), Failure> {
    limits::play(stage, world).await?;
    revocation::play(stage, world).await
}
