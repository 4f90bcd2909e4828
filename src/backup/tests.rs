use super::*;
use engine::snapshot::Record;

/// A folder of this test's alone, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("downbeat-backup-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Folder(folder)
    }

    fn settings(&self) -> BackupSettings {
        BackupSettings { dir: Some(self.0.clone()), file: None, interval_ms: 5_000 }
    }

    fn open(&self) -> Store {
        Store::open(&self.settings()).unwrap().unwrap()
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn slice(codes: &[&str]) -> Arc<Slice> {
    let mut slice = Slice::default();
    for code in codes {
        slice.push(&Record {
            code: (*code).into(),
            host: None,
            audio_url: "https://cdn.example/1.mp3".into(),
            duration: None,
            started_us: None,
            paused_us: Some(7),
        });
    }
    Arc::new(slice)
}

fn save(store: &mut Store, codes: &[&str]) -> Written {
    let generation = store.next_generation();
    write(store.folder(), generation, &Clock::start(), &[slice(codes), slice(&[])]).unwrap()
}

fn codes(found: &Found) -> Vec<String> {
    let restored = found.restored.as_ref().expect("rooms were found");
    restored.records().map(|record| record.code.into_owned()).collect()
}

#[test]
fn three_generations_are_kept_and_the_newest_is_read() {
    let folder = Folder::new("generations");
    let mut store = folder.open();
    for codes in [&["A"][..], &["B"], &["C"], &["D", "E"]] {
        assert_eq!(save(&mut store, codes).rooms, codes.len() as u64);
    }
    assert_eq!(folder.names().len(), GENERATIONS + 1, "and the lock: {:?}", folder.names());
    drop(store);
    let found = folder.open().load(&Clock::start());
    assert_eq!((codes(&found), found.remarks), (vec!["D".to_owned(), "E".to_owned()], vec![]));
    assert_eq!(folder.open().generation, 4);
}

#[test]
fn a_damaged_one_is_set_aside_and_the_one_before_is_used() {
    let folder = Folder::new("damaged");
    let mut store = folder.open();
    save(&mut store, &["A"]);
    save(&mut store, &["B"]);
    let newest = files(&folder.0).unwrap().pop().unwrap().1;
    let mut bytes = fs::read(&newest).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&newest, bytes).unwrap();
    let found = store.load(&Clock::start());
    assert_eq!(codes(&found), ["A"]);
    let [remark] = &found.remarks[..] else { panic!("{:?}", found.remarks) };
    assert!(remark.contains("its record 0 is damaged") && remark.contains(".corrupt"), "{remark}");
    assert!(folder.names().iter().any(|name| name.ends_with(CORRUPT_SUFFIX)));
    assert!(store.load(&Clock::start()).remarks.is_empty(), "it is said once");
}

#[test]
fn what_kills_have_left_beyond_three_generations_is_removed_at_the_start() {
    let folder = Folder::new("older");
    let mut store = folder.open();
    save(&mut store, &["A"]);
    let sound = fs::read(&files(&folder.0).unwrap()[0].1).unwrap();
    // Each of four processes ended between its snapshot and the removal of what had become too old.
    for generation in 2..=5 {
        fs::write(folder.0.join(format!("{PREFIX}{generation:020}{SUFFIX}")), &sound).unwrap();
    }
    // The newest is damaged: it is no generation any more.
    fs::write(folder.0.join(format!("{PREFIX}{:020}{SUFFIX}", 6)), b"DOWNBEAT").unwrap();
    assert_eq!(codes(&store.load(&Clock::start())), ["A"]);
    let kept: Vec<u64> = files(&folder.0).unwrap().into_iter().map(|(generation, _)| generation).collect();
    assert_eq!(kept, [3, 4, 5]);
}

#[test]
fn a_second_process_is_refused() {
    let folder = Folder::new("lock");
    let store = folder.open();
    let refused = Store::open(&folder.settings()).err().unwrap().to_string();
    assert!(refused.contains("another process keeps its rooms in"), "{refused}");
    drop(store);
    folder.open();
}

#[test]
fn what_a_killed_process_has_left_is_removed() {
    let folder = Folder::new("killed");
    drop(folder.open());
    let half = folder.0.join(format!("{PREFIX}{:020}{TEMPORARY_SUFFIX}", 5));
    fs::write(&half, b"DOWNBEAT").unwrap();
    drop(folder.open());
    assert!(!half.exists());
}

#[test]
fn files_are_for_nobody_else() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("modes");
    save(&mut folder.open(), &["A"]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let newest = files(&folder.0).unwrap().pop().unwrap().1;
    assert_eq!((mode(&folder.0), mode(&newest)), (FOLDER_MODE, FILE_MODE));
}

#[test]
fn a_write_that_fails_leaves_nothing_and_the_next_has_a_file_of_its_own() {
    let folder = Folder::new("fails");
    let mut store = folder.open();
    let generation = store.next_generation();
    let temporary = folder.0.join(format!("{PREFIX}{generation:020}{TEMPORARY_SUFFIX}"));
    fs::create_dir(&temporary).unwrap();
    assert!(write(&folder.0, generation, &Clock::start(), &[slice(&["A"])]).is_err());
    assert_eq!(save(&mut store, &["A"]).generation, generation + 1);
}

#[test]
fn the_old_servers_file_is_used_if_it_is_newer() {
    let folder = Folder::new("import");
    let mut store = folder.open();
    let old = folder.0.join("state-backup.json");
    let text = |unix_ms: i64| {
        let track = r#""currentTrack": "https://cdn.example/1.mp3""#;
        format!(
            r#"{{"generatedAt": {unix_ms}, "rooms": [{{"roomCode": "OLD", {track}, "isPlaying": false}}]}}"#
        )
    };
    let now_ms = Clock::start().now().unix_us / 1_000;
    fs::write(&old, text(now_ms)).unwrap();
    assert_eq!(codes(&store.load(&Clock::start())), ["OLD"]);
    save(&mut store, &["NEW"]);
    fs::write(&old, text(now_ms - 60_000)).unwrap();
    assert_eq!(codes(&store.load(&Clock::start())), ["NEW"]);
    fs::write(&old, "not JSON").unwrap();
    let found = store.load(&Clock::start());
    assert_eq!(codes(&found), ["NEW"]);
    assert!(found.remarks[0].contains("is not used"), "{:?}", found.remarks);
}
