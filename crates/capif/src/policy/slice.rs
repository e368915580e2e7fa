//! How a network slice is written on a command line.

use capif_spec::common::{Checked, NetSliceId, Snssai};

/// `SST`, `SST-SD`, `nsi=ID` or `ensi=ID`.
pub(super) fn slice(text: &str) -> Result<NetSliceId, String> {
    let wrong = || "a slice is SST or SST-SD, like 1 or 1-00000a, or nsi=ID, or ensi=ID".to_owned();
    let slice = match text.split_once('=') {
        Some(("nsi", id)) => NetSliceId {
            nsi_id: Some(id.to_owned()),
            ..NetSliceId::default()
        },
        Some(("ensi", id)) => NetSliceId {
            ensi: Some(id.to_owned()),
            ..NetSliceId::default()
        },
        Some(_) => return Err(wrong()),
        None => {
            let (sst, sd) = match text.split_once('-') {
                Some((sst, sd)) => (sst, Some(sd.to_owned())),
                None => (text, None),
            };
            NetSliceId {
                snssai: Some(Snssai {
                    sst: sst.parse().map_err(|_| wrong())?,
                    sd,
                    extra: Default::default(),
                }),
                ..NetSliceId::default()
            }
        }
    };
    slice.check().map_err(|violation| violation.reason)?;
    Ok(slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn slices_are_read() {
        for (text, expected) in [
            ("1", json!({ "snssai": { "sst": 1 } })),
            (
                "255-00000A",
                json!({ "snssai": { "sst": 255, "sd": "00000A" } }),
            ),
            ("nsi=one", json!({ "nsiId": "one" })),
            ("ensi=a=b", json!({ "ensi": "a=b" })),
        ] {
            assert_eq!(
                serde_json::to_value(slice(text).unwrap()).unwrap(),
                expected
            );
        }
        for text in ["", "256", "1-a", "1-00000g", "x=1", "-00000a", "1-00000a-1"] {
            assert!(slice(text).is_err(), "{text}");
        }
    }
}
