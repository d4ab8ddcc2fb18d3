//! The report of one device.

use super::{Device, TRANSFERS};
use crate::report::{AddressSeen, DeviceReport, TimelineEntry};
use crate::transfer::Transfer;
use crate::verdict;

impl Device {
    pub(crate) fn report(&self, strict: bool, complete: bool, mtu: bool) -> DeviceReport {
        let checks = verdict::checks(&self.judged, &self.findings, strict, complete, mtu);
        let mut traffic = self.traffic.clone();
        traffic.round_trip = self.round_trips.report();
        let mut timeline = self.timeline.clone();
        if self.transfers_dropped > 0 {
            timeline.push(TimelineEntry {
                at: timeline.last().map_or(0.0, |entry| entry.at),
                packet: 0,
                text: format!(
                    "{} further pieces of bodies beyond the {TRANSFERS} that are followed",
                    self.transfers_dropped
                ),
            });
        }
        DeviceReport {
            endpoint: self.name.clone(),
            registered: self.registered,
            addresses: self
                .addresses
                .iter()
                .map(|(address, packet)| AddressSeen {
                    address: address.to_string(),
                    packet: *packet,
                })
                .collect(),
            lwm2m: self.lwm2m.clone(),
            firmware_object: self.versions.announced.get(&5).map(ToString::to_string),
            registrations: self.registrations.clone(),
            verdict: verdict::of_device(&checks),
            findings: self.findings.iter().map(verdict::finding).collect(),
            checks,
            firmware: self.firmware.report(),
            transfers: self
                .transfers
                .iter()
                .filter(|transfer| transfer.is_shown())
                .map(Transfer::report)
                .collect(),
            traffic,
            timeline,
            timeline_dropped: self.timeline_dropped,
        }
    }
}
