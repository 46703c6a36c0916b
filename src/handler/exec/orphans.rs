//! Kills programs that a killed receiver left running.
//!
//! A receiver that is killed cannot kill its programs. The next receiver delivers their events again, so two programs
//! would handle the same event at once. To prevent this, every program gets two environment variables, which its child
//! processes inherit: the handler's name, and a mark. The mark is the receiver's PID namespace, process id and start
//! time. Before its first delivery, a handler kills all programs whose environment has the handler's name and the mark
//! of a receiver that no longer runs.

use std::{
    collections::HashSet,
    fs,
    io::{self, ErrorKind},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal},
};

/// The environment variable that holds the mark.
pub(super) const MARK: &str = "BIKHOOK_RECEIVER";
/// The environment variable that holds the handler's name.
pub(super) const HANDLER: &str = "BIKHOOK_HANDLER";
/// How long killed processes may take to end.
const END: Duration = Duration::from_secs(5);
/// How often to check whether the killed processes have ended.
const LOOK: Duration = Duration::from_millis(20);

/// Identifies a receiver process. No other receiver has the same mark until the system restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The PID namespace. Process ids of different namespaces, such as those of containers, are not comparable.
    namespace: u64,
    pid: i32,
    /// Start time in ticks since the system started. Needed because process ids are reused.
    start: u64,
}

impl Mark {
    /// The mark of this process.
    ///
    /// # Errors
    /// Returns an error if /proc cannot be read or parsed.
    pub(super) fn own() -> io::Result<Self> {
        let pid = getpid().as_raw_nonzero().get();
        let link = fs::read_link("/proc/self/ns/pid")?;
        let namespace =
            link.to_str().and_then(|link| link.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok());
        let (Some(namespace), Some(stat)) = (namespace, Stat::of(pid)) else {
            return Err(ErrorKind::InvalidData.into());
        };
        Ok(Self { namespace, pid, start: stat.start })
    }

    /// The mark as the value of the variable [`MARK`].
    pub(super) fn to_text(&self) -> String {
        format!("{}.{}.{}", self.namespace, self.pid, self.start)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mark = Self {
            namespace: parts.next()?.parse().ok()?,
            pid: parts.next()?.parse().ok()?,
            start: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(mark)
    }

    fn is_alive(&self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.start == self.start && !stat.is_over())
    }
}

/// Kills the programs of this handler that were left running by receivers that no longer exist. Waits until all killed
/// processes have ended, and returns their number.
///
/// # Errors
/// Returns that /proc cannot be read, or which processes do not end within [`END`].
pub(super) fn kill(own: &Mark, handler: &str) -> Result<usize, String> {
    let begun = Instant::now();
    let mut killed = HashSet::new();
    loop {
        let orphans = find(own, handler).map_err(|error| format!("/proc cannot be read: {error}"))?;
        if orphans.is_empty() {
            return Ok(killed.len());
        }
        if begun.elapsed() > END {
            let ids: Vec<String> = orphans.iter().map(|orphan| orphan.pid.to_string()).collect();
            return Err(format!(
                "programs left running by a killed receiver do not end: kill the processes {}",
                ids.join(", ")
            ));
        }
        for orphan in orphans {
            orphan.kill();
            killed.insert(orphan);
        }
        thread::sleep(LOOK);
    }
}

/// A process, identified by its id and start time because ids are reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Process {
    pid: i32,
    start: u64,
}

impl Process {
    fn kill(self) {
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        // The pidfd refers to the same process even if the id is reused. A process that has already ended needs no
        // signal.
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(file) if self.is_there() => {
                let _ = pidfd_send_signal(file, Signal::KILL);
            }
            // The kernel or a sandbox does not allow pidfd.
            Err(Errno::NOSYS | Errno::PERM) if self.is_there() => {
                let _ = kill_process(pid, Signal::KILL);
            }
            _ => {}
        }
    }

    fn is_there(self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.start == self.start)
    }
}

/// Finds all processes whose environment has the handler's name and the mark of a receiver that no longer runs.
/// Includes the rest of their process groups, because a program may clear the environment of the processes that it
/// starts. Marks with another PID namespace are ignored.
fn find(own: &Mark, handler: &str) -> io::Result<Vec<Process>> {
    let own_group = Stat::of(own.pid).map(|stat| stat.group);
    let mut running = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if let Some(stat) = Stat::of(pid).filter(|stat| pid != own.pid && !stat.is_over()) {
            running.push((pid, stat));
        }
    }
    let is_marked = |pid: i32| {
        mark_of(pid, handler).is_some_and(|mark| mark.namespace == own.namespace && !mark.is_alive())
    };
    let marked: HashSet<i32> = running.iter().map(|(pid, _)| *pid).filter(|pid| is_marked(*pid)).collect();
    let groups: HashSet<i32> = running
        .iter()
        .filter(|(pid, stat)| marked.contains(pid) && Some(stat.group) != own_group)
        .map(|(_, stat)| stat.group)
        .collect();
    let orphans =
        running.into_iter().filter(|(pid, stat)| marked.contains(pid) || groups.contains(&stat.group));
    Ok(orphans.map(|(pid, stat)| Process { pid, start: stat.start }).collect())
}

/// The mark in the environment of a process. `None` if the process is not a program of this handler, or if its
/// environment cannot be read.
fn mark_of(pid: i32, handler: &str) -> Option<Mark> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = |name: &str| {
        let mut variables = environment.split(|byte| *byte == 0);
        variables.find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    };
    let mark = Mark::parse(std::str::from_utf8(value(MARK)?).ok()?)?;
    (value(HANDLER)? == handler.as_bytes()).then_some(mark)
}

/// Fields of `/proc/pid/stat` (proc(5)).
struct Stat {
    state: char,
    group: i32,
    start: u64,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is the process name in parentheses. It ends at the last `) ` of the line, because the name
        // may itself contain `) `.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        // `fields` starts with the third field of the line.
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            state: field(3)?.chars().next()?,
            group: field(5)?.parse().ok()?,
            start: field(22)?.parse().ok()?,
        })
    }

    /// Returns whether the process has ended; its parent may not have reaped it yet.
    const fn is_over(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::CommandExt,
        process::{Child, Command, Stdio},
    };

    use super::*;

    /// Starts a program with this mark. It starts two children, one of them with an empty environment.
    fn program(mark: &Mark, handler: &str) -> Child {
        let mut command = Command::new("sh");
        command
            .args(["-c", "env -i sleep 60 & sleep 60; true"])
            .env(MARK, mark.to_text())
            .env(HANDLER, handler);
        command.stdin(Stdio::null()).process_group(0).spawn().unwrap()
    }

    fn group_of(leader: &Child) -> usize {
        let group = leader.id().cast_signed();
        let entries = fs::read_dir("/proc").unwrap();
        let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<i32>().ok());
        pids.filter_map(Stat::of).filter(|stat| stat.group == group && !stat.is_over()).count()
    }

    #[test]
    fn only_programs_of_a_receiver_that_has_ended_are_killed() {
        let own = Mark::own().unwrap();
        let gone = Mark { start: own.start + 1, ..own.clone() };
        let elsewhere = Mark { namespace: own.namespace + 1, ..gone.clone() };
        // The handler's name is unique, so that other test processes do not kill these programs.
        let handler = format!("handler_{}", own.pid);
        let orphan = program(&gone, &handler);
        let others = [
            program(&own, &handler),
            program(&elsewhere, &handler),
            program(&gone, &(handler.clone() + "_2")),
        ];
        while group_of(&orphan) < 3 || others.iter().any(|program| group_of(program) < 3) {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(kill(&own, &handler), Ok(3));
        assert_eq!(group_of(&orphan), 0);
        assert!(others.iter().all(|program| group_of(program) == 3));
        assert_eq!(kill(&own, &handler), Ok(0));
        for program in &others {
            rustix::process::kill_process_group(Pid::from_child(program), Signal::KILL).unwrap();
        }
        for mut program in others.into_iter().chain([orphan]) {
            program.wait().unwrap();
        }
    }

    #[test]
    fn a_mark_is_parsed_as_it_was_written() {
        let mark = Mark { namespace: 4_026_531_836, pid: 17, start: 99 };
        assert_eq!(Mark::parse(&mark.to_text()), Some(mark));
        for text in ["", "1.2", "1.2.3.4", "a.2.3", "1.-.3"] {
            assert_eq!(Mark::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_process_name_may_contain_any_character() {
        let stat = Stat::parse("7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 0 0").unwrap();
        assert_eq!((stat.state, stat.group, stat.start), ('S', 7, 4711));
    }
}
