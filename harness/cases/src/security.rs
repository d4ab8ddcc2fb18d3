//! What is wrong with the security of a device that its types cannot say.

use std::collections::BTreeMap;

use crate::ast::{At, DeviceSetup};
use crate::problem::{Mistake, Place};
use crate::words::nearest;

/// The longest PSK identity and key that every implementation takes, in bytes (RFC 4279 section 5.3).
const LONGEST: (usize, usize) = (128, 64);

fn mistake(at: crate::ast::Pos, message: String, help: Option<String>) -> Mistake {
    let mut mistake = Mistake::new("security", Place::from(at), message);
    mistake.help = help;
    mistake
}

fn unknown(name: Option<&At<String>>, devices: &BTreeMap<String, DeviceSetup>) -> Option<Mistake> {
    let name = name.filter(|name| !devices.contains_key(&name.value))?;
    let near = nearest(&name.value, devices.keys().map(String::as_str));
    Some(mistake(
        name.pos,
        format!("there is no device `{}`", name.value),
        near.map(|near| format!("did you mean `{near}`?")),
    ))
}

/// What is wrong with the security of a device of a case.
pub(crate) fn mistakes(setup: &DeviceSetup, devices: &BTreeMap<String, DeviceSetup>, all: &mut Vec<Mistake>) {
    all.extend(unknown(setup.endpoint_of.as_ref(), devices));
    let Some(security) = &setup.security else { return };
    for name in [&security.identity_of, &security.key_of] {
        all.extend(unknown(name.as_ref(), devices));
        if let Some(name) = name
            && devices
                .get(&name.value)
                .is_some_and(|other| other.security.is_none() && other != setup)
        {
            all.push(mistake(
                name.pos,
                format!("device `{}` has no `security`", name.value),
                Some("give it one, `security: {}` at the least".to_owned()),
            ));
        }
    }
    if let (Some(_), Some(of)) = (&security.identity, &security.identity_of) {
        let help = "`identity` is a text, `identity-of` names a device";
        all.push(mistake(
            of.pos,
            "a device presents one identity".to_owned(),
            Some(help.to_owned()),
        ));
    }
    if let (Some(_), Some(of)) = (&security.key, &security.key_of) {
        all.push(mistake(of.pos, "a device has one key".to_owned(), None));
    }
    if let (Some(of), Some(true)) = (&security.identity_of, security.known) {
        all.push(mistake(
            of.pos,
            "the server knows each identity once".to_owned(),
            Some("`known` goes with an identity of the device's own".to_owned()),
        ));
    }
    if let Some(identity) = &security.identity
        && !(1..=LONGEST.0).contains(&identity.value.len())
    {
        let message = format!("a PSK identity has 1 to {} bytes (RFC 4279 section 5.3)", LONGEST.0);
        all.push(mistake(identity.pos, message, None));
    }
    if let Some(key) = &security.key
        && !(1..=LONGEST.1).contains(&key.value.0.len())
    {
        let message = format!("a pre-shared key has 1 to {} bytes (RFC 4279 section 5.3)", LONGEST.1);
        all.push(mistake(key.pos, message, None));
    }
}
