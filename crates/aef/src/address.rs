//! Under which host and port the gateway is reached.

use std::net::{IpAddr, SocketAddr};

use capif_spec::{common::Port, publish_service::InterfaceDescription};

use crate::gateway::GatewayError;

/// Host and port under which the gateway is reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// What was told, or else the socket itself.
    pub(crate) fn new(told: Option<&str>, socket: SocketAddr) -> Result<Self, GatewayError> {
        let Some(told) = told else {
            if socket.ip().is_unspecified() {
                return Err(GatewayError::Config(format!(
                    "the gateway listens on every address of this machine ({socket}): say with --address under which one invokers reach it"
                )));
            }
            return Ok(Self {
                host: socket.ip().to_string(),
                port: socket.port(),
            });
        };
        if let Ok(address) = told.parse::<IpAddr>() {
            return Ok(Self {
                host: address.to_string(),
                port: socket.port(),
            });
        }
        let (host, port) = match told.rsplit_once(':') {
            Some((host, port)) => match port.parse() {
                Ok(port) => (host, port),
                Err(_) => {
                    return Err(GatewayError::Config(format!(
                        "`{told}` is not HOST or HOST:PORT"
                    )));
                }
            },
            None => (told, socket.port()),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(GatewayError::Config(format!(
                "`{told}` is not HOST or HOST:PORT"
            )));
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    /// The interface at this address, without anything else.
    pub(crate) fn interface(&self) -> InterfaceDescription {
        let mut interface = InterfaceDescription {
            port: Some(Port::from(self.port)),
            ..InterfaceDescription::default()
        };
        match self.host.parse() {
            Ok(IpAddr::V4(_)) => interface.ipv4_addr = Some(self.host.clone()),
            Ok(IpAddr::V6(_)) => interface.ipv6_addr = Some(self.host.clone()),
            Err(_) => interface.fqdn = Some(self.host.clone()),
        }
        interface
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
