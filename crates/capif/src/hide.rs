//! `capif hide`

use std::net::IpAddr;

use capif_ccf::admin::{ApiChoice, NewHiding, OldHiding, WhatIsHidden};
use capif_procedures::state::{Network, Route};
use capif_spec::{
    common::AefId,
    publish_service::{InterfaceDescription, SecurityMethod},
};
use serde_json::Value;

use crate::{
    choice::id,
    exit::{Exit, Failure},
    operator::CcfFolder,
    output,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    what: What,
    /// The AEF that takes the calls: its id, as `capif list providers` shows it
    #[arg(long, value_name = "ID", value_parser = id, required_unless_present = "remove")]
    by: Option<String>,
    /// Where it takes them, as HOST:PORT or HOST:PORT/PREFIX; repeat for several [default: where it exposes other APIs]
    #[arg(long, value_name = "HOST:PORT", value_parser = interface)]
    interface: Vec<InterfaceDescription>,
    /// By which method, PSK, PKI or OAUTH; repeat for several [default: as it exposes other APIs, or as the AEFs behind it do]
    #[arg(long, value_name = "METHOD", value_parser = method)]
    method: Vec<SecurityMethod>,
    /// To which AEF behind go calls from which addresses, like 192.0.2.0/24=AEF…; repeat for several [default: to any, from anywhere]
    #[arg(long, value_name = "CIDR=ID", value_parser = route)]
    route: Vec<Route>,
    /// Let the AEF be of another provider domain than the API: it then sees the calls of that domain's invokers
    #[arg(long)]
    other_provider: bool,
    /// Hide it no more: show what was published
    #[arg(long, conflicts_with_all = ["by", "interface", "method", "route", "other_provider"])]
    remove: bool,
    /// With --remove and --name: the provider domain, where several hide APIs of that name
    #[arg(long, value_name = "ID", value_parser = id, requires = "remove", requires = "name")]
    provider: Option<String>,
    #[command(flatten)]
    folder: CcfFolder,
}

/// What is hidden, which has to be named.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// The API, by its name, or by its id where several providers publish one of that name
    #[arg(value_name = "API")]
    api: Option<String>,
    /// Whatever the provider of the AEF publishes under this name, now and later
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

impl What {
    fn what(&self) -> Result<WhatIsHidden, Failure> {
        let choice = |text: &String| {
            if is_id(text) {
                ApiChoice::Id(text.as_str().into())
            } else {
                ApiChoice::Name(text.clone())
            }
        };
        let api = self.api.as_ref().map(choice).map(WhatIsHidden::Api);
        api.or_else(|| self.name.clone().map(WhatIsHidden::Name))
            .ok_or_else(|| Failure::usage("name an API, or a name by --name"))
    }

    fn text(&self) -> &str {
        let given = self.api.as_deref().or(self.name.as_deref());
        given.unwrap_or_default()
    }
}

/// Whether a text is an id of an API as core functions give it.
fn is_id(text: &str) -> bool {
    let digits = text.strip_prefix("API").unwrap_or_default();
    digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let operator = args.folder.operator()?;
    let what = args.what.what()?;
    let text = args.what.text();
    if args.remove {
        let old = OldHiding {
            what,
            provider: args.provider.as_deref().map(Into::into),
        };
        let shown: Value = operator.post("/hidden/remove", &old).await?;
        output::note(&format!(
            "the topology behind {text} is hidden no more; {} shown as published",
            apis(&shown)
        ));
        return Ok(Exit::Done);
    }
    let by = args.by.unwrap_or_default();
    let wanted = NewHiding {
        what,
        aef_id: AefId::new(by.as_str()),
        interfaces: args.interface,
        security_methods: args.method,
        routes: args.route,
        abroad: args.other_provider,
    };
    let hidden: Value = operator.post("/hidden", &wanted).await?;
    output::note(&format!(
        "{by} stands in for what exposes {text}: {} shown so from now on; invokers have to negotiate with it",
        apis(&hidden)
    ));
    Ok(Exit::Done)
}

fn apis(answer: &Value) -> String {
    match answer["apis"].as_u64() {
        Some(1) => "1 API is".to_owned(),
        count => format!("{} APIs are", count.unwrap_or(0)),
    }
}

/// An interface in the words of the command line.
fn interface(text: &str) -> Result<InterfaceDescription, String> {
    let wrong = || format!("`{text}` is no HOST:PORT");
    let (place, prefix) = match text.find('/') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let (host, port) = place.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let mut interface = InterfaceDescription {
        port: Some(port.into()),
        api_prefix: (prefix.len() > 1).then(|| prefix.trim_end_matches('/').to_owned()),
        ..InterfaceDescription::default()
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    match bare.unwrap_or(host).parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) if bare.is_none() => interface.ipv4_addr = Some(host.to_owned()),
        Ok(IpAddr::V6(address)) if bare.is_some() => {
            interface.ipv6_addr = Some(address.to_string());
        }
        Ok(_) => return Err(wrong()),
        Err(_) if !host.is_empty() && !host.contains(['[', ']', ':', '@']) => {
            interface.fqdn = Some(host.to_owned());
        }
        Err(_) => return Err(wrong()),
    }
    Ok(interface)
}

fn method(text: &str) -> Result<SecurityMethod, String> {
    match SecurityMethod::from(text) {
        SecurityMethod::Other(_) => Err("PSK, PKI and OAUTH are the methods".to_owned()),
        method => Ok(method),
    }
}

fn route(text: &str) -> Result<Route, String> {
    let (from, aef) = text
        .split_once('=')
        .ok_or_else(|| "a route is CIDR=ID, like 192.0.2.0/24=AEF…".to_owned())?;
    Ok(Route {
        from: from.parse::<Network>()?,
        aef_id: AefId::new(id(aef)?),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn interfaces_are_read() {
        let read = |text: &str| serde_json::to_value(interface(text).unwrap()).unwrap();
        assert_eq!(
            read("edge.example:443"),
            json!({ "fqdn": "edge.example", "port": 443 })
        );
        assert_eq!(
            read("192.0.2.1:8443/capif/"),
            json!({ "ipv4Addr": "192.0.2.1", "port": 8443, "apiPrefix": "/capif" })
        );
        assert_eq!(
            read("[2001:db8::1]:443/"),
            json!({ "ipv6Addr": "2001:db8::1", "port": 443 })
        );
        for text in [
            "",
            "edge.example",
            ":443",
            "a:b:443",
            "2001:db8::1:443",
            "edge:70000",
            "[::1:443",
        ] {
            assert!(interface(text).is_err(), "{text}");
        }
    }

    #[test]
    fn routes_are_read() {
        let route = super::route("192.0.2.0/24=AEF1").unwrap();
        assert_eq!(route.from.to_string(), "192.0.2.0/24");
        assert_eq!(route.aef_id.as_str(), "AEF1");
        for text in [
            "",
            "192.0.2.0/24",
            "=AEF1",
            "192.0.2.0/24=",
            "x=AEF1",
            "192.0.2.9/24=AEF1",
        ] {
            assert!(super::route(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_api_is_meant_by_name_or_id() {
        assert!(is_id("API0123456789abcdef0123456789abcdef"));
        assert!(!is_id("weather") && !is_id("API1"));
    }
}
