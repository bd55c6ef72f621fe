//! The simulated disk keeps synced data, and loses unsynced data at random.

use super::{DriveFault, Held, SimDisk};
use crate::storage::buffer::BufferPool;
use crate::storage::disk::{
    Caching, Disk, DiskFile, OpenMode, create_dir_durably, read_file, replace_file, rewrite_and_sync,
};
use std::collections::BTreeSet;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

fn created(disk: &SimDisk, path: &str) -> Arc<dyn DiskFile> {
    disk.open(Path::new(path), OpenMode::CreateNew, Caching::Direct).expect("created")
}

fn write(file: &Arc<dyn DiskFile>, offset: u64, byte: u8, len: usize) {
    file.write_all_at(&[IoSlice::new(&vec![byte; len])], offset).expect("written");
}

#[test]
fn synced_bytes_survive_every_power_cut_and_unsynced_ones_may_not() {
    let mut found = BTreeSet::new();
    for seed in 0..200 {
        let disk = SimDisk::new(1 << 20);
        let file = created(&disk, "/file");
        write(&file, 0, 1, 1024);
        file.sync_data().expect("synced");
        disk.sync_dir(Path::new("/")).expect("synced");
        write(&file, 512, 2, 1024);
        let after = read_file(&disk.power_cut(seed), Path::new("/file")).expect("the name was synced");
        assert_eq!(after[..512], [1; 512]);
        assert!(after[512..1024].iter().all(|&byte| byte == 1) || after[512..1024].iter().all(|&byte| byte == 2));
        found.insert((after[512], after.len(), after.get(1024).copied()));
        assert!(file.sync_data().is_err(), "the disk that lost its power is gone");
    }
    assert!(found.len() >= 4, "each unsynced sector fares on its own: {found:?}");
}

#[test]
fn unsynced_file_names_may_be_lost_or_kept_by_a_power_cut() {
    let (mut kept, mut lost) = (0, 0);
    for seed in 0..100 {
        let disk = SimDisk::new(1 << 20);
        disk.create_dir_all(Path::new("/a/b")).expect("created");
        disk.sync_dir(Path::new("/a")).expect("synced");
        disk.sync_dir(Path::new("/")).expect("synced");
        replace_file(&disk, Path::new("/a/b/whole"), b"content").expect("replaced");
        created(&disk, "/a/b/loose").sync_data().expect("synced");
        let after = disk.power_cut(seed);
        assert_eq!(read_file(&after, Path::new("/a/b/whole")).expect("covered by sync_dir"), b"content");
        if after.exists(Path::new("/a/b/loose")).expect("looked for") { kept += 1 } else { lost += 1 }
    }
    assert!(kept > 10 && lost > 10, "kept {kept}, lost {lost}");
}

#[test]
fn a_later_sync_does_not_make_the_bytes_of_a_failed_one_durable() {
    let mut lost = 0;
    for seed in 0..100 {
        let disk = SimDisk::new(1 << 20);
        let file = created(&disk, "/file");
        file.allocate(512).expect("allocated");
        file.sync_data().expect("synced");
        disk.sync_dir(Path::new("/")).expect("synced");
        write(&file, 0, 1, 512);
        disk.fail_next_syncs(1);
        assert!(file.sync_data().is_err());
        file.sync_data().expect("reports success");
        lost += usize::from(read_file(&disk.power_cut(seed), Path::new("/file")).expect("read")[0] == 0);
    }
    assert!(lost > 10, "lost {lost}");
}

#[test]
fn everything_fails_from_the_chosen_change_on() {
    let disk = SimDisk::new(1 << 20);
    let file = created(&disk, "/file");
    disk.halt_at(3);
    write(&file, 0, 1, 10);
    assert!(file.write_all_at(&[IoSlice::new(&[2; 10])], 10).is_err());
    assert!(file.read_exact_at(&mut [0; 1], 0).is_err());
    assert!(disk.is_halted() && disk.list(Path::new("/")).is_err());
}

#[test]
fn a_held_sync_waits_until_it_is_released() {
    let disk = SimDisk::new(1 << 20);
    let file = created(&disk, "/file");
    let hold = disk.hold(Held::Sync);
    let syncing = std::thread::spawn({
        let file = Arc::clone(&file);
        move || file.sync_data()
    });
    hold.wait_for_arrivals(1);
    write(&file, 0, 1, 10);
    assert_eq!(disk.operations().syncs, 0);
    drop(hold);
    syncing.join().expect("joined").expect("synced");
    assert_eq!(disk.operations().syncs, 1);
}

#[test]
fn a_drive_fault_affects_everything_in_its_directory_and_nothing_else() {
    let disk = SimDisk::new(1 << 20);
    for dir in ["/d0", "/d1"] {
        disk.create_dir_all(Path::new(dir)).expect("made");
    }
    let files = [created(&disk, "/d0/file"), created(&disk, "/d1/file")];
    files.iter().for_each(|file| write(file, 0, 1, 512));
    let outcomes = |file: &Arc<dyn DiskFile>| {
        let writes = |offset| file.write_all_at(&[IoSlice::new(&[2; 512])], offset).is_ok();
        (file.read_exact_at(&mut [0; 1], 0).is_ok(), writes(0), writes(512), file.sync_data().is_ok())
    };
    let faults = [
        (DriveFault::Full, (true, true, false, true)),
        (DriveFault::Unreadable, (false, true, true, true)),
        (DriveFault::Dead, (false, false, false, false)),
    ];
    for (fault, expected) in faults {
        disk.fail_drive(Path::new("/d1"), fault);
        assert_eq!((outcomes(&files[0]), outcomes(&files[1])), ((true, true, true, true), expected), "{fault:?}");
    }
    assert!(disk.list(Path::new("/d1")).is_err() && disk.list(Path::new("/d0")).is_ok());
}

#[test]
fn a_power_cut_to_the_synced_state_loses_all_unsynced_bytes() {
    let disk = SimDisk::new(1 << 20);
    let file = created(&disk, "/file");
    write(&file, 0, 1, 512);
    file.sync_data().expect("synced");
    disk.sync_dir(Path::new("/")).expect("synced");
    write(&file, 0, 2, 512);
    created(&disk, "/other");
    for seed in 0..20 {
        let after = disk.power_cut_to_what_was_synced(seed);
        assert_eq!(read_file(&after, Path::new("/file")).expect("read"), [1; 512]);
        assert!(!after.exists(Path::new("/other")).expect("looked for"));
    }
}

#[test]
fn a_full_disk_refuses_to_grow_a_file() {
    let disk = SimDisk::new(8192);
    let file = created(&disk, "/file");
    file.allocate(8000).expect("room");
    assert_eq!(file.allocate(9000).expect_err("no room").kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(disk.space(Path::new("/")).expect("space").free_bytes, 192);
}

#[test]
fn a_durable_directory_and_synced_files_in_it_survive_every_power_cut() {
    // Made by this process, or by one before it that was killed before it synced anything.
    for made_before in [false, true] {
        for seed in 0..50 {
            let disk = SimDisk::new(1 << 20);
            if made_before {
                disk.create_dir_all(Path::new("/drive/meta")).expect("made");
            }
            create_dir_durably(&disk, Path::new("/drive/meta")).expect("made");
            created(&disk, "/drive/meta/file").sync_data().expect("synced");
            disk.sync_dir(Path::new("/drive/meta")).expect("synced");
            let after = disk.power_cut(seed);
            assert!(after.exists(Path::new("/drive/meta/file")).expect("looked for"), "seed {seed}");
        }
    }
}

/// A process makes one level, and is killed before it syncs its name.
#[test]
fn a_directory_whose_making_was_cut_short_at_any_level_is_durable_once_it_is_made_again() {
    let levels: Vec<&Path> = ["/drive", "/drive/a", "/drive/a/b", "/drive/a/b/c"].map(Path::new).into();
    for cut in 0..levels.len() {
        for seed in 0..20 {
            let disk = SimDisk::new(1 << 20);
            if cut > 0 {
                create_dir_durably(&disk, levels[cut - 1]).expect("made");
            }
            disk.create_dir_all(levels[cut]).expect("made");
            create_dir_durably(&disk, levels[3]).expect("made");
            let after = disk.power_cut(seed);
            assert!(after.exists(levels[3]).expect("looked for"), "level {cut}, seed {seed}");
        }
    }
}

#[test]
fn a_directory_is_not_made_before_the_name_of_the_one_above_is_synced() {
    let disk = SimDisk::new(1 << 20);
    let hold = disk.hold(Held::SyncDir);
    let making = std::thread::spawn({
        let disk = disk.clone();
        move || create_dir_durably(&disk, Path::new("/drive/a/b"))
    });
    hold.wait_for_arrivals(1);
    assert!(disk.exists(Path::new("/drive")).expect("looked for"));
    assert!(!disk.exists(Path::new("/drive/a")).expect("looked for"));
    drop(hold);
    making.join().expect("it does not panic").expect("made");
    assert!(disk.exists(Path::new("/drive/a/b")).expect("looked for"));
}

#[test]
fn rewritten_bytes_survive_an_earlier_failed_sync() {
    for seed in 0..50 {
        let disk = SimDisk::new(1 << 20);
        let file = created(&disk, "/file");
        file.allocate(3 * 4096).expect("allocated");
        file.sync_data().expect("synced");
        disk.sync_dir(Path::new("/")).expect("synced");
        write(&file, 5000, 1, 2000);
        disk.fail_next_syncs(1);
        assert!(file.sync_data().is_err());
        rewrite_and_sync(&*file, 5000..7000, &BufferPool::new(0)).expect("written");
        let after = read_file(&disk.power_cut(seed), Path::new("/file")).expect("read");
        assert!(after[5000..7000].iter().all(|&byte| byte == 1), "seed {seed}");
        assert!(after[..5000].iter().chain(&after[7000..]).all(|&byte| byte == 0));
    }
}

#[test]
fn a_small_file_whose_draft_cannot_be_synced_stays_as_it_was() {
    let disk = SimDisk::new(1 << 20);
    replace_file(&disk, Path::new("/small"), b"one").expect("replaced");
    disk.fail_next_syncs(1);
    assert!(replace_file(&disk, Path::new("/small"), b"two").is_err());
    assert_eq!(disk.list(Path::new("/")).expect("listed"), ["small"]);
    assert_eq!(read_file(&disk.power_cut(1), Path::new("/small")).expect("read"), b"one");
}
