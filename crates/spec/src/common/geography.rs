//! Where something stands: postal addresses and areas on the map (TS 29.572 clause 6.1.6, RFC 4119), kept as they come.

use serde_json::Value;

use super::OpenObject;
use crate::checked::Violation;

/// What an element of an area must be.
#[derive(Clone, Copy)]
enum Element {
    /// A number between these two.
    Number(f64, f64),
    /// The same without a fraction.
    Whole(i64, i64),
    /// Longitude and latitude.
    Point,
    /// 3 to 15 of them.
    Points,
    /// An ellipse of uncertainty.
    Ellipse,
}

use Element::{Ellipse, Number, Point, Points, Whole};

const DISTANCE: Element = Number(0.0, f64::MAX);
const HEIGHT: Element = Number(-32_767.0, 32_767.0);
const PERCENT: Element = Whole(0, 100);
const ANGLE: Element = Whole(0, 360);

/// The shapes with the elements that each must have.
const SHAPES: &[(&str, &[(&str, Element)])] = &[
    ("POINT", &[("point", Point)]),
    (
        "POINT_UNCERTAINTY_CIRCLE",
        &[("point", Point), ("uncertainty", DISTANCE)],
    ),
    (
        "POINT_UNCERTAINTY_ELLIPSE",
        &[
            ("point", Point),
            ("uncertaintyEllipse", Ellipse),
            ("confidence", PERCENT),
        ],
    ),
    ("POLYGON", &[("pointList", Points)]),
    ("POINT_ALTITUDE", &[("point", Point), ("altitude", HEIGHT)]),
    (
        "POINT_ALTITUDE_UNCERTAINTY",
        &[
            ("point", Point),
            ("altitude", HEIGHT),
            ("uncertaintyEllipse", Ellipse),
            ("uncertaintyAltitude", DISTANCE),
            ("confidence", PERCENT),
        ],
    ),
    (
        "ELLIPSOID_ARC",
        &[
            ("point", Point),
            ("innerRadius", Whole(0, 327_675)),
            ("uncertaintyRadius", DISTANCE),
            ("offsetAngle", ANGLE),
            ("includedAngle", ANGLE),
            ("confidence", PERCENT),
        ],
    ),
];

const POINT: &[(&str, Element)] = &[("lon", Number(-180.0, 180.0)), ("lat", Number(-90.0, 90.0))];

const ELLIPSE: &[(&str, Element)] = &[
    ("semiMajor", DISTANCE),
    ("semiMinor", DISTANCE),
    ("orientationMajor", Whole(0, 180)),
];

/// Checks a postal address: every element but those of vendors is a text (TS 29.572 table 6.1.6.2.9-1).
pub(crate) fn civic_address(member: &str, address: Option<&OpenObject>) -> Result<(), Violation> {
    let wrong = address.into_iter().flatten().find(|(name, value)| {
        let known = name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        known && !value.is_string()
    });
    match wrong {
        Some((name, _)) => Err(Violation::new(
            format!("/{member}/{name}"),
            format!("`{name}` is a text"),
        )),
        None => Ok(()),
    }
}

/// Checks an area: what its shape asks for is there (TS 29.572 table 6.1.6.2.1-1). Of a shape that is not known, a point or several
/// must be.
pub(crate) fn area(member: &str, area: Option<&OpenObject>) -> Result<(), Violation> {
    let Some(area) = area else {
        return Ok(());
    };
    let Some(shape) = area.get("shape").and_then(Value::as_str) else {
        return Err(Violation::new(
            format!("/{member}/shape"),
            "`shape` names the shape of the area",
        ));
    };
    let wrong = match SHAPES.iter().find(|(name, _)| *name == shape) {
        Some((_, elements)) => first_wrong(area, elements),
        None => {
            let fits = |element: &(&'static str, Element)| first_wrong(area, &[*element]).is_none();
            let some = [("point", Point), ("pointList", Points)].iter().any(fits);
            (!some).then_some("point")
        }
    };
    match wrong {
        Some(name) => Err(Violation::new(
            format!("/{member}/{name}"),
            format!("`{name}` is not what this shape asks for"),
        )),
        None => Ok(()),
    }
}

fn first_wrong(object: &OpenObject, elements: &[(&'static str, Element)]) -> Option<&'static str> {
    let wrong = |(name, element): &&(&'static str, Element)| {
        !object.get(*name).is_some_and(|value| fits(value, *element))
    };
    elements.iter().find(wrong).map(|(name, _)| *name)
}

fn fits(value: &Value, element: Element) -> bool {
    let all = |elements| {
        let object = value.as_object();
        object.is_some_and(|object| first_wrong(object, elements).is_none())
    };
    match element {
        Number(least, most) => value
            .as_f64()
            .is_some_and(|number| (least..=most).contains(&number)),
        Whole(least, most) => value
            .as_i64()
            .is_some_and(|number| (least..=most).contains(&number)),
        Point => all(POINT),
        Ellipse => all(ELLIPSE),
        Points => value.as_array().is_some_and(|points| {
            (3..=15).contains(&points.len()) && points.iter().all(|point| fits(point, Point))
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn culprit(document: Value) -> Option<String> {
        let object = document.as_object().unwrap();
        area("geoArea", Some(object))
            .err()
            .map(|violation| violation.pointer)
    }

    #[test]
    fn each_shape_asks_for_its_elements() {
        let point = json!({ "lon": 8.6, "lat": 50.1 });
        let ellipse = json!({ "semiMajor": 2, "semiMinor": 1.5, "orientationMajor": 90 });
        let good = [
            json!({ "shape": "POINT", "point": point }),
            json!({ "shape": "POINT_UNCERTAINTY_CIRCLE", "point": point, "uncertainty": 0 }),
            json!({ "shape": "POINT_UNCERTAINTY_ELLIPSE", "point": point, "uncertaintyEllipse": ellipse, "confidence": 95 }),
            json!({ "shape": "POLYGON", "pointList": [point, point, point] }),
            json!({ "shape": "POINT_ALTITUDE", "point": point, "altitude": -1.5 }),
            json!({ "shape": "POINT_ALTITUDE_UNCERTAINTY", "point": point, "altitude": 1, "uncertaintyEllipse": ellipse,
                    "uncertaintyAltitude": 2, "confidence": 0 }),
            json!({ "shape": "ELLIPSOID_ARC", "point": point, "innerRadius": 5, "uncertaintyRadius": 1, "offsetAngle": 0,
                    "includedAngle": 360, "confidence": 100 }),
            json!({ "shape": "BLOB", "point": point }),
        ];
        for document in &good {
            assert_eq!(culprit(document.clone()), None, "{document}");
            for name in document.as_object().unwrap().keys() {
                let mut without = document.clone();
                without.as_object_mut().unwrap().remove(name);
                assert_eq!(culprit(without), Some(format!("/geoArea/{name}")));
                let mut wrong = document.clone();
                wrong[name] = json!(-40_000);
                assert_eq!(culprit(wrong), Some(format!("/geoArea/{name}")));
            }
        }
        for (shape, wrong) in [
            ("POLYGON", json!({ "pointList": [point, point] })),
            ("POLYGON", json!({ "pointList": vec![point.clone(); 16] })),
            ("BLOB", json!({})),
            ("POINT", json!({ "point": { "lon": 181, "lat": 0 } })),
        ] {
            let mut document = wrong;
            document["shape"] = json!(shape);
            assert!(culprit(document.clone()).is_some(), "{document}");
        }
    }

    #[test]
    fn an_address_is_made_of_texts() {
        let check = |document: Value| civic_address("civicAddr", document.as_object());
        assert!(check(json!({ "country": "DE", "A3": "Bonn", "vendorSpecific-1": 7 })).is_ok());
        let violation = check(json!({ "country": "DE", "A3": 7 })).unwrap_err();
        assert_eq!(violation.pointer, "/civicAddr/A3");
    }
}
