//! On a disk without room, as far as one may be mounted.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use super::*;

/// A small file system under the state, seen by this test's thread and what it starts. Declared after the
/// site, so that it is let go of before its directory is removed.
struct Disk {
    at: std::path::PathBuf,
}

impl Disk {
    /// `None` where no file system may be mounted.
    fn under(site: &Site) -> Option<Self> {
        const NONE: Option<&str> = None;
        let at = site.layout().state_dir;
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).ok()?;
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).ok()?;
        let tmpfs = Some("tmpfs");
        mount(tmpfs, &at, tmpfs, MsFlags::empty(), Some("size=1m")).ok()?;
        site.layout().create_stream(&main()).unwrap();
        Some(Self { at })
    }

    fn fill(&self) {
        let mut filler = fs::File::create(self.at.join("filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
    }

    fn clear(&self) {
        fs::remove_file(self.at.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whatever is still mounted ends with the last process that sees it.
        let _gone = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

#[tokio::test]
async fn a_history_that_is_removed_from_a_full_disk_is_whole_when_there_is_room() {
    let mut site = Site::new();
    let Some(disk) = Disk::under(&site) else {
        return;
    };
    let history = site.history();
    site.want(&history, 0);
    site.begin(1, 1_000, Some(moment::boot_id()));
    let before = told(&incidents(&history).await, &site);
    assert_eq!(before, [(0, 1.5, DarkCause::Starting)]);
    disk.fill();
    let file = site.layout().history_file();
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(format!("{}{suffix}", file.display())).unwrap();
    }
    // It is kept open, and still answers.
    assert_eq!(told(&incidents(&history).await, &site), before);
    let fault = history.fault().unwrap();
    assert!(
        fault.contains("removed") && fault.contains("MiB"),
        "{fault}"
    );
    assert!(!file.exists());
    let gone = What::Gone {
        worker: "w1".into(),
        cause: DarkCause::WorkerCrashed,
        error_type: None,
    };
    history.saw_at(&main(), site.moment(9_000), gone);
    site.want(&history, 9_001);
    assert_eq!(told(&incidents(&history).await, &site), before);
    assert!(site.part(1).exists(), "the journal is the only other copy");

    // The end is the last chance, and does not wait for the next try.
    disk.clear();
    history.close().await;
    let history = site.history();
    let found = incidents(&history).await;
    assert_eq!(told(&found, &site)[1..], before);
    assert_eq!(found[0].cause, DarkCause::WorkerCrashed, "{found:#?}");
    history.close().await;
}

#[tokio::test]
async fn a_damaged_history_on_a_full_disk_is_begun_anew_when_there_is_room() {
    let mut site = Site::new();
    let Some(disk) = Disk::under(&site) else {
        return;
    };
    let history = site.history();
    site.want(&history, 0);
    site.begin(1, 1_000, Some(moment::boot_id()));
    incidents(&history).await;
    history.close().await;
    spoil(&site.layout().history_file());
    disk.fill();

    let history = site.history();
    history.recovered(&main(), Some(vec!["out".to_owned()]), true);
    while history.fault().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        aside(&site),
        "set aside although there is no room for a new one"
    );
    history.uptime(Window::Day, None).await.unwrap_err();
    disk.clear();
    history.close().await;

    let history = site.history();
    assert_eq!(history.fault(), None);
    let uptime = async || history.uptime(Window::Day, None).await;
    while uptime().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let out = &uptime().await.unwrap().streams[0].destinations[0];
    assert_eq!(out.availability, Some(1.0), "from the journal: {out:#?}");
    history.close().await;
}
