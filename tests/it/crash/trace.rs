//! Parses the output of strace, and checks that each 200 was sent after its sync.
//!
//! A line is a whole call, or its beginning (`<unfinished ...>`) or its end (`<... resumed>`) when calls of other threads
//! came in between. strace writes the lines in the order in which things happened, so a line's number is its time.

use std::collections::HashMap;

/// A 200 that a sender got: a unique text of one of its events, and the seq of the receipt.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub marker: String,
    pub seq: u64,
}

/// Why a 200 was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its event was not written to the journal's log.
    NotWritten(u64),
    /// The transaction that holds its event was never committed.
    NotCommitted(u64),
    /// No sync of the log that began after the commit was written has succeeded.
    NotSynced(u64),
    /// The trace has no such answer.
    NotAnswered(u64),
    /// Sending the answer began before the sync returned.
    AnsweredTooEarly(u64),
}

/// A system call.
#[derive(Debug)]
struct Call {
    name: String,
    /// Its arguments, as strace writes them.
    arguments: String,
    begun: usize,
    /// `None` if it never returned.
    ended: Option<usize>,
    /// The return value, if it is a number.
    result: Option<i64>,
}

/// The number of 200 answers to posts in the trace.
pub fn answers(trace: &str) -> usize {
    calls(trace).iter().filter(|call| call.sends("\\\"accepted\\\":")).count()
}

/// Checks for each 200 that the event and the commit of its transaction were written to the log, that a sync of the log
/// returned, and that only then the answer was sent.
pub fn faults(trace: &str, acknowledged: &[Acknowledged]) -> Vec<Fault> {
    let calls = calls(trace);
    acknowledged.iter().filter_map(|one| fault(&calls, one)).collect()
}

/// Whether a sync of the log returned before the database was written to, and before the receiver said that it is ready.
pub fn begins_with_a_sync(trace: &str) -> bool {
    let calls = calls(trace);
    let synced = calls.iter().filter(|call| call.is_on_log() && call.is_sync() && call.result == Some(0));
    let synced = synced.filter_map(|call| call.ended).min();
    let others = calls.iter().filter(|call| call.writes_to_database() || call.says_ready());
    let other = others.map(|call| call.begun).min();
    synced.zip(other).is_some_and(|(synced, other)| synced < other)
}

fn fault(calls: &[Call], Acknowledged { marker, seq }: &Acknowledged) -> Option<Fault> {
    let log: Vec<&Call> = calls.iter().filter(|call| call.is_on_log()).collect();
    let Some(page) = log.iter().position(|call| call.is_page() && call.arguments.contains(marker)) else {
        return Some(Fault::NotWritten(*seq));
    };
    let Some(committed) = commit_from(&log, page) else { return Some(Fault::NotCommitted(*seq)) };
    let synced = log.iter().filter(|call| call.is_sync() && call.begun > committed && call.result == Some(0));
    let Some(synced) = synced.filter_map(|call| call.ended).min() else {
        return Some(Fault::NotSynced(*seq));
    };
    let receipt = format!("\\\"seq\\\":{seq}}}");
    let answer = calls.iter().find(|call| call.sends(&receipt));
    match answer {
        None => Some(Fault::NotAnswered(*seq)),
        Some(answer) if answer.begun < synced => Some(Fault::AnsweredTooEarly(*seq)),
        Some(_) => None,
    }
}

/// When the last page of the transaction of the page at `from` was written: the first page from there whose frame is a
/// commit frame. A frame is a header of 24 bytes and a page of 4,096; the second word of the header is the size of the
/// database for a commit, else 0 (sqlite.org/fileformat2.html, section 4.1).
fn commit_from(log: &[&Call], from: usize) -> Option<usize> {
    let mut commits = false;
    for (place, call) in log.iter().enumerate() {
        if let Some(header) = call.frame_header() {
            commits = header[4..8] != [0; 4];
        }
        if call.is_page() && place >= from && commits {
            return call.ended;
        }
    }
    None
}

impl Call {
    /// True for the journal's write-ahead log, by the path that strace prints after the file descriptor.
    fn is_on_log(&self) -> bool {
        self.is_on("/journal.db-wal")
    }

    fn is_on(&self, file: &str) -> bool {
        self.arguments.split_once('>').is_some_and(|(descriptor, _)| descriptor.ends_with(file))
    }

    fn writes_to_database(&self) -> bool {
        self.name == "pwrite64" && self.is_on("/journal.db")
    }

    fn says_ready(&self) -> bool {
        self.name == "write" && self.arguments.contains("\"bikhook is ready")
    }

    fn is_sync(&self) -> bool {
        self.name == "fdatasync" || self.name == "fsync"
    }

    fn is_page(&self) -> bool {
        self.name == "pwrite64" && self.result == Some(4096)
    }

    fn frame_header(&self) -> Option<Vec<u8>> {
        let is_header = self.name == "pwrite64" && self.result == Some(24);
        let (_, string) = self.arguments.split_once(", \"").filter(|_| is_header)?;
        Some(unescape(string.rsplit_once('"')?.0))
    }

    /// Whether it sends a 200 with this text.
    fn sends(&self, text: &str) -> bool {
        let to_socket = self.arguments.split_once('>').is_some_and(|(descriptor, _)| {
            descriptor.contains("<TCP:") || descriptor.contains("<TCPv6:") || descriptor.contains("<socket:")
        });
        to_socket
            && matches!(self.name.as_str(), "write" | "writev" | "sendto" | "sendmsg")
            && self.arguments.contains("HTTP/1.1 200 OK")
            && self.arguments.contains(text)
    }
}

/// Every call of a trace (`strace -f -ttt`), in the order of their beginnings.
fn calls(trace: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut unfinished: HashMap<&str, usize> = HashMap::new();
    for (time, line) in trace.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((_clock, rest)) = rest.trim_start().split_once(' ') else { continue };
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let begun = unfinished.remove(thread).map(|place| &mut calls[place]);
            let end = resumed.split_once(" resumed>");
            if let (Some(call), Some((_name, end))) = (begun, end) {
                call.end(end, time);
            }
        } else if let Some((name, arguments)) = rest.split_once('(')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            let mut call = Call {
                name: name.to_owned(),
                arguments: String::new(),
                begun: time,
                ended: None,
                result: None,
            };
            match arguments.strip_suffix(" <unfinished ...>") {
                Some(arguments) => {
                    call.arguments.push_str(arguments);
                    unfinished.insert(thread, calls.len());
                }
                None => call.end(arguments, time),
            }
            calls.push(call);
        }
    }
    calls
}

impl Call {
    /// Parses the rest of the arguments and the result: `) = 24`, `) = -1 EIO (Input/output error)`.
    fn end(&mut self, rest: &str, time: usize) {
        let (arguments, result) = rest.rsplit_once(" = ").unwrap_or((rest, ""));
        self.arguments.push_str(arguments);
        self.result = result.split(' ').next().and_then(|number| number.parse().ok());
        self.ended = Some(time);
    }
}

/// The bytes of a string as strace prints it: with C's escapes, where octal ones have as few digits as possible.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'v') => 0x0b,
            Some(b'f') => 0x0c,
            Some(digit @ b'0'..=b'7') => {
                let mut value = u32::from(digit - b'0');
                for _ in 0..2 {
                    let Some(digit) = rest.next_if(|byte| (b'0'..=b'7').contains(byte)) else { break };
                    value = value * 8 + u32::from(digit - b'0');
                }
                u8::try_from(value).expect("an octal escape of a byte")
            }
            Some(other) => other,
            None => b'\\',
        });
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "14</data/journal.db-wal>";
    const COMMIT: &str = r#""\0\0\0\"\0\0\0\23\1\2\3\4\5\6\7\10salt, sums""#;
    const NO_COMMIT: &str = r#""\0\0\0\"\0\0\0\0\1\2\3\4\5\6\7\10salt, sums""#;

    /// A trace of these lines, each with the thread and its call.
    fn trace<const N: usize>(lines: [&str; N]) -> String {
        let line = |line: &&str| line.replacen(' ', " 1795386876.221309 ", 1) + "\n";
        lines.iter().map(line).collect()
    }

    fn header(frame: &str) -> String {
        format!("7 pwrite64({LOG}, {frame}, 24, 32) = 24")
    }

    fn page(text: &str) -> String {
        format!(r#"7 pwrite64({LOG}, "\r\0\0{text}\0", 4096, 56) = 4096"#)
    }

    fn sync() -> String {
        format!("7 fsync({LOG}) = 0")
    }

    fn answer(seq: u64) -> String {
        format!(
            r#"9 writev(24<TCP:[127.0.0.1:80->127.0.0.1:81]>, [{{iov_base="HTTP/1.1 200 OK\r\n", iov_len=17}}, {{iov_base="{{\"accepted\":1,\"duplicates\":0,\"quarantined\":0,\"seq\":{seq}}}\n", iov_len=54}}], 2) = 71"#
        )
    }

    #[track_caller]
    fn assert_fault<const N: usize>(expected: Option<Fault>, lines: [&str; N]) {
        let acknowledged = [Acknowledged { marker: "e-1".to_owned(), seq: 5 }];
        assert_eq!(faults(&trace(lines), &acknowledged), Vec::from_iter(expected));
    }

    #[test]
    fn an_answer_after_the_sync_has_no_fault() {
        assert_fault(None, [&header(COMMIT), &page("e-1"), &sync(), &answer(5)]);
        assert_eq!(answers(&trace([&answer(5), &answer(6)])), 2);
    }

    #[test]
    fn a_sync_that_is_interrupted_by_other_threads_ends_where_it_is_resumed() {
        let (header, page, answer) = (header(COMMIT), page("e-1"), answer(5));
        let (begins, ends) = (format!("7 fsync({LOG} <unfinished ...>"), "7 <... fsync resumed>) = 0");
        let other = format!("8 fsync({LOG} <unfinished ...>");
        assert_fault(None, [&header, &page, &begins, "9 write(4<x>, \"\", 0) = 0", ends, &answer]);
        assert_fault(Some(Fault::AnsweredTooEarly(5)), [&header, &page, &begins, &answer, ends]);
        assert_fault(Some(Fault::NotSynced(5)), [&header, &page, &begins, &other, &answer]);
    }

    #[test]
    fn an_answer_that_begins_before_the_sync_returned_is_too_early() {
        let answer = answer(5);
        let (begins, _) = answer.split_once("], 2)").unwrap();
        let begins = format!("{begins}], 2 <unfinished ...>");
        assert_fault(
            Some(Fault::AnsweredTooEarly(5)),
            [&header(COMMIT), &page("e-1"), &begins, &sync(), "9 <... writev resumed>) = 71"],
        );
    }

    #[test]
    fn a_sync_before_the_write_or_during_it_or_of_another_file_does_not_count() {
        let (header, page, answer) = (header(COMMIT), page("e-1"), answer(5));
        let missing = || Some(Fault::NotSynced(5));
        assert_fault(missing(), [&sync(), &header, &page, &answer]);
        assert_fault(missing(), [&header, &page, "7 fsync(13</data/journal.db>) = 0", &answer]);
        let begins = format!("8 fsync({LOG} <unfinished ...>");
        assert_fault(missing(), [&header, &begins, &page, "8 <... fsync resumed>) = 0", &answer]);
    }

    #[test]
    fn a_sync_that_failed_does_not_count() {
        let failed = format!("7 fsync({LOG}) = -1 EIO (Input/output error)");
        assert_fault(Some(Fault::NotSynced(5)), [&header(COMMIT), &page("e-1"), &failed, &answer(5)]);
    }

    #[test]
    fn a_start_begins_with_a_sync_only_if_it_returned_well_before_all_else() {
        let ready = r#"9 write(1<pipe:[1]>, "bikhook is ready: http://127.0.0.1:80/webhook\n", 45) = 45"#;
        let copy = r#"7 pwrite64(13</data/journal.db>, "\r\0", 4096, 0) = 4096"#;
        let failed = format!("7 fsync({LOG}) = -1 EIO (Input/output error)");
        assert!(begins_with_a_sync(&trace([&sync(), copy, ready])));
        assert!(!begins_with_a_sync(&trace([copy, &sync(), ready])));
        assert!(!begins_with_a_sync(&trace([ready, &sync()])));
        assert!(!begins_with_a_sync(&trace([&failed, ready])));
        assert!(!begins_with_a_sync(&trace([ready])));
    }

    #[test]
    fn a_sync_before_the_commit_does_not_count() {
        let (spilled, page, answer) = (header(NO_COMMIT), page("e-1"), answer(5));
        assert_fault(Some(Fault::NotCommitted(5)), [&spilled, &page, &sync(), &answer]);
        let (commit, rest) = (header(COMMIT), super::tests::page("the rest"));
        assert_fault(Some(Fault::NotSynced(5)), [&spilled, &page, &sync(), &commit, &rest, &answer]);
        assert_fault(None, [&spilled, &page, &commit, &rest, &sync(), &answer]);
    }

    #[test]
    fn an_event_that_was_written_nowhere_or_not_whole_is_named() {
        let short = format!(r#"7 pwrite64({LOG}, "e-1", 4096, 56) = 512"#);
        let elsewhere = r#"7 pwrite64(13</data/journal.db>, "e-1", 4096, 56) = 4096"#;
        for line in [short.as_str(), elsewhere] {
            assert_fault(Some(Fault::NotWritten(5)), [&header(COMMIT), line, &sync(), &answer(5)]);
        }
    }

    #[test]
    fn an_answer_that_is_missing_or_another_ones_is_named() {
        let other = answer(55);
        assert_fault(Some(Fault::NotAnswered(5)), [&header(COMMIT), &page("e-1"), &sync(), &other]);
    }

    #[test]
    fn octal_escapes_are_as_short_as_what_follows_allows() {
        assert_eq!(unescape(r"\0\23\0019\r\\\377\10"), [0, 0o23, 1, b'9', b'\r', b'\\', 0xff, 8]);
    }
}
