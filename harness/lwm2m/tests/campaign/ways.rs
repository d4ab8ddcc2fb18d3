//! Push or pull, and by which scheme (OMA registry, object 5, resources 8 and 9).

use std::collections::BTreeMap;

use fotaproof_lwm2m::campaign::{Method, UpdateStatus};
use fotaproof_wire::coap::Code;

use crate::talk::{Shown, Talk, spec};

fn asked(method: Method, delivery: Option<i64>) -> String {
    let mut spec = spec();
    spec.method = method;
    let talk = Talk::new(
        spec,
        Shown {
            delivery,
            ..Shown::default()
        },
    );
    if talk.status() == UpdateStatus::Failed {
        return talk.reason();
    }
    talk.asked()
}

#[test]
fn delivery_method_decides_and_the_caller_within_it() {
    let pull = "write /5/0/1 \"coap://192.0.2.1/fw\"";
    assert_eq!(asked(Method::Auto, Some(0)), pull);
    assert_eq!(asked(Method::Auto, Some(1)), "push");
    assert_eq!(asked(Method::Auto, Some(2)), "push");
    assert_eq!(asked(Method::Auto, None), "push");
    // A value that no version of object 5 has says nothing.
    assert_eq!(asked(Method::Auto, Some(7)), "push");
    assert_eq!(asked(Method::Pull, Some(7)), pull);
    assert_eq!(asked(Method::Pull, Some(2)), pull);
    assert_eq!(
        asked(Method::Pull, Some(1)),
        "the device takes pushes only (/5/0/9 is 1)"
    );
    assert_eq!(asked(Method::Push, Some(0)), "the device only pulls (/5/0/9 is 0)");
}

fn pull_with(protocols: Option<Vec<i64>>, uris: &[(&str, String)]) -> String {
    let mut spec = spec();
    spec.method = Method::Pull;
    spec.uris = uris
        .iter()
        .map(|(scheme, uri)| ((*scheme).to_owned(), uri.clone()))
        .collect::<BTreeMap<_, _>>();
    let talk = Talk::new(
        spec,
        Shown {
            protocols,
            ..Shown::default()
        },
    );
    if talk.status() == UpdateStatus::Failed {
        return talk.reason();
    }
    talk.asked()
}

#[test]
fn the_scheme_is_one_that_the_device_lists() {
    let all =
        ["coap", "coaps", "http", "https", "coap+tcp", "coaps+tcp"].map(|scheme| (scheme, format!("{scheme}://h/fw")));
    let scheme = |protocols| pull_with(protocols, &all).replace("write /5/0/1 ", "");
    assert_eq!(scheme(Some(vec![0])), "\"coap://h/fw\"");
    assert_eq!(scheme(Some(vec![1])), "\"coaps://h/fw\"");
    assert_eq!(scheme(Some(vec![2])), "\"http://h/fw\"");
    assert_eq!(scheme(Some(vec![3])), "\"https://h/fw\"");
    assert_eq!(scheme(Some(vec![4])), "\"coap+tcp://h/fw\"");
    assert_eq!(scheme(Some(vec![5])), "\"coaps+tcp://h/fw\"");
    // Unknown numbers are skipped, and a device without the resource has CoAP.
    assert_eq!(scheme(Some(vec![77, 2])), "\"http://h/fw\"");
    assert_eq!(scheme(None), "\"coap://h/fw\"");
    assert_eq!(
        scheme(Some(vec![77])),
        "no URI has a scheme that the device lists (/5/0/8: [77])"
    );
}

#[test]
fn a_uri_has_255_octets_at_most() {
    let of = |length: usize| [("coap", format!("coap://h/{}", "x".repeat(length - 9)))];
    assert!(pull_with(Some(vec![0]), &of(255)).starts_with("write /5/0/1"));
    assert_eq!(
        pull_with(Some(vec![0]), &of(256)),
        "the URI has 256 octets, and a Package URI has at most 255"
    );
    // Another scheme of the device may have a shorter one.
    let mut two = of(256).to_vec();
    two.push(("https", "https://h/fw".to_owned()));
    assert_eq!(pull_with(Some(vec![0, 3]), &two), "write /5/0/1 \"https://h/fw\"");
}

#[test]
fn of_several_schemes_the_first_is_taken_for_which_there_is_a_uri() {
    let https = [("https", "https://h/fw".to_owned())];
    assert_eq!(pull_with(Some(vec![0, 1, 3]), &https), "write /5/0/1 \"https://h/fw\"");
    assert_eq!(
        pull_with(Some(vec![0, 1, 2]), &https),
        "no URI has a scheme that the device lists (/5/0/8: [0, 1, 2])"
    );
    let two = [("http", "http://h/fw".to_owned()), ("coaps", "coaps://h/fw".to_owned())];
    // The order is that of the numbers, not that of the device.
    assert_eq!(pull_with(Some(vec![2, 1]), &two), "write /5/0/1 \"coaps://h/fw\"");
    assert_eq!(
        pull_with(Some(vec![0]), &[]),
        "no URI has a scheme that the device lists (/5/0/8: [0])"
    );
    // One that nobody has heard of is no scheme of object 5.
    let odd = [("ftp", "ftp://h/fw".to_owned())];
    assert_eq!(
        pull_with(Some(vec![0, 2]), &odd),
        "no URI has a scheme that the device lists (/5/0/8: [0, 2])"
    );
}

#[test]
fn a_refused_uri_fails_with_what_the_device_says() {
    let mut spec = spec();
    spec.method = Method::Pull;
    let mut talk = Talk::new(spec, Shown::default());
    talk.changes(0, 9);
    talk.answered(Code::BAD_REQUEST);
    assert_eq!(
        (talk.status(), talk.reason().as_str()),
        (UpdateStatus::Failed, "the device reports Result 9")
    );
}
