//! The tables: what each version of an object defines, in our own form, checked against the registry's files in development.

use fotaproof_wire::ValueType::{self, Boolean, Float, Integer, ObjectLink, Opaque, String, Time, Unsigned};

use super::{Access, Resource, Row, Version};

const NONE: Access = Access {
    read: false,
    write: false,
    execute: false,
};
const R: Access = Access { read: true, ..NONE };
const W: Access = Access { write: true, ..NONE };
const RW: Access = Access {
    read: true,
    write: true,
    ..NONE
};
const E: Access = Access { execute: true, ..NONE };

const fn single(id: u16, name: &'static str, access: Access, value_type: Option<ValueType>) -> Resource {
    Resource {
        id,
        name,
        access,
        multiple: false,
        mandatory: false,
        value_type,
        range: None,
        first: Version(1, 0),
        last: Version(u8::MAX, u8::MAX),
    }
}

const fn multi(id: u16, name: &'static str, access: Access, value_type: Option<ValueType>) -> Resource {
    let mut resource = single(id, name, access, value_type);
    resource.multiple = true;
    resource
}

impl Resource {
    const fn mandatory(mut self) -> Self {
        self.mandatory = true;
        self
    }

    const fn range(mut self, low: i64, high: i64) -> Self {
        self.range = Some((low, high));
        self
    }

    const fn since(mut self, major: u8, minor: u8) -> Self {
        self.first = Version(major, minor);
        self
    }

    const fn until(mut self, major: u8, minor: u8) -> Self {
        self.last = Version(major, minor);
        self
    }
}

const fn row(
    id: u16,
    name: &'static str,
    multiple: bool,
    mandatory: bool,
    minors: u8,
    resources: &'static [Resource],
) -> Row {
    Row {
        id,
        name,
        multiple,
        mandatory,
        newest: Version(1, minors),
        resources,
    }
}

/// Objects 0 to 6 and 9.
pub(super) const OBJECTS: &[Row] = &[
    row(0, "LwM2M Security", true, true, 2, O0),
    row(1, "LwM2M Server", true, true, 2, O1),
    row(2, "LwM2M Access Control", true, false, 1, O2),
    row(3, "Device", false, true, 2, O3),
    row(4, "Connectivity Monitoring", false, false, 3, O4),
    row(5, "Firmware Update", false, false, 2, O5),
    row(6, "Location", false, false, 0, O6),
    row(9, "LwM2M Software Management", true, false, 0, O9),
];

const O0: &[Resource] = &[
    single(0, "LwM2M Server URI", NONE, Some(String))
        .mandatory()
        .range(0, 255),
    single(1, "Bootstrap-Server", NONE, Some(Boolean)).mandatory(),
    single(2, "Security Mode", NONE, Some(Integer)).mandatory().range(0, 4),
    single(3, "Public Key or Identity", NONE, Some(Opaque)).mandatory(),
    single(4, "Server Public Key", NONE, Some(Opaque)).mandatory(),
    single(5, "Secret Key", NONE, Some(Opaque)).mandatory(),
    single(6, "SMS Security Mode", NONE, Some(Integer)).range(0, 255),
    single(7, "SMS Binding Key Parameters", NONE, Some(Opaque)),
    single(8, "SMS Binding Secret Key(s)", NONE, Some(Opaque)),
    single(9, "LwM2M Server SMS Number", NONE, Some(String)),
    single(10, "Short Server ID", NONE, Some(Integer)).range(1, 65534),
    single(11, "Client Hold Off Time", NONE, Some(Integer)),
    single(12, "Bootstrap-Server Account Timeout", NONE, Some(Integer)),
    single(13, "Matching Type", NONE, Some(Unsigned))
        .range(0, 3)
        .since(1, 1),
    single(14, "SNI", NONE, Some(String)).since(1, 1),
    single(15, "Certificate Usage", NONE, Some(Unsigned))
        .range(0, 3)
        .since(1, 1),
    multi(16, "DTLS/TLS Ciphersuite", NONE, Some(Unsigned)).since(1, 1),
    single(17, "OSCORE Security Mode", NONE, Some(ObjectLink)).since(1, 1),
    multi(18, "Groups To Use by Client", NONE, Some(Unsigned))
        .range(0, 65535)
        .since(1, 2),
    multi(19, "Signature Algorithms Supported by Server", NONE, Some(Unsigned))
        .range(0, 65535)
        .since(1, 2),
    multi(20, "Signature Algorithms To Use by Client", NONE, Some(Unsigned))
        .range(0, 65535)
        .since(1, 2),
    multi(
        21,
        "Signature Algorithm Certs Supported by Server",
        NONE,
        Some(Unsigned),
    )
    .range(0, 65535)
    .since(1, 2),
    single(22, "TLS 1.3 Features To Use by Client", NONE, Some(Unsigned))
        .range(0, 65535)
        .since(1, 2),
    single(23, "TLS Extensions Supported by Server", NONE, Some(Unsigned))
        .range(0, 65535)
        .since(1, 2),
    single(24, "TLS Extensions To Use by Client", NONE, Some(Unsigned))
        .range(0, 65535)
        .since(1, 2),
    multi(25, "Secondary LwM2M Server URI", NONE, Some(String))
        .range(0, 255)
        .since(1, 2),
    single(26, "MQTT Server", NONE, Some(ObjectLink)).since(1, 2),
    multi(27, "LwM2M COSE Security", NONE, Some(ObjectLink)).since(1, 2),
    single(28, "RDS Destination Port", NONE, Some(Integer))
        .range(0, 15)
        .since(1, 2),
    single(29, "RDS Source Port", NONE, Some(Integer))
        .range(0, 15)
        .since(1, 2),
    single(30, "RDS Application ID", NONE, Some(String)).since(1, 2),
];
const O1: &[Resource] = &[
    single(0, "Short Server ID", R, Some(Integer))
        .mandatory()
        .range(1, 65535)
        .until(1, 0),
    single(0, "Short Server ID", R, Some(Integer))
        .mandatory()
        .range(1, 65534)
        .since(1, 1),
    single(1, "Lifetime", RW, Some(Integer)).mandatory(),
    single(2, "Default Minimum Period", RW, Some(Integer)),
    single(3, "Default Maximum Period", RW, Some(Integer)),
    single(4, "Disable", E, None),
    single(5, "Disable Timeout", RW, Some(Integer)),
    single(6, "Notification Storing When Disabled or Offline", RW, Some(Boolean)).mandatory(),
    single(7, "Binding", RW, Some(String)).mandatory(),
    single(8, "Registration Update Trigger", E, None).mandatory(),
    single(9, "Bootstrap-Request Trigger", E, None).since(1, 1),
    single(10, "APN Link", RW, Some(ObjectLink)).since(1, 1),
    single(11, "TLS-DTLS Alert Code", R, Some(Unsigned))
        .range(0, 255)
        .since(1, 1),
    single(12, "Last Bootstrapped", R, Some(Time)).since(1, 1),
    single(13, "Registration Priority Order", NONE, Some(Unsigned))
        .since(1, 1)
        .until(1, 1),
    single(13, "Registration Priority Order", R, Some(Unsigned)).since(1, 2),
    single(14, "Initial Registration Delay Timer", NONE, Some(Unsigned))
        .since(1, 1)
        .until(1, 1),
    single(14, "Initial Registration Delay Timer", RW, Some(Unsigned)).since(1, 2),
    single(15, "Registration Failure Block", NONE, Some(Boolean))
        .since(1, 1)
        .until(1, 1),
    single(15, "Registration Failure Block", R, Some(Boolean)).since(1, 2),
    single(16, "Bootstrap on Registration Failure", NONE, Some(Boolean))
        .since(1, 1)
        .until(1, 1),
    single(16, "Bootstrap on Registration Failure", R, Some(Boolean)).since(1, 2),
    single(17, "Communication Retry Count", NONE, Some(Unsigned))
        .since(1, 1)
        .until(1, 1),
    single(17, "Communication Retry Count", RW, Some(Unsigned)).since(1, 2),
    single(18, "Communication Retry Timer", NONE, Some(Unsigned))
        .since(1, 1)
        .until(1, 1),
    single(18, "Communication Retry Timer", RW, Some(Unsigned)).since(1, 2),
    single(19, "Communication Sequence Delay Timer", NONE, Some(Unsigned))
        .since(1, 1)
        .until(1, 1),
    single(19, "Communication Sequence Delay Timer", RW, Some(Unsigned)).since(1, 2),
    single(20, "Communication Sequence Retry Count", NONE, Some(Unsigned))
        .since(1, 1)
        .until(1, 1),
    single(20, "Communication Sequence Retry Count", RW, Some(Unsigned)).since(1, 2),
    single(21, "Trigger", RW, Some(Boolean)).since(1, 1),
    single(22, "Preferred Transport", RW, Some(String)).since(1, 1),
    single(23, "Mute Send", RW, Some(Boolean)).since(1, 1),
    multi(24, "Alternate APN Links", RW, Some(ObjectLink)).since(1, 2),
    multi(25, "Supported Server Versions", RW, Some(String)).since(1, 2),
    single(26, "Default Notification Mode", RW, Some(Integer))
        .range(0, 1)
        .since(1, 2),
    single(27, "Profile ID Hash Algorithm", RW, Some(Unsigned))
        .range(0, 255)
        .since(1, 2),
];
const O2: &[Resource] = &[
    single(0, "Object ID", R, Some(Integer)).mandatory().range(1, 65534),
    single(1, "Object Instance ID", R, Some(Integer))
        .mandatory()
        .range(0, 65535),
    multi(2, "ACL", RW, Some(Integer)).until(1, 0),
    multi(2, "ACL", RW, Some(Integer)).range(0, 31).since(1, 1),
    single(3, "Access Control Owner", RW, Some(Integer))
        .mandatory()
        .range(0, 65535),
];
const O3: &[Resource] = &[
    single(0, "Manufacturer", R, Some(String)),
    single(1, "Model Number", R, Some(String)),
    single(2, "Serial Number", R, Some(String)),
    single(3, "Firmware Version", R, Some(String)),
    single(4, "Reboot", E, None).mandatory(),
    single(5, "Factory Reset", E, None),
    multi(6, "Available Power Sources", R, Some(Integer)).range(0, 7),
    multi(7, "Power Source Voltage", R, Some(Integer)),
    multi(8, "Power Source Current", R, Some(Integer)),
    single(9, "Battery Level", R, Some(Integer)).range(0, 100),
    single(10, "Memory Free", R, Some(Integer)),
    multi(11, "Error Code", R, Some(Integer))
        .mandatory()
        .range(0, 8)
        .until(1, 1),
    multi(11, "Error Code", R, Some(Integer))
        .mandatory()
        .range(0, 32)
        .since(1, 2),
    single(12, "Reset Error Code", E, None),
    single(13, "Current Time", RW, Some(Time)),
    single(14, "UTC Offset", RW, Some(String)),
    single(15, "Timezone", RW, Some(String)),
    single(16, "Supported Binding and Modes", R, Some(String)).mandatory(),
    single(17, "Device Type", R, Some(String)),
    single(18, "Hardware Version", R, Some(String)),
    single(19, "Software Version", R, Some(String)),
    single(20, "Battery Status", R, Some(Integer)).range(0, 6),
    single(21, "Memory Total", R, Some(Integer)),
    multi(22, "ExtDevInfo", R, Some(ObjectLink)),
];
const O4: &[Resource] = &[
    single(0, "Network Bearer", R, Some(Integer)).mandatory().range(0, 50),
    multi(1, "Available Network Bearer", R, Some(Integer))
        .mandatory()
        .range(0, 50),
    single(2, "Radio Signal Strength", R, Some(Integer)).mandatory(),
    single(3, "Link Quality", R, Some(Integer)),
    multi(4, "IP Addresses", R, Some(String)).mandatory(),
    multi(5, "Router IP Addresses", R, Some(String)),
    single(6, "Link Utilization", R, Some(Integer)).range(0, 100),
    multi(7, "APN", R, Some(String)),
    single(8, "Cell ID", R, Some(Integer)),
    single(9, "SMNC", R, Some(Integer)).range(0, 999),
    single(10, "SMCC", R, Some(Integer)).range(0, 999),
    single(11, "SignalSNR", R, Some(Integer)).since(1, 1),
    single(12, "LAC", R, Some(Integer)).since(1, 2),
    single(13, "Coverage Enhancement Level", R, Some(Integer))
        .range(0, 4)
        .since(1, 3),
];
const O5: &[Resource] = &[
    single(0, "Package", W, Some(Opaque)).mandatory(),
    single(1, "Package URI", RW, Some(String)).mandatory().range(0, 255),
    single(2, "Update", E, None).mandatory(),
    single(3, "State", R, Some(Integer)).mandatory().range(0, 3),
    single(5, "Update Result", R, Some(Integer))
        .mandatory()
        .range(0, 9)
        .until(1, 0),
    single(5, "Update Result", R, Some(Integer))
        .mandatory()
        .range(0, 11)
        .since(1, 1),
    single(6, "PkgName", R, Some(String)).range(0, 255),
    single(7, "PkgVersion", R, Some(String)).range(0, 255),
    multi(8, "Firmware Update Protocol Support", R, Some(Integer)).range(0, 5),
    single(9, "Firmware Update Delivery Method", R, Some(Integer))
        .mandatory()
        .range(0, 2),
    single(10, "Cancel", E, None).since(1, 1),
    single(11, "Severity", RW, Some(Integer)).range(0, 2).since(1, 1),
    single(12, "Last State Change Time", R, Some(Time)).since(1, 1),
    single(13, "Maximum Defer Period", RW, Some(Unsigned)).since(1, 1),
    single(14, "Automatic Upgrade at Download", RW, Some(Boolean)).since(1, 2),
];
const O6: &[Resource] = &[
    single(0, "Latitude", R, Some(Float)).mandatory().range(-90, 90),
    single(1, "Longitude", R, Some(Float)).mandatory().range(-180, 180),
    single(2, "Altitude", R, Some(Float)),
    single(3, "Radius", R, Some(Float)),
    single(4, "Velocity", R, Some(Opaque)),
    single(5, "Timestamp", R, Some(Time)).mandatory(),
    single(6, "Speed", R, Some(Float)),
];
const O9: &[Resource] = &[
    single(0, "PkgName", R, Some(String)).mandatory().range(0, 255),
    single(1, "PkgVersion", R, Some(String)).mandatory().range(0, 255),
    single(2, "Package", W, Some(Opaque)),
    single(3, "Package URI", W, Some(String)).range(0, 255),
    single(4, "Install", E, None).mandatory(),
    single(5, "Checkpoint", R, Some(ObjectLink)),
    single(6, "Uninstall", E, None).mandatory(),
    single(7, "Update State", R, Some(Integer)).mandatory().range(0, 4),
    single(8, "Update Supported Objects", RW, Some(Boolean)),
    single(9, "Update Result", R, Some(Integer)).mandatory().range(0, 200),
    single(10, "Activate", E, None).mandatory(),
    single(11, "Deactivate", E, None).mandatory(),
    single(12, "Activation State", R, Some(Boolean)).mandatory(),
    single(13, "Package Settings", RW, Some(ObjectLink)),
    single(14, "User Name", W, Some(String)).range(0, 255),
    single(15, "Password", W, Some(String)).range(0, 255),
    single(16, "Status Reason", R, Some(String)),
    multi(17, "Software Component Link", R, Some(ObjectLink)),
    single(18, "Software Component tree length", R, Some(Integer)).range(0, 255),
];
