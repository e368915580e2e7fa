//! The features of each API (TS 29.222 clauses 8.x.6 and 9.x.6), as data: what a bit is called, and where it stands.
//!
//! Which of them are served is the procedures' to say; a feature counts for a resource once both sides named it (TS 29.222 clause
//! 7.8).

/// One feature of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its number, from 1.
    pub bit: u32,
    /// Its name.
    pub name: &'static str,
}

const fn feature(bit: u32, name: &'static str) -> Feature {
    Feature { bit, name }
}

/// The features of every API, by the first segment of its paths.
pub const FEATURES: &[(&str, &[Feature])] = &[
    (
        "service-apis",
        &[
            feature(1, "ApiSupportedFeatureQuery"),
            feature(2, "VendSpecQueryParams"),
            feature(3, "RNAA"),
            feature(4, "SliceBasedAPIExposure"),
        ],
    ),
    (
        "published-apis",
        &[
            feature(1, "ApiSupportedFeaturePublishing"),
            feature(2, "PatchUpdate"),
            feature(3, "ExtendedIntfDesc"),
            feature(4, "MultipleCustomOperations"),
            feature(5, "ProtocDataFormats_Ext1"),
            feature(6, "ApiStatusMonitoring"),
            feature(7, "EdgeApp_2"),
            feature(8, "RNAA"),
            feature(9, "VendorExt"),
            feature(10, "SliceBasedAPIExposure"),
        ],
    ),
    (
        "capif-events",
        &[
            feature(1, "Notification_test_event"),
            feature(2, "Notification_websocket"),
            feature(3, "Enhanced_event_report"),
            feature(4, "ApiStatusMonitoring"),
        ],
    ),
    (
        "api-invoker-management",
        &[
            feature(1, "Notification_test_event"),
            feature(2, "Notification_websocket"),
            feature(3, "PatchUpdate"),
            feature(4, "ExpirationTime"),
        ],
    ),
    (
        "capif-security",
        &[
            feature(1, "Notification_test_event"),
            feature(2, "Notification_websocket"),
            feature(3, "SecurityInfoPerAPI"),
        ],
    ),
    ("access-control-policy", &[]),
    (
        "api-invocation-logs",
        &[feature(1, "SliceBasedAPIExposure")],
    ),
    (
        "logs",
        &[
            feature(1, "EnQueryInvokeLog"),
            feature(2, "SliceBasedAPIExposure"),
        ],
    ),
    (
        "api-provider-management",
        &[feature(1, "PatchUpdate"), feature(2, "RNAA")],
    ),
    ("capif-routing-info", &[]),
    ("open-api-disc", &[]),
    ("aef-security", &[feature(1, "CAPIF_Ext1")]),
];

/// The features of the API whose paths begin with this segment.
#[must_use]
pub fn of(segment: &str) -> Option<&'static [Feature]> {
    let found = FEATURES.iter().find(|(known, _)| *known == segment);
    found.map(|(_, features)| *features)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted_without_gaps() {
        for (api, features) in FEATURES {
            for (index, feature) in features.iter().enumerate() {
                assert_eq!(usize::try_from(feature.bit), Ok(index + 1), "{api}");
                assert!(!feature.name.is_empty());
            }
        }
        assert_eq!(FEATURES.len(), 12);
        assert!(of("unknown").is_none());
    }
}
