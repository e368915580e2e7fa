//! TS 33.122, by clause.

mod access_control;
mod annex_a;
mod annex_c;
mod audit;
mod authority;
mod clause_4_and_5;
mod clause_6_1;
mod clause_6_3;
mod clause_6_4;
mod clause_6_5;
mod clause_6_7;
mod clause_6_8;
mod revocation;
mod revocation_information;
pub(crate) mod s0;
