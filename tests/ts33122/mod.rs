//! TS 33.122, by clause.

mod annex_c;
mod clause_4_and_5;
mod clause_6_1;
mod clause_6_3;
mod clause_6_5;
mod clause_6_8;
