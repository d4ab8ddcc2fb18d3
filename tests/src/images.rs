//! Cases that push images of any size.

use fotaproof_cases::{Library, LoadedCase, Parameters};

/// A case that pushes an image of `size` bytes in blocks of `block`, with all checks on.
///
/// # Panics
/// Never, unless the case language changes under it.
#[must_use]
pub fn push(size: u64, block: u16) -> LoadedCase {
    // at 40 ms a block the largest image takes half a day of the device's time
    let text = format!(
        "title: A large image is pushed\n\
         purpose: Every block of a large image is acknowledged and stored once.\n\
         needs: [push]\n\
         clauses: [rfc7959/2.5]\n\
         defects: [ack-wrong-num]\n\
         limit: 24h\n\
         firmware: {{package: valid, size: {size}}}\n\
         given:\n\
         \x20 - await: registration\n\
         steps:\n\
         \x20 - push: {{block: {block}}}\n\
         \x20   expect: {{code: 2.04, ends: 2/0, image: firmware, within: 24h}}\n"
    );
    let path = format!("bench/push-{size}-{block}.yaml");
    let (mut cases, problems) = Library::from_files([(path.as_str(), text.as_str())]).load(&Parameters::default());
    assert!(
        problems.is_empty(),
        "{}",
        fotaproof_cases::render_all(&problems, fotaproof_cases::Style::Plain)
    );
    assert_eq!(cases.len(), 1);
    cases.remove(0)
}
