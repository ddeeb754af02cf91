//! What the operating system reports about this process. Only Linux has these files; elsewhere the gauges stay 0.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// The gauges, under the standard names: <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    resident_memory: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
}

impl Gauges {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let gauges = Self::default();
        let help = "Resident memory of the process";
        registry.register_with_unit("process_resident_memory", help, Unit::Bytes, gauges.resident_memory.clone());
        registry.register("process_open_fds", "Open file descriptors of the process", gauges.open_fds.clone());
        registry.register("process_max_fds", "Maximum of open file descriptors", gauges.max_fds.clone());
        gauges
    }

    /// Reads the figures of this moment. One that cannot be read keeps its value.
    pub(super) fn update(&self) {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
        if let Some(kilobytes) = number(&read("status"), "VmRSS:") {
            self.resident_memory.set(kilobytes.saturating_mul(1024));
        }
        if let Some(limit) = number(&read("limits"), "Max open files") {
            self.max_fds.set(limit);
        }
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            let open = entries.count().saturating_sub(1); // reading the folder opens one
            self.open_fds.set(i64::try_from(open).unwrap_or(i64::MAX));
        }
    }
}

/// Resident memory of the process in bytes; 0 where the system does not report it.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    number(&status, "VmRSS:").and_then(|kilobytes| u64::try_from(kilobytes).ok()).unwrap_or(0).saturating_mul(1024)
}

/// The first number of the line that begins with `name`.
fn number(text: &str, name: &str) -> Option<i64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_linux_are_read() {
        assert_eq!(number("VmPeak:\t  9 kB\nVmRSS:\t    7236 kB\n", "VmRSS:"), Some(7236));
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(number(limits, "Max open files"), Some(1024));
        assert_eq!(
            number("Max open files            unlimited            unlimited            files", "Max open files"),
            None
        );
        assert_eq!(number("", "VmRSS:"), None);
    }
}
