use capif_spec::common::DateTime;
use time::Duration;

use super::*;
use crate::{
    fixtures::*,
    state::{Demand, DemandReason, Handover, Role, SealedKey},
};

mod activation;
mod generic;
mod model;
mod standing;
