//! A fuzzer of few lines for toolchains without libFuzzer: changes the corpus's inputs at random, and replays.
//!
//! `mutate TARGET [SECONDS [SEED]]` runs mutants until the time is over; `mutate TARGET FILE...` runs just these
//! inputs. It knows no coverage, so it finds less than libFuzzer in the same time; the same seed makes the same
//! mutants. A mutant that breaks its property is kept, with the command that replays it.

use properties::{TARGETS, Target, holds};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const INPUT_BYTES_MAX: usize = 4096;
const DEFAULT_SECONDS: u64 = 30;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = words.split_first() else { return usage() };
    let Some((name, target)) = TARGETS.into_iter().find(|(it, _)| it == name) else { return usage() };
    let numbers: Result<Vec<u64>, _> = rest.iter().map(|word| word.parse()).collect();
    match numbers.as_deref() {
        Ok([]) => mutate(name, target, DEFAULT_SECONDS, 1),
        Ok([seconds]) => mutate(name, target, *seconds, 1),
        Ok([seconds, seed]) => mutate(name, target, *seconds, *seed),
        Ok(_) => usage(),
        Err(_) => replay(name, target, rest),
    }
}

fn usage() -> ExitCode {
    let names = TARGETS.map(|(name, _)| name).join("|");
    eprintln!("usage: mutate {names} [SECONDS [SEED]]\n       mutate {names} FILE...");
    ExitCode::from(2)
}

fn replay(name: &str, target: Target, paths: &[String]) -> ExitCode {
    for path in paths {
        let word = match fs::read(path) {
            Ok(bytes) if holds(target, &bytes) => "holds",
            Ok(_) => "does not hold",
            Err(error) => {
                eprintln!("{path}: {error}");
                return ExitCode::FAILURE;
            }
        };
        eprintln!("{name} {word} for {path}");
        if word != "holds" {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn mutate(name: &str, target: Target, seconds: u64, seed: u64) -> ExitCode {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let corpus = read_corpus(&home.join("corpus").join(name));
    let words = read_dictionary(&home.join("dictionaries").join(format!("{name}.dict")));
    let mut random = Random(seed.wrapping_mul(2).wrapping_add(1));
    let (start, time) = (Instant::now(), Duration::from_secs(seconds));
    let mut runs = 0_u64;
    while start.elapsed() < time {
        let mutant = random.mutant(&corpus, &words);
        runs += 1;
        if !holds(target, &mutant) {
            let path = keep(&home.join("artifacts").join(name), &mutant);
            eprintln!(
                "\n{name} does not hold for {} (run {runs} of seed {seed}); replay it with",
                path.display()
            );
            eprintln!(
                "cargo run --profile fuzz -p downbeat-properties --bin mutate -- {name} {}",
                path.display()
            );
            return ExitCode::FAILURE;
        }
    }
    eprintln!("{name}: {runs} mutants of {} inputs held, seed {seed}, {seconds} s", corpus.len());
    ExitCode::SUCCESS
}

fn keep(folder: &Path, mutant: &[u8]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    mutant.hash(&mut hasher);
    let path = folder.join(format!("crash-{:016x}", hasher.finish()));
    if let Err(error) = fs::create_dir_all(folder).and_then(|()| fs::write(&path, mutant)) {
        eprintln!("{}: {error}; the input is {mutant:02x?}", path.display());
    }
    path
}

/// The inputs in the order of their names; an empty one if there are none.
fn read_corpus(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let mut corpus: Vec<Vec<u8>> = paths.iter().filter_map(|path| fs::read(path).ok()).collect();
    if corpus.is_empty() {
        corpus.push(Vec::new());
    }
    corpus
}

/// The words of a dictionary in libFuzzer's form, `"text"` with `\\`, `\"` and `\xAB`; none if there is no file.
fn read_dictionary(path: &Path) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let quoted = text.lines().filter_map(|line| line.split_once('"')?.1.strip_suffix('"'));
    quoted.map(unescaped).collect()
}

fn unescaped(quoted: &str) -> Vec<u8> {
    let mut word = Vec::new();
    let mut rest = quoted.as_bytes();
    while let [byte, behind @ ..] = rest {
        let hex = behind.strip_prefix(b"x").and_then(|it| std::str::from_utf8(it.get(..2)?).ok());
        let code = hex.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = match (byte, code, behind) {
            (b'\\', Some(code), _) => {
                word.push(code);
                &behind[3..]
            }
            (b'\\', None, [escaped, behind @ ..]) => {
                word.push(*escaped);
                behind
            }
            _ => {
                word.push(*byte);
                behind
            }
        };
    }
    word
}

/// Marsaglia's xorshift: good enough to choose mutations with.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// 0 ≤ choice < `count`; 0 if there are none.
    fn below(&mut self, count: usize) -> usize {
        (self.next() >> 11) as usize % count.max(1)
    }

    fn range(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        start..start + self.below((bytes.len() - start).min(64) + 1)
    }

    /// An input of the corpus, changed in one to eight places.
    fn mutant(&mut self, corpus: &[Vec<u8>], words: &[Vec<u8>]) -> Vec<u8> {
        let mut mutant = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(8) {
            let range = self.range(&mutant);
            match self.below(7) {
                0 => drop(mutant.drain(range)),
                1 => {
                    let copy = mutant[range].to_vec();
                    let at = self.below(mutant.len() + 1);
                    drop(mutant.splice(at..at, copy));
                }
                2 => {
                    let other = &corpus[self.below(corpus.len())];
                    let part = other[self.range(other)].to_vec();
                    drop(mutant.splice(range, part));
                }
                3 if !words.is_empty() => {
                    let word = words[self.below(words.len())].clone();
                    drop(mutant.splice(range.start..range.start, word));
                }
                4 => mutant.insert(range.start, self.next() as u8),
                _ if mutant.is_empty() => mutant.push(self.next() as u8),
                5 => {
                    let at = self.below(mutant.len());
                    mutant[at] ^= 1 << self.below(8);
                }
                _ => {
                    let at = self.below(mutant.len());
                    mutant[at] = [0, 1, 0x7e, 0x7f, 0x80, 0xff, self.next() as u8][self.below(7)];
                }
            }
        }
        mutant.truncate(INPUT_BYTES_MAX);
        mutant
    }
}
