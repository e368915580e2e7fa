//! API invoker and API provider against scripted peers, over real sockets and real TLS on loopback.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod negotiation;
#[cfg(test)]
mod offboarding;
#[cfg(test)]
mod onboarding;
#[cfg(test)]
mod provider;
#[cfg(test)]
mod world;
