//! An API provider: registers with a bundle the first time, publishes an API that it serves itself, and says what a caller may do.
//!
//! ```sh
//! cargo run -p capif-client --example provider -- FOLDER BUNDLE forecast 8445 [INVOKER]
//! ```

use std::{error::Error, io::Write, sync::Arc};

use capif_client::{Bundle, Keystore, Provider, ProviderRequest};
use capif_spec::{common::ApiInvokerId, publish_service::ServiceApiDescription};
use capif_transport::{SharedClock, SystemClock};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("give FOLDER BUNDLE API PORT");
    let (folder, bundle, api, port) = (next()?, next()?, next()?, next()?);
    let port: u16 = port.parse()?;
    let clock: SharedClock = Arc::new(SystemClock);

    // The bundle serves once; afterwards the registration is in the folder.
    let keystore = Keystore::open(folder)?;
    let provider = match Provider::open(keystore.clone(), clock.clone()).await {
        Ok(provider) => provider,
        Err(_) => {
            let bundle: Bundle = std::fs::read_to_string(bundle)?.parse()?;
            let request = ProviderRequest::default();
            Provider::register(keystore, &bundle, request, clock).await?
        }
    };

    // What invokers discover. Published again, it is updated.
    let description: ServiceApiDescription = serde_json::from_value(json!({
        "apiName": api,
        "aefProfiles": [{
            "aefId": provider.aef_id(),
            "versions": [{ "apiVersion": "v1" }],
            "interfaceDescriptions": [{ "ipv4Addr": "127.0.0.1", "port": port }],
            "securityMethods": ["PKI"],
        }],
    }))?;
    let published = provider.publish(&description).await?;
    let mut out = std::io::stdout();
    let id = published.api_id.ok_or("the API has no id")?;
    writeln!(out, "{api} is {id}, served by {}", provider.aef_id())?;

    // Whose certificate a connection shows, and what it may do here: asked at each call, or kept for a while.
    if let Ok(caller) = next() {
        let context = provider
            .security_context(&ApiInvokerId::new(caller))
            .await?;
        let knows = if context.is_some() { "may" } else { "may not" };
        writeln!(out, "this caller {knows} call here")?;
    }
    Ok(())
}
