//! The most memory that the process can take with a configuration, and the memory limit of the process.

use std::{fmt, fs, path::Path};

use bytesize::ByteSize;

use super::Config;
use crate::{dispatch, http};

const MIB: u64 = 1024 * 1024;
/// The memory of the idle process, in bytes.
const BASE: u64 = 32 * MIB;
/// An idle connection, in bytes: its task and its socket, including the kernel's part.
const CONNECTION: u64 = 6 * 1024;
/// A request in flight, in bytes: hyper's state and buffers, and the task. The body is not included.
const REQUEST: u64 = 32 * 1024;
/// How many times a body is in memory until it is stored: as received, as events, and as the data to write.
const BODY_COPIES: u64 = 3;
/// A key of the deduplication window, in bytes.
const KEY: u64 = 16;
/// The journal's caches and the most recent events, in bytes.
const JOURNAL: u64 = 64 * MIB;
/// Insight's caches and the page of events that it processes, in bytes.
const INSIGHT: u64 = 96 * MIB;
/// A handler, in bytes: the claimed events of its two lanes, and 4 MiB for a delivery. Replays and set-aside
/// events are not counted.
const HANDLER: u64 = 2 * dispatch::WINDOW_BYTES as u64 + 4 * MIB;

/// The most memory that each part of the process can take, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    parts: [(&'static str, u64); 7],
}

impl Memory {
    /// The upper bounds for this configuration.
    pub fn of(config: &Config) -> Self {
        let http::Settings { connections, in_flight, in_flight_bytes, header_bytes, .. } = &config.http;
        let times = |count: usize, bytes: u64| (count as u64).saturating_mul(bytes);
        let bodies = in_flight_bytes.0.saturating_mul(BODY_COPIES).saturating_add(times(*in_flight, REQUEST));
        Self {
            parts: [
                ("http.connections", times(*connections, CONNECTION)),
                ("http.header_bytes", header_bytes.0),
                ("http.in_flight and in_flight_bytes", bodies),
                ("journal.dedup_keys", config.journal.dedup_keys.saturating_mul(KEY)),
                ("handlers", times(config.handlers.len(), HANDLER)),
                ("insight", if config.insight.enabled { INSIGHT } else { 0 }),
                ("other", BASE + JOURNAL),
            ],
        }
    }

    /// The sum of all parts, in bytes.
    pub fn total(&self) -> u64 {
        self.parts.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// A warning if the total exceeds the memory limit of the process; otherwise `None`.
    pub fn shortage(&self, limit: MemoryLimit) -> Option<String> {
        (self.total() > limit.bytes).then(|| {
            format!(
                "the limits of this configuration add up to {} of memory, but the process may use {} ({}): {self}; \
                 lower one of them, or allow the process more memory",
                ByteSize(self.total()),
                ByteSize(limit.bytes),
                limit.set_by,
            )
        })
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (part, bytes)) in self.parts.iter().enumerate() {
            write!(f, "{}{part} {}", if n == 0 { "" } else { ", " }, ByteSize(*bytes))?;
        }
        Ok(())
    }
}

/// The memory limit of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// The limit in bytes.
    pub bytes: u64,
    /// The origin of the limit, as a text for messages.
    pub set_by: &'static str,
}

impl MemoryLimit {
    /// The limit of this process. `None` if the system does not report it.
    pub fn of_process() -> Option<Self> {
        Self::found(Path::new("/proc"), Path::new("/sys/fs/cgroup"))
    }

    /// The lowest of the limits of the process's cgroup, of the cgroups above it, and of the machine.
    fn found(proc: &Path, cgroups: &Path) -> Option<Self> {
        let own = fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
        let of_cgroup = own.lines().filter_map(|line| cgroup_limit(line, cgroups)).min();
        let of_cgroup = of_cgroup.map(|bytes| Self { bytes, set_by: "the limit of its cgroup" });
        let memory = fs::read_to_string(proc.join("meminfo")).unwrap_or_default();
        let of_machine = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.strip_suffix("kB"));
        let of_machine = of_machine.and_then(|kib| kib.trim().parse::<u64>().ok());
        let of_machine = of_machine
            .map(|kib| Self { bytes: kib.saturating_mul(1024), set_by: "the memory of the machine" });
        of_cgroup.into_iter().chain(of_machine).min_by_key(|limit| limit.bytes)
    }
}

/// Reads the memory limit of the cgroup that a line of `/proc/self/cgroup` names, as `0::/PATH` (version 2) or
/// `N:memory:/PATH` (version 1). The limits of the cgroups above it apply too, so the smallest of these limits is
/// returned. In a container, PATH may exist only on the host. Then the limit of the container is in the root cgroup.
fn cgroup_limit(line: &str, cgroups: &Path) -> Option<u64> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let (root, file) = match controllers {
        "" => (cgroups.to_owned(), "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            (cgroups.join("memory"), "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let own = root.join(path.trim_start_matches('/'));
    let around = own.ancestors().take_while(|folder| folder.starts_with(&root));
    around.filter_map(|folder| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(path: Option<&str>) -> Config {
        let path = path.map(|path| Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
        match Config::load(path.as_deref(), []) {
            Ok(config) => config,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn shipped_configurations_fit_into_the_shipped_memory_limit() {
        let limit = MemoryLimit { bytes: 1024 * MIB, set_by: "the unit" };
        for path in [None, Some("config/container.toml")] {
            assert_eq!(Memory::of(&config(path)).shortage(limit), None, "{path:?}");
        }
    }

    #[test]
    fn a_shortage_message_names_the_limit_and_the_parts() {
        let mut config = config(None);
        config.http.in_flight_bytes.0 = 300 * MIB;
        let limit = MemoryLimit { bytes: 1024 * MIB, set_by: "the limit of its cgroup" };
        let told = Memory::of(&config).shortage(limit).unwrap();
        for figure in [
            "1.0 GiB (the limit of its cgroup)",
            "http.in_flight and in_flight_bytes 916.0 MiB",
            "handlers 36.0 MiB",
        ] {
            assert!(told.contains(figure), "{told}");
        }
    }

    /// The limit in bytes that is found in these files. Each file is given as its path and its text.
    fn found(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        MemoryLimit::found(&root.path().join("proc"), &root.path().join("cgroup")).map(|limit| limit.bytes)
    }

    #[test]
    fn the_limit_is_the_lowest_of_the_cgroups_and_the_machine() {
        let machine = ("proc/meminfo", "MemTotal:       2048 kB\nMemFree: 1 kB\n");
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[machine]), Some(2048 * 1024));
        let v2 = ("proc/self/cgroup", "0::/a.slice/b.service\n");
        let unlimited = ("cgroup/a.slice/b.service/memory.max", "max\n");
        assert_eq!(found(&[machine, v2, unlimited]), Some(2048 * 1024));
        assert_eq!(found(&[machine, v2, unlimited, ("cgroup/a.slice/memory.max", "1000\n")]), Some(1000));
        let v1 = ("proc/self/cgroup", "5:devices:/x\n4:cpu,memory:/docker/1\n0::/\n");
        let inside = ("cgroup/memory/memory.limit_in_bytes", "3000\n");
        assert_eq!(found(&[machine, v1, inside]), Some(3000), "a container sees its own cgroup as the root");
        let never = ("cgroup/memory/docker/1/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(found(&[machine, v1, never]), Some(2048 * 1024));
    }
}
