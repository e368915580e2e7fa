//! Compares the types of this crate with the OpenAPI files of TS 29.222: names of members, their JSON types, which are
//! mandatory, and values of enumerations.
//!
//! The files are 3GPP's and not part of this repository. The test looks for them in the folder that the environment variable
//! `CAPIF_OPENAPI` names, else beside the repository, and says so if there are none.

#[cfg(test)]
mod comparison;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod files;
#[cfg(test)]
mod table;
