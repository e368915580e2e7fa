//! Conformance and integration tests, filed by specification and clause. Everything runs in process on loopback, without
//! network, containers or prior setup; real programs (`openssl`, `curl`, `python3`) are used where they are there, and a test
//! that needs one says clearly when it did not run.

#[cfg(test)]
#[expect(
    unreachable_pub,
    reason = "for the modules below; a test binary has no outside"
)]
mod support;

#[cfg(test)]
mod ts33122;

#[cfg(test)]
mod ts29222;

#[cfg(test)]
mod contract;

#[cfg(test)]
mod product;

#[cfg(test)]
mod opencapif;
