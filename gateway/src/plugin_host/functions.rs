//! Compiled functions, by what they were compiled from. A component of JavaScript or Python is an interpreter with a
//! plugin in its memory: of its next build nearly every function is the same, and is looked up instead of compiled. The
//! keys are Cranelift's: SHA-256 over all that a function's code depends on. Of about one function in six the key differs
//! from run to run by chance, and each build finds half of those that were left; so the first few still add functions.
//!
//! Invariant: a function is taken only whole: each has a SHA-256 over its key and itself. What is damaged counts as if it
//! were not there.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use wasmtime::CacheStore;

/// What the name of a file of functions ends with.
const EXTENSION: &str = "functions";
/// What such a file begins with: its form.
const FORM: &[u8; 8] = b"\0fn-v1\0\0";
/// Of an entry in a file's index: key, place, length, sum.
const ENTRY: usize = 32 + 8 + 8 + 32;
/// Functions of one file, at most; an index of so many is 10 MB.
const MOST: u64 = 1 << 17;
/// Bytes of new functions for which it is worth to write a file.
const LEAST_BYTES: usize = 64 * 1024;
/// Bytes of all files together; an interpreter's take 35 to 60 MB.
const ALL_BYTES: u64 = 256 * 1024 * 1024;

/// Files, at most: each is open while something is compiled.
const MOST_FILES: usize = 64;

type Key = [u8; 32];

/// What a directory of compiled functions holds, and what a compilation adds to it.
#[derive(Debug)]
pub(super) struct Functions {
    directory: PathBuf,
    packs: Vec<Pack>,
    found: HashMap<Key, Place>,
    new: Mutex<HashMap<Key, Vec<u8>>>,
}

/// One file.
#[derive(Debug)]
struct Pack {
    path: PathBuf,
    file: File,
    bytes: u64,
    used: AtomicBool,
    damaged: AtomicBool,
}

/// Where a function stands.
#[derive(Debug)]
struct Place {
    pack: usize,
    offset: u64,
    length: usize,
    sum: [u8; 32],
}

impl Pack {
    fn at(&self, place: &Place) -> Option<Vec<u8>> {
        // What is damaged may claim to be of any length.
        if place.length as u64 > self.bytes {
            return None;
        }
        let mut code = vec![0; place.length];
        self.file.read_exact_at(&mut code, place.offset).ok()?;
        Some(code)
    }
}

impl Functions {
    /// Reads what there is. Where nothing can be read there is nothing.
    pub(super) fn open(directory: &Path) -> Self {
        let mut functions = Self {
            directory: directory.to_owned(),
            packs: Vec::new(),
            found: HashMap::new(),
            new: Mutex::default(),
        };
        let mut newest_first = files(directory);
        newest_first.sort_unstable_by(|a, b| b.cmp(a));
        for (_, _, path) in newest_first.into_iter().take(MOST_FILES) {
            use io::ErrorKind::{InvalidData, UnexpectedEof};
            // A file that cannot be read for now is not damaged.
            let read = functions.read(path.clone());
            if read.is_err_and(|error| matches!(error.kind(), InvalidData | UnexpectedEof)) {
                let _ = fs::remove_file(path);
            }
        }
        functions
    }

    fn read(&mut self, path: PathBuf) -> io::Result<()> {
        let damaged = || io::Error::from(io::ErrorKind::InvalidData);
        // To be marked as used.
        let file = File::options().read(true).write(true).open(&path)?;
        let bytes = file.metadata()?.len();
        let mut head = [0; 16];
        file.read_exact_at(&mut head, 0)?;
        let (form, count) = head.split_first_chunk::<8>().ok_or_else(damaged)?;
        let count = u64::from_be_bytes(count.try_into().map_err(|_| damaged())?);
        if form != FORM || count > MOST {
            return Err(damaged());
        }
        let mut index = vec![0; usize::try_from(count).map_err(|_| damaged())? * ENTRY];
        file.read_exact_at(&mut index, 16)?;
        let pack = self.packs.len();
        for entry in index.chunks_exact(ENTRY) {
            let (key, rest) = entry.split_first_chunk::<32>().ok_or_else(damaged)?;
            let (offset, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
            let (length, sum) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
            let place = Place {
                pack,
                offset: u64::from_be_bytes(*offset),
                length: usize::try_from(u64::from_be_bytes(*length)).map_err(|_| damaged())?,
                sum: sum.try_into().map_err(|_| damaged())?,
            };
            self.found.insert(*key, place);
        }
        self.packs.push(Pack {
            path,
            file,
            bytes,
            used: AtomicBool::default(),
            damaged: AtomicBool::default(),
        });
        Ok(())
    }

    fn look_up(&self, key: &Key) -> Option<Vec<u8>> {
        let place = self.found.get(key)?;
        let pack = self.packs.get(place.pack)?;
        let code = pack.at(place).filter(|code| sum(key, code) == place.sum);
        let found = if code.is_some() { &pack.used } else { &pack.damaged };
        found.store(true, Ordering::Relaxed);
        code
    }

    /// Writes what is new, by way of `scratch` on the same file system, and removes files that are damaged, and where there
    /// is too much those that were used longest ago. Only time is at stake, so what cannot be written is not.
    pub(super) fn keep(&self, scratch: &Path) {
        let now = SystemTime::now();
        for pack in &self.packs {
            if pack.damaged.load(Ordering::Relaxed) {
                let _ = fs::remove_file(&pack.path);
            } else if pack.used.load(Ordering::Relaxed) {
                let _ = pack.file.set_modified(now);
            }
        }
        let new = std::mem::take(&mut *self.new.lock().unwrap_or_else(PoisonError::into_inner));
        if new.values().map(Vec::len).sum::<usize>() >= LEAST_BYTES {
            let _ = write(&self.directory, scratch, &new);
        }
        self.trim(ALL_BYTES);
    }

    fn trim(&self, bytes: u64) {
        let mut files = files(&self.directory);
        files.sort_unstable();
        let mut taken: u64 = files.iter().map(|(_, length, _)| length).sum();
        let count = files.len();
        for (at, (_, length, path)) in files.into_iter().enumerate() {
            if taken <= bytes && count - at <= MOST_FILES {
                return;
            }
            if fs::remove_file(path).is_ok() {
                taken = taken.saturating_sub(length);
            }
        }
    }
}

impl CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.look_up(key.try_into().ok()?).map(Cow::Owned)
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let Ok(key) = key.try_into() else { return false };
        self.new.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value);
        true
    }
}

/// The files of functions in a directory: when they were used last, their length, their path.
fn files(directory: &Path) -> Vec<(SystemTime, u64, PathBuf)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == EXTENSION))
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        })
        .collect()
}

/// Writes a file whole, under a name of its own.
fn write(directory: &Path, scratch: &Path, functions: &HashMap<Key, Vec<u8>>) -> io::Result<()> {
    let suffix = format!(".{EXTENSION}");
    let mut file = tempfile::Builder::new().prefix("").suffix(&suffix).tempfile_in(scratch)?;
    let mut out = BufWriter::with_capacity(1 << 20, file.as_file_mut());
    out.write_all(FORM)?;
    out.write_all(&(functions.len() as u64).to_be_bytes())?;
    let mut offset = 16 + (functions.len() * ENTRY) as u64;
    for (key, code) in functions {
        out.write_all(key)?;
        out.write_all(&offset.to_be_bytes())?;
        out.write_all(&(code.len() as u64).to_be_bytes())?;
        out.write_all(&sum(key, code))?;
        offset += code.len() as u64;
    }
    for code in functions.values() {
        out.write_all(code)?;
    }
    out.flush()?;
    drop(out);
    let name = file.path().file_name().map(PathBuf::from).unwrap_or_default();
    file.persist(directory.join(name))?;
    Ok(())
}

fn sum(key: &Key, code: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(key).chain_update(code).finalize().into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Functions of the given number each: enough to be written.
    fn written(directory: &Path, number: u8) -> PathBuf {
        let before: Vec<_> = files(directory).into_iter().map(|(.., path)| path).collect();
        let functions = Functions::open(directory);
        for part in 0..2 {
            assert!(functions.insert(&key(number, part), vec![!number; LEAST_BYTES]));
        }
        functions.keep(directory);
        files(directory).into_iter().map(|(.., path)| path).find(|path| !before.contains(path)).unwrap()
    }

    fn key(number: u8, part: u8) -> Key {
        let mut key = [number; 32];
        key[31] = part;
        key
    }

    /// How many of the two functions a compilation finds, whole.
    fn found(directory: &Path, number: u8) -> usize {
        let functions = Functions::open(directory);
        let parts = (0..2).filter_map(|part| functions.get(&key(number, part)).map(Cow::into_owned));
        let count = parts.inspect(|code| assert_eq!(code, &vec![!number; LEAST_BYTES])).count();
        functions.keep(directory);
        count
    }

    #[test]
    fn what_one_compilation_wrote_the_next_one_finds() {
        let directory = tempfile::tempdir().unwrap();
        written(directory.path(), 1);
        written(directory.path(), 2);
        assert_eq!([1, 2, 3].map(|number| found(directory.path(), number)), [2, 2, 0]);
        assert!(Functions::open(directory.path()).get(b"no key").is_none());
    }

    #[test]
    fn there_are_no_more_files_than_can_be_open() {
        let directory = tempfile::tempdir().unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(600);
        for number in 0..70 {
            let file = File::options().write(true).open(written(directory.path(), number)).unwrap();
            file.set_modified(long_ago + Duration::from_secs(number.into())).unwrap();
        }
        assert_eq!(files(directory.path()).len(), MOST_FILES);
        assert_eq!(found(directory.path(), 69), 2, "the newest is there");
    }

    #[test]
    fn a_few_functions_are_not_worth_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let functions = Functions::open(directory.path());
        functions.insert(&key(1, 0), vec![1; LEAST_BYTES - 1]);
        functions.keep(directory.path());
        assert!(files(directory.path()).is_empty());
    }

    #[test]
    fn a_damaged_function_counts_as_absent_and_is_written_again() {
        type Damage = fn(&mut Vec<u8>);
        let damage: [(&str, Damage, usize); 9] = [
            ("nothing", |_| {}, 2),
            ("another form", |file| file[3] = b'x', 0),
            ("more functions than it has", |file| file[15] = 200, 2),
            ("more functions than memory", |file| file[8] = 0xff, 0),
            ("a key", |file| file[16] ^= 1, 1),
            ("a place", |file| file[16 + 32] = 0xff, 1),
            ("a length", |file| file[16 + 40] = 0xff, 1),
            ("a sum", |file| file[16 + 48] ^= 1, 1),
            ("code that ends early", |file| file.truncate(file.len() - 1), 1),
        ];
        for (what, damage, left) in damage {
            let directory = tempfile::tempdir().unwrap();
            let path = written(directory.path(), 1);
            let mut file = fs::read(&path).unwrap();
            damage(&mut file);
            fs::write(&path, file).unwrap();
            assert_eq!(found(directory.path(), 1), left, "{what}");
            written(directory.path(), 1);
            assert_eq!(found(directory.path(), 1), 2, "{what}");
        }
    }

    #[test]
    fn what_was_used_longest_ago_goes_where_there_is_too_much() {
        let directory = tempfile::tempdir().unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(60);
        for number in 0..3 {
            let path = written(directory.path(), number);
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(long_ago + Duration::from_secs(number.into())).unwrap();
        }
        let functions = Functions::open(directory.path());
        functions.get(&key(0, 0)).unwrap();
        functions.keep(directory.path());
        functions.trim(5 * LEAST_BYTES as u64);
        assert_eq!([0, 1, 2].map(|number| found(directory.path(), number)), [2, 0, 2]);
    }
}
