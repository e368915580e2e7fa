//! `[operator]`: the operator's API over the network, beside the socket in the folder.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, de::Error};

/// `[operator]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OperatorSection {
    /// The socket; none if empty.
    #[serde(deserialize_with = "socket")]
    pub listen: Option<SocketAddr>,
}

impl Default for OperatorSection {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 8482))),
        }
    }
}

/// A socket, or an empty text for none.
pub(super) fn socket<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        D::Error::custom(format!(
            "`{text}` is no socket; use one like 127.0.0.1:8482, or leave it empty for none"
        ))
    })
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn the_listener_is_on_this_machine_unless_said_otherwise() {
        let of = |text: &str| Config::parse(text).map(|config| config.operator.listen);
        let usual = of("").unwrap().unwrap();
        assert!(usual.ip().is_loopback());
        assert_eq!(usual.port(), 8482);
        assert_eq!(of("[operator]\nlisten = \"\"").unwrap(), None);
        let elsewhere = of("[operator]\nlisten = \"0.0.0.0:9000\"").unwrap();
        assert_eq!(elsewhere.unwrap().to_string(), "0.0.0.0:9000");
        let refused = of("[operator]\nlisten = \"8482\"").unwrap_err().to_string();
        assert!(refused.contains("127.0.0.1:8482"), "{refused}");
    }
}
