//! API invoker and API provider against scripted peers, over real sockets and real TLS on loopback.

#[cfg(test)]
mod authority;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod moved;
#[cfg(test)]
mod negotiation;
#[cfg(test)]
mod offboarding;
#[cfg(test)]
mod onboarding;
#[cfg(test)]
mod provider;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod renewal;
#[cfg(test)]
mod renewing;
#[cfg(test)]
mod world;
