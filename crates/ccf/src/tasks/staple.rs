//! The response that the CCF staples to its own certificate (RFC 6066 section 8), so that nobody has to ask whether that was revoked.

use crate::core::Core;

/// Staples to a certificate that has nothing stapled yet, and renews what is half through its life. What cannot be stapled is left
/// away: the certificate counts without it.
pub(crate) async fn tend(core: &Core) {
    let own = core.presence.own();
    if core.revocation.is_stapled(&own.certificate) {
        return;
    }
    match core.revocation.staple_own(&own.certificate).await {
        Ok(Some(staple)) => {
            let variant = own.identity.with_ocsp(staple.response.to_vec());
            if let Err(error) = core.presence.vary(&own, variant).await {
                tracing::warn!(%error, "the OCSP response cannot be stapled");
            }
        }
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(%error, "there is no OCSP response to staple");
        }
    }
}
