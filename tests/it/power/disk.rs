//! A disk after a power cut, as POSIX allows it: synced data is there, and any part of the rest may be.
//!
//! - A write is durable once a sync of its file that began after it has returned. Until then each page of 4 KiB may
//!   have any of its contents since the last sync, independently of other pages. A page may also be torn between two of
//!   them at a sector of 512 bytes. The length of the file is one of those that it had since then.
//! - A name is durable once a sync of its folder that began after it has returned. Until then the change may be there or
//!   not: in order, as with a journaled file system, or any of them.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::log::{Handle, Log, What};
use crate::support::dice::Dice;

const PAGE: usize = 4_096;
const SECTOR: usize = 512;

/// What happened to the files below a folder.
pub struct Disk<'a> {
    log: &'a Log,
    files: Vec<File>,
    folders: HashMap<PathBuf, Syncs>,
    names: Vec<Naming>,
}

/// A file, whatever it is called.
struct File {
    /// The name that it was made by.
    made_as: PathBuf,
    changes: Vec<Change>,
    syncs: Syncs,
}

#[derive(Default)]
struct Syncs(Vec<(usize, usize)>);

struct Change {
    begun: usize,
    ended: usize,
    what: Changed,
}

enum Changed {
    Write(u64, std::ops::Range<usize>),
    Resize(u64),
    Grow(u64),
}

struct Naming {
    at: usize,
    what: Named,
}

enum Named {
    Made(PathBuf, usize),
    Moved(PathBuf, PathBuf, usize),
    Removed(PathBuf),
    Folder(PathBuf),
}

/// A sync that the disk ignores, to check that the test detects it.
#[derive(Clone, Copy, Debug)]
pub enum Ignored {
    Nothing,
    /// Syncs of files that were created under a name with this ending.
    File(&'static str),
    Folders,
}

/// How much of a file, or of the names, survives.
#[derive(Clone, Copy, Debug)]
enum Luck {
    /// Nothing that was not synced.
    Lost,
    /// Everything.
    Kept,
    /// Each part, with this probability in percent.
    Parts(u64),
    /// The last write, and little of the earlier ones.
    Latest,
}

/// The files after a power cut.
pub struct State {
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    pub folders: Vec<PathBuf>,
    /// How it came about.
    pub story: String,
}

impl<'a> Disk<'a> {
    /// From a log of all operations below a folder that was empty at first.
    pub fn new(log: &'a Log, root: &Path) -> Self {
        let mut disk = Self { log, files: Vec::new(), folders: HashMap::new(), names: Vec::new() };
        disk.folders.insert(root.to_owned(), Syncs::default());
        let mut there: HashMap<PathBuf, usize> = HashMap::new();
        let mut open: HashMap<Handle, Opened> = HashMap::new();
        for operation in &log.operations {
            let (begun, ended) = (operation.begun, operation.ended);
            let mut change = |file: &Handle, what| match &open[file] {
                Opened::File(file) => disk.files[*file].changes.push(Change { begun, ended, what }),
                Opened::Folder(folder) => panic!("a folder was written to: {}", folder.display()),
            };
            match &operation.what {
                What::Write { file, offset, bytes } => change(file, Changed::Write(*offset, bytes.clone())),
                What::Resize { file, size } => change(file, Changed::Resize(*size)),
                What::Grow { file, size } => change(file, Changed::Grow(*size)),
                What::Sync { file } => match &open[file] {
                    Opened::File(file) => disk.files[*file].syncs.0.push((begun, ended)),
                    Opened::Folder(folder) => {
                        disk.folders.get_mut(folder).unwrap().0.push((begun, ended));
                    }
                },
                What::Open { path, file, .. } if disk.folders.contains_key(path) => {
                    open.insert(*file, Opened::Folder(path.clone()));
                }
                What::Open { path, file, truncates } => {
                    let place = *there.entry(path.clone()).or_insert_with(|| {
                        let place = disk.files.len();
                        let (changes, syncs) = (Vec::new(), Syncs::default());
                        disk.files.push(File { made_as: path.clone(), changes, syncs });
                        disk.names.push(Naming { at: begun, what: Named::Made(path.clone(), place) });
                        place
                    });
                    if *truncates {
                        let what = Changed::Resize(0);
                        disk.files[place].changes.push(Change { begun, ended, what });
                    }
                    open.insert(*file, Opened::File(place));
                }
                What::Rename { from, to } => {
                    let place = there.remove(from).expect("a file that is renamed");
                    there.insert(to.clone(), place);
                    let what = Named::Moved(from.clone(), to.clone(), place);
                    disk.names.push(Naming { at: begun, what });
                }
                What::Link { from, to } => {
                    let place = there[from];
                    there.insert(to.clone(), place);
                    disk.names.push(Naming { at: begun, what: Named::Made(to.clone(), place) });
                }
                What::Unlink { path } => {
                    there.remove(path).expect("a file that is deleted");
                    disk.names.push(Naming { at: begun, what: Named::Removed(path.clone()) });
                }
                What::MakeFolder { path } => {
                    disk.folders.insert(path.clone(), Syncs::default());
                    disk.names.push(Naming { at: begun, what: Named::Folder(path.clone()) });
                }
                What::Answer { .. } => {}
            }
        }
        disk
    }

    /// The disk after a power cut at this time. At the `worst`, all that was not synced is lost.
    pub fn cut(&self, at: usize, worst: bool, ignored: Ignored, dice: &mut Dice) -> State {
        let roll = |dice: &mut Dice| if worst { Luck::Lost } else { Luck::roll(dice) };
        let mut story = format!("cut at {at} of {}", self.log.end);
        let (folders, names) = self.names_after(at, roll(dice), ignored, dice, &mut story);
        let mut files = BTreeMap::new();
        for (path, place) in names {
            let file = &self.files[place];
            let is_ignored =
                matches!(ignored, Ignored::File(end) if file.made_as.to_string_lossy().ends_with(end));
            let durable_to = if is_ignored { 0 } else { file.syncs.durable_to(at) };
            let luck = roll(dice);
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with("-shm") {
                // SQLite recreates it, so its content after a crash does not matter.
                if dice.percent(50) {
                    let words = std::iter::repeat_with(|| dice.next().to_le_bytes());
                    files.insert(path, words.take(PAGE).flatten().collect());
                }
                continue;
            }
            let content = self.content(file, durable_to, at, luck, dice);
            if !name.ends_with(".gz") {
                write!(story, "; {name}: {luck:?}, {} bytes", content.len()).unwrap();
            }
            files.insert(path, content);
        }
        State { files, folders, story }
    }

    /// How often the start of a file with this name was written.
    pub fn written_from_the_beginning(&self, name: &str) -> usize {
        let files = self.files.iter().filter(|file| file.made_as.ends_with(name));
        let changes = files.flat_map(|file| &file.changes);
        changes.filter(|change| matches!(change.what, Changed::Write(0, _))).count()
    }

    fn names_after(
        &self,
        at: usize,
        luck: Luck,
        ignored: Ignored,
        dice: &mut Dice,
        story: &mut String,
    ) -> (Vec<PathBuf>, BTreeMap<PathBuf, usize>) {
        let in_order = dice.percent(50);
        write!(story, "; names: {luck:?}{}", if in_order { " in order" } else { "" }).unwrap();
        let mut folders = Vec::new();
        let mut names: BTreeMap<PathBuf, usize> = BTreeMap::new();
        let mut all_before = true;
        for naming in self.names.iter().filter(|naming| naming.at < at) {
            let folder = naming.what.folder();
            let is_ignored = matches!(ignored, Ignored::Folders);
            let is_durable = !is_ignored && naming.at < self.folders[folder].durable_to(at);
            let is_kept = is_durable || luck.keeps(dice) && (all_before || !in_order);
            all_before &= is_kept;
            if !is_kept {
                continue;
            }
            match &naming.what {
                Named::Made(path, file) => drop(names.insert(path.clone(), *file)),
                Named::Moved(from, to, file) => {
                    if names.get(from) == Some(file) {
                        names.remove(from);
                    }
                    names.insert(to.clone(), *file);
                }
                Named::Removed(path) => drop(names.remove(path)),
                Named::Folder(path) => folders.push(path.clone()),
            }
        }
        // If a folder does not exist, its content does not exist either.
        let made: Vec<&PathBuf> = self.folders.keys().filter(|folder| self.is_made(folder)).collect();
        names.retain(|path, _| {
            let lost = |folder: &&&PathBuf| path.starts_with(folder) && !folders.contains(folder);
            !made.iter().any(|folder| lost(&folder))
        });
        (folders, names)
    }

    fn is_made(&self, folder: &Path) -> bool {
        self.names.iter().any(|naming| matches!(&naming.what, Named::Folder(path) if path == folder))
    }

    fn content(&self, file: &File, durable_to: usize, at: usize, luck: Luck, dice: &mut Dice) -> Vec<u8> {
        let mut image = Vec::new();
        let before = file.changes.iter().filter(|change| change.begun < at);
        let (durable, open): (Vec<_>, Vec<_>) = before.partition(|change| change.ended < durable_to);
        for change in durable {
            change.apply(&mut image, self.log);
        }
        // Which changes each page has seen since it was durable, and how long the file was.
        let mut seen: BTreeMap<usize, Vec<&Change>> = BTreeMap::new();
        let mut sizes = vec![image.len()];
        for change in &open {
            let size = sizes[sizes.len() - 1];
            let (from, to) = match &change.what {
                Changed::Write(offset, bytes) => (*offset as usize, *offset as usize + bytes.len()),
                Changed::Resize(to) => (*to as usize, size),
                Changed::Grow(_) => (0, 0),
            };
            for page in from / PAGE..to.div_ceil(PAGE) {
                seen.entry(page).or_default().push(change);
            }
            sizes.push(match &change.what {
                Changed::Write(..) => size.max(to),
                Changed::Resize(to) => *to as usize,
                Changed::Grow(to) => size.max(*to as usize),
            });
        }
        let size = sizes[luck.pick(open.len(), dice)];
        let last = seen.values().filter_map(|changes| changes.last()).map(|change| change.begun).max();
        for (page, changes) in &seen {
            let is_last = changes.last().map(|change| change.begun) == last;
            let luck = if is_last { luck } else { luck.of_others(dice) };
            let begin = page * PAGE;
            if image.len() < begin + PAGE {
                image.resize(begin + PAGE, 0);
            }
            let first = luck.pick(changes.len(), dice);
            let second = if dice.percent(30) { luck.pick(changes.len(), dice) } else { first };
            let torn = dice.below((PAGE / SECTOR) as u64 + 1) as usize * SECTOR;
            let page = &image[begin..begin + PAGE];
            let [head, tail] = [first, second].map(|count| {
                let mut page = page.to_vec();
                changes[..count].iter().for_each(|change| change.apply_to_page(begin, &mut page, self.log));
                page
            });
            image[begin..begin + torn].copy_from_slice(&head[..torn]);
            image[begin + torn..begin + PAGE].copy_from_slice(&tail[torn..]);
        }
        image.resize(size, 0);
        image
    }
}

enum Opened {
    File(usize),
    Folder(PathBuf),
}

impl Syncs {
    /// Operations that ended before this are durable at a given time.
    fn durable_to(&self, at: usize) -> usize {
        self.0.iter().filter(|(_, ended)| *ended < at).map(|(begun, _)| *begun).max().unwrap_or_default()
    }
}

impl Named {
    fn folder(&self) -> &Path {
        match self {
            Self::Made(path, _) | Self::Moved(_, path, _) | Self::Removed(path) | Self::Folder(path) => {
                path.parent().expect("a folder")
            }
        }
    }
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>, log: &Log) {
        match &self.what {
            Changed::Write(offset, bytes) => {
                let from = *offset as usize;
                if image.len() < from + bytes.len() {
                    image.resize(from + bytes.len(), 0);
                }
                image[from..from + bytes.len()].copy_from_slice(log.bytes(bytes));
            }
            Changed::Resize(size) => image.resize(*size as usize, 0),
            Changed::Grow(size) => image.resize(image.len().max(*size as usize), 0),
        }
    }

    /// Applies the part of it that is in the page that starts here.
    fn apply_to_page(&self, begin: usize, page: &mut [u8], log: &Log) {
        match &self.what {
            Changed::Write(offset, bytes) => {
                let (from, data) = (*offset as usize, log.bytes(bytes));
                let (first, last) = (from.max(begin), (from + data.len()).min(begin + PAGE));
                page[first - begin..last - begin].copy_from_slice(&data[first - from..last - from]);
            }
            Changed::Resize(size) => page[(*size as usize).saturating_sub(begin).min(PAGE)..].fill(0),
            Changed::Grow(_) => {}
        }
    }
}

impl Luck {
    fn roll(dice: &mut Dice) -> Self {
        match dice.below(6) {
            0 | 1 => Self::Lost,
            2 => Self::Kept,
            3 => Self::Latest,
            _ => Self::Parts([5, 50, 95][dice.below(3) as usize]),
        }
    }

    fn keeps(self, dice: &mut Dice) -> bool {
        match self {
            Self::Lost => false,
            Self::Kept => true,
            Self::Latest => dice.percent(50),
            Self::Parts(chance) => dice.percent(chance),
        }
    }

    /// Picks how many of the changes are on the disk.
    fn pick(self, changes: usize, dice: &mut Dice) -> usize {
        match self {
            Self::Lost => 0,
            Self::Kept | Self::Latest => changes,
            Self::Parts(chance) if dice.percent(50) => {
                if dice.percent(chance) {
                    changes
                } else {
                    0
                }
            }
            Self::Parts(_) => dice.below(changes as u64 + 1) as usize,
        }
    }

    /// What survives of a page that was not written last.
    fn of_others(self, dice: &mut Dice) -> Self {
        match self {
            Self::Latest if dice.percent(80) => Self::Lost,
            other => other,
        }
    }
}
