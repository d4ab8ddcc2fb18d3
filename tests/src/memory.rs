//! The memory of this process, as the kernel counts it.

/// The most memory that this process ever held in RAM, in bytes (`VmHWM` of `/proc/self/status`).
#[must_use]
pub fn peak() -> Option<u64> {
    field("VmHWM:")
}

/// The memory that this process holds in RAM now, in bytes (`VmRSS`).
#[must_use]
pub fn now() -> Option<u64> {
    field("VmRSS:")
}

fn field(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
