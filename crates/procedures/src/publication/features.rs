//! Features of the publish API (TS 29.222 table 8.2.6-1), and what of a description belongs to which of them.

use capif_spec::{
    common::SupportedFeatures,
    publish_service::{AefProfile, ServiceApiDescription},
};

/// The features that are served: 1 ApiSupportedFeaturePublishing, 2 PatchUpdate, 3 ExtendedIntfDesc, 4 MultipleCustomOperations,
/// 5 ProtocDataFormats_Ext1, 6 ApiStatusMonitoring, 7 EdgeApp_2, 8 RNAA, 9 VendorExt, 10 SliceBasedAPIExposure.
pub const FEATURES: &str = "3ff";

/// Feature 2: descriptions are changed by PATCH too.
pub(super) const PATCH_UPDATE: u32 = 2;

/// Takes out of a description what belongs to one feature.
type Strip = fn(&mut ServiceApiDescription);

/// What belongs to which feature, by its number.
///
/// Choice: an address that ExtendedIntfDesc brought (`fqdn`, `apiPrefix`) and a word that ProtocDataFormats_Ext1 brought are taken as
/// they come, since without them another API would be published. Vendor members are kept in any case (TS 29.222 clause 7.11).
const GATES: [(u32, Strip); 6] = [
    (1, |description| description.api_supp_feats = None),
    (4, |description| {
        for profile in profiles(description) {
            let versions = profile.versions.iter_mut();
            for resource in versions.flat_map(|version| version.resources.iter_mut().flatten()) {
                resource.cust_operations = None;
            }
        }
    }),
    (6, |description| description.api_status = None),
    (7, |description| {
        for profile in profiles(description) {
            profile.service_kpis = None;
            profile.ue_ip_range = None;
        }
    }),
    (8, |description| {
        for profile in profiles(description) {
            profile.grant_types = None;
            for interface in profile.interface_descriptions.iter_mut().flatten() {
                interface.grant_types = None;
            }
        }
    }),
    (10, |description| description.net_slice_info = None),
];

fn profiles(description: &mut ServiceApiDescription) -> impl Iterator<Item = &mut AefProfile> {
    description.aef_profiles.iter_mut().flatten()
}

/// Agrees on features, and leaves what belongs to others out: it is neither kept nor obeyed (TS 29.222 clause 7.8). A description that
/// replaces another and names no features stays with those that were agreed on.
pub(super) fn agree(description: &mut ServiceApiDescription, held: Option<&SupportedFeatures>) {
    let offered = description.supported_features.take();
    let agreed = offered
        .map(|offered| offered.intersect(&SupportedFeatures::from(FEATURES)))
        .or_else(|| held.cloned());
    let has = |number| agreed.as_ref().is_some_and(|agreed| agreed.has(number));
    for (number, strip) in GATES {
        if !has(number) {
            strip(description);
        }
    }
    description.supported_features = agreed;
}
