//! What the numbers of the update objects mean.

/// The name of a State of the Firmware Update object (object 5, resource 3).
#[must_use]
pub const fn state_name(state: u8) -> &'static str {
    match state {
        0 => "Idle",
        1 => "Downloading",
        2 => "Downloaded",
        3 => "Updating",
        _ => "undefined",
    }
}

/// The name of an Update Result of the Firmware Update object (object 5, resource 5).
#[must_use]
pub const fn result_name(result: u8) -> &'static str {
    match result {
        0 => "Initial",
        1 => "Success",
        2 => "not enough flash",
        3 => "out of RAM",
        4 => "connection lost",
        5 => "integrity check failed",
        6 => "unsupported package type",
        7 => "invalid URI",
        8 => "update failed",
        9 => "unsupported protocol",
        10 => "cancelled",
        11 => "deferred",
        _ => "undefined",
    }
}
