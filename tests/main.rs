//! Conformance and integration tests, filed by specification and clause. Everything runs in process on loopback, without
//! network, containers or prior setup; real programs (`openssl`, `curl`, `python3`) are used where they are there, and a test
//! that needs one says clearly when it did not run.

mod support;

mod ts33122;

mod ts29222;

mod product;
