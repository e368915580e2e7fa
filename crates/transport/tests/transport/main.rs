//! Both ends over real sockets on loopback, with certificates made in memory.

#[cfg(test)]
mod support;

#[cfg(test)]
mod keys;

#[cfg(test)]
mod anchor;
#[cfg(test)]
mod client;
#[cfg(test)]
mod closing;
#[cfg(test)]
mod handshake;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod psk;
#[cfg(test)]
mod psk_neighbours;
#[cfg(test)]
mod psk_wire;
#[cfg(test)]
mod rollover;
#[cfg(test)]
mod session;
#[cfg(test)]
mod takeover;
#[cfg(test)]
mod unix;
