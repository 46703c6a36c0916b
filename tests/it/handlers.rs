//! The contract that every kind of handler fulfils, and the guarantees of the `jsonl` kind for its files.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bikhook::{
    clock::Timestamp,
    event::{Element, Event},
    handler::{Delivery, Failure, Handler, KINDS, KindRow},
    settings::{Context, Section},
};

use crate::{
    contract::Destination,
    kinds::{FIXTURES, Fixture},
    support::disk::SmallDisk,
};

/// One of each view, with line breaks and trailing commas as BIK's page has them, and what JSON lines must survive.
const MIXED: [&str; 5] = [
    r#"{
"eventName": "incoming-message",
"eventInfo": { "messageId": "wamid.A", "channelId": "whatsapp", "message": "two\nlines", "assetValue": "+919090909090" },
"id": "in-1"
}"#,
    r#"{"eventName":"message-status-update","eventInfo":{"messageId":"wamid.B","status":"failed","owner":"AGENT",},"id":17}"#,
    r#"{"eventName":"optedOut","storeId":"s1","eventId":"optedOut-221036","eventProperties":{"channel":"whatsapp"},"createdAt":"2026-11-22T10:15:00Z"}"#,
    r#"{"eventName":"addToCart","price":123456789012345678901234567890,"text":"half an emoji \ud83d"}"#,
    r#"{"eventName":"a \"quoted\" name","x":[ ]}"#,
];

fn fixture(kind: &str) -> &'static Fixture {
    let fixture = FIXTURES.iter().find(|fixture| fixture.kind == kind);
    fixture
        .unwrap_or_else(|| panic!("the kind {kind:?} has no fixture: add what the contract tests need of it"))
}

/// The kind's own keys of a destination.
fn settings(destination: Option<&dyn Destination>) -> String {
    let settings = destination.map_or(String::new(), |destination| destination.settings("fixture"));
    settings.lines().filter(|line| !line.starts_with("kind = ")).collect::<Vec<_>>().join("\n")
}

fn row(kind: &str) -> &'static KindRow {
    KINDS.iter().find(|row| row.name == kind).unwrap()
}

/// Delivers this many times to a destination that does not answer, and cancels each delivery.
pub async fn give_up(handler: &dyn Handler, events: &[Delivery], times: u32) {
    for _ in 0..times {
        let given_up = tokio::time::timeout(Duration::from_millis(300), handler.deliver(events)).await;
        assert!(given_up.is_err(), "{given_up:?}");
    }
}

pub async fn open(kind: &str, settings: &str) -> Result<Box<dyn Handler>, String> {
    let context = Context::new(BTreeMap::new());
    let section = Section::parse(settings, context).map_err(|invalid| invalid.to_string())?;
    let configured = (row(kind).read)(section).map_err(|invalid| invalid.to_string())?;
    let handler = (configured.opener)("under-test".to_owned()).await.map_err(|error| error.to_string())?;
    match handler.look().await {
        // The destination is unreachable, not misconfigured.
        Ok(()) | Err(Failure::Retry { .. }) => Ok(handler),
        Err(wrong) => Err(wrong.to_string()),
    }
}

/// First deliveries of mixed events.
pub fn deliveries(seqs: impl IntoIterator<Item = u64>) -> Vec<Delivery> {
    seqs.into_iter().map(|seq| delivery(seq, MIXED[usize::try_from(seq).unwrap() % MIXED.len()])).collect()
}

/// The first delivery of an element.
pub fn delivery(seq: u64, raw: &str) -> Delivery {
    let element = Arc::new(Element::read(raw.as_bytes()).unwrap());
    let received_at = Timestamp::from_ms(1_795_342_500_000 + i64::try_from(seq).unwrap());
    Delivery::new(
        Arc::new(Event { seq, came_at: received_at, received_at, source: "bik".into(), element }),
        1,
        false,
    )
}

#[test]
fn every_kind_has_a_fixture_a_unique_name_a_summary_and_sane_defaults() {
    assert!(KINDS.len() >= 2);
    for (at, row) in KINDS.iter().enumerate() {
        fixture(row.name);
        assert!(KINDS[..at].iter().all(|other| other.name != row.name), "{} is there twice", row.name);
        assert!(row.about.len() > 20 && !row.about.contains('\n'), "{}: {:?}", row.name, row.about);
        assert!(row.concurrency >= 1 && row.batch >= 1);
        assert!(!(row.keys)().is_empty(), "{} has no keys", row.name);
    }
}

#[tokio::test]
async fn every_kind_opens_with_least_settings_and_takes_many_one_or_no_event() {
    for row in KINDS {
        let destination = fixture(row.name).destination.map(|destination| destination());
        let handler = open(row.name, &settings(destination.as_deref())).await.unwrap();
        for batch in [deliveries(1..=20), deliveries([21]), deliveries([])] {
            handler.deliver(&batch).await.unwrap_or_else(|failure| panic!("{}: {failure}", row.name));
        }
    }
}

#[tokio::test]
async fn every_kind_refuses_a_key_that_it_does_not_know_and_names_it() {
    for row in KINDS {
        let destination = fixture(row.name).destination.map(|destination| destination());
        let settings = settings(destination.as_deref()) + "\nno_such_key = 1";
        let error = open(row.name, &settings).await.err().unwrap_or_else(|| panic!("{} took it", row.name));
        assert!(error.contains("no_such_key"), "{}: {error}", row.name);
    }
}

#[tokio::test]
async fn every_kind_says_which_of_its_settings_is_wrong() {
    for row in KINDS {
        let fixture = fixture(row.name);
        assert!(!fixture.wrong.is_empty());
        for (settings, word) in fixture.wrong {
            let error = open(row.name, settings).await.err().unwrap_or_else(|| panic!("took {settings:?}"));
            assert!(error.contains(word), "{}: {settings:?} gave {error:?}", row.name);
        }
    }
}

#[tokio::test]
async fn every_kind_retries_while_its_destination_is_away_and_then_delivers() {
    let mut broken = 0;
    for row in KINDS {
        let Some(destination) = fixture(row.name).destination else { continue };
        broken += 1;
        let mut destination = destination();
        let handler = open(row.name, &settings(Some(&*destination))).await.unwrap();
        handler.deliver(&deliveries(1..=3)).await.unwrap();
        destination.kill();
        for _ in 0..2 {
            match handler.deliver(&deliveries(4..=6)).await {
                Err(Failure::Retry { class, .. }) => assert!(class.len() < 40, "{class:?} is no class"),
                other => panic!("{}: {other:?}", row.name),
            }
        }
        destination.start();
        handler.deliver(&deliveries(4..=6)).await.unwrap();
    }
    assert!(broken >= 1);
}

/// A directory with a `jsonl` handler's file in it.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("events.jsonl")
    }

    async fn open(&self, settings: &str) -> Result<Box<dyn Handler>, String> {
        open("jsonl", &format!("path = {:?}\n{settings}", self.path())).await
    }

    /// Opens it once the lock is free: a background task of an earlier handler may hold it for a moment.
    async fn reopen(&self, settings: &str) -> Box<dyn Handler> {
        let mut opened = None;
        until(async || {
            opened = self.open(settings).await.ok();
            opened.is_some()
        })
        .await;
        opened.unwrap()
    }
}

/// The `seq` of each line; every line must be whole.
fn seqs(text: &str) -> Vec<u64> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is torn");
    text.lines().map(|line| serde_json::from_str::<SeqOnly>(line).unwrap().seq).collect()
}

#[derive(serde::Deserialize)]
struct SeqOnly {
    seq: u64,
}

fn read(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        return text;
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_line_has_the_fields_of_events_json_and_the_element_as_it_came() {
    let world = World::new();
    world.open("").await.unwrap().deliver(&deliveries(0..=4)).await.unwrap();
    let text = read(&world.path());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(
        lines[1],
        r#"{"seq":1,"receivedAt":"2026-11-22T10:15:00.001Z","source":"bik","eventName":"message-status-update","id":"17","event":{"eventName":"message-status-update","eventInfo":{"messageId":"wamid.B","status":"failed","owner":"AGENT"},"id":17}}"#
    );
    assert!(lines[0].contains(r#""message":"two\nlines""#), "an escape stays as it is");
    assert!(lines[2].contains(r#""id":"optedOut-221036","event":{"#));
    assert!(lines[3].contains(r#""id":null,"#));
    assert!(lines[3].contains(r#""price":123456789012345678901234567890,"text":"half an emoji \ud83d""#));
    assert!(lines[4].contains(r#""eventName":"a \"quoted\" name","id":null,"event":{"#));
}

#[tokio::test]
async fn a_torn_last_line_is_cut_off_at_the_start_and_what_follows_is_whole() {
    let world = World::new();
    world.open("").await.unwrap().deliver(&deliveries(1..=3)).await.unwrap();
    let whole = read(&world.path());
    fs::write(world.path(), &whole[..whole.len() - 5]).unwrap();
    world.reopen("").await.deliver(&deliveries(3..=4)).await.unwrap();
    assert_eq!(seqs(&read(&world.path())), [1, 2, 3, 4]);
}

#[tokio::test]
async fn lines_behind_a_lost_block_are_written_again_in_order() {
    let world = World::new();
    world.open("").await.unwrap().deliver(&deliveries(1..=10)).await.unwrap();
    let mut bytes = fs::read(world.path()).unwrap();
    let middle = bytes.len() / 2 / 512 * 512;
    bytes[middle..middle + 512].fill(0);
    fs::write(world.path(), bytes).unwrap();
    let handler = world.reopen("").await;
    for seqs in [1..=4, 5..=10] {
        handler.deliver(&deliveries(seqs)).await.unwrap();
    }
    assert_eq!(seqs(&read(&world.path())), (1..=10).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_file_whose_only_line_lost_a_block_is_begun_again() {
    let large = [delivery(1, &format!(r#"{{"eventName":"x","text":"{}"}}"#, "o".repeat(9_000)))];
    for lost in [0..4_096_usize, 4_096..8_192] {
        let world = World::new();
        world.open("").await.unwrap().deliver(&large).await.unwrap();
        let mut bytes = fs::read(world.path()).unwrap();
        bytes[lost].fill(0);
        fs::write(world.path(), bytes).unwrap();
        world.reopen("").await.deliver(&large).await.unwrap();
        assert_eq!(seqs(&read(&world.path())), [1]);
    }
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_followed_by_a_new_one() {
    let world = World::new();
    let handler = world.open("").await.unwrap();
    handler.deliver(&deliveries(1..=2)).await.unwrap();
    let moved = world.dir.path().join("moved");
    fs::rename(world.path(), &moved).unwrap();
    handler.deliver(&deliveries(3..=4)).await.unwrap();
    fs::remove_file(world.path()).unwrap();
    fs::write(world.path(), "").unwrap();
    handler.deliver(&deliveries(5..=6)).await.unwrap();
    assert_eq!(seqs(&read(&moved)), [1, 2]);
    assert_eq!(seqs(&read(&world.path())), [5, 6]);
}

#[tokio::test]
async fn a_file_that_was_emptied_in_place_grows_from_its_new_end() {
    let world = World::new();
    let handler = world.open("").await.unwrap();
    handler.deliver(&deliveries(1..=2)).await.unwrap();
    fs::OpenOptions::new().write(true).open(world.path()).unwrap().set_len(0).unwrap();
    handler.deliver(&deliveries(3..=4)).await.unwrap();
    assert_eq!(seqs(&read(&world.path())), [3, 4]);
}

#[tokio::test]
async fn a_file_that_another_handler_has_is_an_error_by_whatever_name() {
    let world = World::new();
    let first = world.open("").await.unwrap();
    let link = world.dir.path().join("another-name.jsonl");
    std::os::unix::fs::symlink(world.path(), &link).unwrap();
    for path in [world.path(), link, world.dir.path().join("../").join(world.dir.path()).join("events.jsonl")]
    {
        let error = open("jsonl", &format!("path = {path:?}")).await.err().unwrap();
        assert!(error.contains("in use") && error.contains("events.jsonl.lock"), "{error}");
    }
    first.deliver(&deliveries([1])).await.unwrap();
    drop(first);
    world.reopen("").await.deliver(&deliveries([2])).await.unwrap();
}

#[tokio::test]
async fn over_compressed_rotations_each_line_is_there_once_and_in_order() {
    let world = World::new();
    let settings = "rotate_size = \"4KiB\"\ngzip = true";
    let handler = world.open(settings).await.unwrap();
    for batch in 0..40 {
        handler.deliver(&deliveries(batch * 10..(batch + 1) * 10)).await.unwrap();
    }
    until_compressed(&world).await;
    let mut files = rotated(&world);
    assert!(files.len() >= 10, "only {} rotated files", files.len());
    files.push(world.path());
    let lines: Vec<u64> = files.iter().flat_map(|path| seqs(&read(path))).collect();
    assert_eq!(lines, (0..400).collect::<Vec<u64>>());
    for file in files {
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o007, 0, "{file:?} can be read by others");
    }
}

#[tokio::test]
async fn lines_in_several_rotated_files_are_not_written_again() {
    for gzip in [false, true] {
        let world = World::new();
        let settings = format!("rotate_size = \"1KiB\"\ngzip = {gzip}");
        for _life in 0..2 {
            let handler = world.reopen(&settings).await;
            for batch in 0..4 {
                handler.deliver(&deliveries(batch * 10..(batch + 1) * 10)).await.unwrap();
            }
            if gzip {
                until_compressed(&world).await;
            }
        }
        let mut files = rotated(&world);
        assert!(files.len() >= 2, "only {} rotated files", files.len());
        files.push(world.path());
        let lines: Vec<u64> = files.iter().flat_map(|path| seqs(&read(path))).collect();
        assert_eq!(lines, (0..40).collect::<Vec<u64>>());
    }
}

#[tokio::test]
async fn files_left_uncompressed_by_a_stop_are_compressed_after_the_start() {
    let world = World::new();
    let handler = world.open("rotate_size = \"1KiB\"").await.unwrap();
    for batch in 0..5 {
        handler.deliver(&deliveries(batch * 10..(batch + 1) * 10)).await.unwrap();
    }
    drop(handler);
    let plain = rotated(&world);
    assert!(plain.len() >= 3);
    fs::write(format!("{}.gz.tmp", plain[0].display()), "a part").unwrap();
    let _handler = world.reopen("gzip = true").await;
    until_compressed(&world).await;
    assert_eq!(rotated(&world).len(), plain.len());
}

#[tokio::test]
async fn a_batch_cut_short_by_a_full_disk_is_written_once_there_is_room() {
    let disk = SmallDisk::mount("256k");
    let path = disk.path().join("events.jsonl");
    let handler = open("jsonl", &format!("path = {path:?}")).await.unwrap();
    handler.deliver(&deliveries(1..=10)).await.unwrap();
    let before = read(&path);
    fs::write(disk.path().join("ballast"), vec![0; 150 * 1024]).unwrap();
    let large = deliveries(11..=600);
    let bytes: usize = large.iter().map(|delivery| delivery.event.to_json_line().len() + 1).sum();
    assert!(
        bytes > 106 * 1024 && bytes < 240 * 1024,
        "{bytes} must overflow the disk, and fit without ballast"
    );
    for _ in 0..3 {
        let failure = handler.deliver(&large).await.unwrap_err();
        assert!(matches!(&failure, Failure::Retry { class, .. } if class == "disk full"), "{failure:?}");
        assert_eq!(read(&path), before, "a failed batch left something behind");
    }
    handler.deliver(&deliveries([700])).await.expect("a batch that fits is taken all the same");
    fs::remove_file(disk.path().join("ballast")).unwrap();
    handler.deliver(&large).await.unwrap();
    let expected: Vec<u64> = (1..=10).chain([700]).chain(11..=600).collect();
    assert_eq!(seqs(&read(&path)), expected);
}

/// Waits until all rotated files are compressed.
async fn until_compressed(world: &World) {
    until(async || rotated(world).iter().all(|path| path.extension().is_some_and(|it| it == "gz"))).await;
}

/// The rotated files, the oldest first.
fn rotated(world: &World) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(world.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("events-2"))
        .collect();
    files.sort();
    files
}

/// Waits for a background task, as long as a loaded machine may need.
pub async fn until(mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done().await {
        assert!(Instant::now() < deadline, "it did not happen within 30 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
