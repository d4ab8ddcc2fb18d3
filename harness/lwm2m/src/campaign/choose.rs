//! The way a package goes: by Delivery Method and Protocol Support (OMA registry, object 5, resources 9 and 8).

use fotaproof_adapter::Method;

use super::known::Known;
use super::types::CampaignSpec;
use crate::server_defects::ServerDefect;

/// Most octets of a Package URI (OMA registry, object 5, resource 1).
const LONGEST_URI: usize = 255;

/// The schemes by their number in Protocol Support, which is also the order of preference.
const SCHEMES: [&str; 6] = ["coap", "coaps", "http", "https", "coap+tcp", "coaps+tcp"];

/// How the package goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    Push,
    Pull { uri: String },
}

/// Chooses the way.
///
/// # Errors
/// In words, why there is none.
pub(super) fn way(spec: &CampaignSpec, known: &Known) -> Result<Way, String> {
    let has = |defect| spec.defects.contains(&defect);
    let delivery = known.delivery.get().copied();
    if delivery == Some(1) && has(ServerDefect::UriToPushDevice) {
        return any_uri(spec).map(|uri| Way::Pull { uri });
    }
    if delivery == Some(0) && has(ServerDefect::PushToPullDevice) {
        return Ok(Way::Push);
    }
    match (spec.method, delivery) {
        (Method::Push, Some(0)) => Err("the device only pulls (/5/0/9 is 0)".to_owned()),
        (Method::Pull, Some(1)) => Err("the device takes pushes only (/5/0/9 is 1)".to_owned()),
        (Method::Pull, _) | (Method::Auto, Some(0)) => pull(spec, known),
        (Method::Push | Method::Auto, _) => Ok(Way::Push),
    }
}

fn pull(spec: &CampaignSpec, known: &Known) -> Result<Way, String> {
    if spec.defects.contains(&ServerDefect::HttpToCoapDevice) {
        let uri = any_uri(spec)?;
        let rest = uri.split_once("://").map_or(uri.as_str(), |(_, rest)| rest);
        return Ok(Way::Pull {
            uri: format!("http://{rest}"),
        });
    }
    // Without the resource the device has CoAP only.
    let listed = known.protocols.get().map_or(&[0][..], Vec::as_slice);
    let schemes = SCHEMES.iter().zip(0_u8..).filter(|(_, number)| listed.contains(number));
    let offered: Vec<&String> = schemes.filter_map(|(scheme, _)| spec.uris.get(*scheme)).collect();
    let any_length = spec.defects.contains(&ServerDefect::UriTooLong);
    let short = |uri: &&&String| any_length || uri.len() <= LONGEST_URI;
    match (offered.iter().find(short), offered.first()) {
        (Some(uri), _) => Ok(Way::Pull { uri: (*uri).clone() }),
        (None, Some(uri)) => Err(format!(
            "the URI has {} octets, and a Package URI has at most {LONGEST_URI}",
            uri.len()
        )),
        (None, None) => Err(format!(
            "no URI has a scheme that the device lists (/5/0/8: {listed:?})"
        )),
    }
}

/// The first URI there is.
pub(super) fn any_uri(spec: &CampaignSpec) -> Result<String, String> {
    spec.uris
        .values()
        .next()
        .cloned()
        .ok_or_else(|| "there is no URI".to_owned())
}
