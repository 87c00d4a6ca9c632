//! The keeper on a real disk: journals in, answers out, across restarts and disks that fail.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use storage::model::air::{AIR_VERSION, AirEntry, AirPart};
use storage::model::report::OnAirKind;
use storage::model::{AirEvent, DarkCause};

use super::super::History;
use super::super::report::{AskedIncidents, Incident, IncidentKind, Window};
use super::*;

mod full;
mod live;
mod missing;

const LIMITS: Limits = Limits {
    days: 90,
    max_bytes: 256 * 1024 * 1024,
};

/// Directories of one stream, and what its worker writes into them.
struct Site {
    dir: tempfile::TempDir,
    start: Moment,
    seq: u64,
}

fn main() -> StreamId {
    "main".parse().unwrap()
}

impl Site {
    /// Everything here happened a minute ago.
    fn new() -> Self {
        let now = Moment::now();
        let start = Moment {
            at: now.at - SignedDuration::from_secs(60),
            boot_ms: now.boot_ms - 60_000,
        };
        let dir = tempfile::tempdir().unwrap();
        let site = Self { dir, start, seq: 0 };
        site.layout().create().unwrap();
        site.layout().create_stream(&main()).unwrap();
        site
    }

    fn layout(&self) -> Layout {
        let below = |name| self.dir.path().join(name);
        Layout {
            state_dir: below("state"),
            runtime_dir: below("run"),
            cache_dir: below("cache"),
        }
    }

    fn history(&self) -> History {
        History::start(self.layout(), LIMITS).unwrap()
    }

    /// So many milliseconds after the start.
    fn moment(&self, ms: u64) -> Moment {
        Moment {
            at: self.start.at + SignedDuration::from_millis(i64::try_from(ms).unwrap()),
            boot_ms: self.start.boot_ms + ms,
        }
    }

    /// The worker of this generation writes it down.
    fn entry(&mut self, generation: u64, ms: u64, event: AirEvent) {
        let Moment { at, boot_ms } = self.moment(ms);
        let entry = AirEntry {
            v: AIR_VERSION,
            worker: format!("w{generation}"),
            seq: self.seq,
            at,
            boot_ms,
            event,
        };
        self.seq += 1;
        let text = serde_json::to_string(&entry).unwrap() + "\n";
        let mut part = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.part(generation))
            .unwrap();
        part.write_all(text.as_bytes()).unwrap();
    }

    fn part(&self, generation: u64) -> std::path::PathBuf {
        let part = AirPart {
            generation,
            part: 1,
        };
        self.layout().air_dir(&main()).join(part.to_string())
    }

    fn begin(&mut self, generation: u64, ms: u64, boot_id: Option<String>) {
        let started = AirEvent::Started {
            generation,
            version: "0.1.0".into(),
            boot_id,
            takes_over: false,
        };
        self.entry(generation, ms, started);
        let delivering = AirEvent::Delivering {
            destination: "out".into(),
            connection: 1,
        };
        self.entry(generation, ms + 500, delivering);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the test stands in for the worker, whose pulse is no document"
    )]
    fn pulse(&self, ms: u64) {
        let text = format!("{:020}\n", self.moment(ms).boot_ms);
        fs::write(self.layout().pulse(&main()), text).unwrap();
    }

    fn want(&self, history: &History, ms: u64) {
        let destinations = vec!["out".into()];
        history.saw_at(&main(), self.moment(ms), What::Wanted { destinations });
    }
}

async fn incidents(history: &History) -> Vec<Incident> {
    let asked = AskedIncidents {
        window: Window::Day,
        stream: None,
        destination: None,
        cause: None,
        limit: 100,
    };
    // The file is opened by the thread's first turn.
    for _ in 0..1_000 {
        match history.incidents(asked.clone()).await {
            Ok(found) => return found.incidents,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    panic!("no answer: {:?}", history.fault());
}

/// What the disk refused is tried again every five seconds.
async fn until_well(history: &History) {
    for _ in 0..600 {
        if history.fault().is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not well: {:?}", history.fault());
}

fn told(incidents: &[Incident], site: &Site) -> Vec<(i64, f64, DarkCause)> {
    let told = incidents.iter().map(|it| {
        let since = it.start.as_millisecond() - site.start.at.as_millisecond();
        (since, it.length_s, it.cause)
    });
    told.collect()
}

#[tokio::test]
async fn a_controller_that_was_away_reads_everything_once_and_a_dead_worker_ends_at_its_pulse() {
    let mut site = Site::new();
    let history = site.history();
    site.want(&history, 0);
    history.close().await;

    // Meanwhile: a worker comes, is on air, and dies; nobody looks.
    site.begin(1, 1_000, Some(moment::boot_id()));
    let slate = AirEvent::OnAir {
        source: OnAirKind::Slate,
        item: None,
        cause: Some(DarkCause::SourceFailed),
    };
    site.entry(1, 3_000, slate);
    let programme = AirEvent::OnAir {
        source: OnAirKind::Programme,
        item: Some("a.mp4".into()),
        cause: None,
    };
    site.entry(1, 5_000, programme);
    site.pulse(20_000);

    let history = site.history();
    let wanted = Some(vec!["out".to_owned()]);
    history.recovered(&main(), wanted.clone(), false);
    let again = Moment::now().boot_ms - site.start.boot_ms + 1;
    site.begin(2, again, Some(moment::boot_id()));
    let crashed_s = (again + 500 - 20_000) as f64 / 1000.0;
    let all = [
        (20_000, crashed_s, DarkCause::WorkerCrashed),
        (3_000, 2.0, DarkCause::SourceFailed),
        (0, 1.5, DarkCause::Starting),
    ];
    // What the second worker says lies half a second ahead.
    tokio::time::sleep(Duration::from_millis(510)).await;
    let found = incidents(&history).await;
    assert_eq!(told(&found, &site), all);
    assert_eq!(found[1].kind, IncidentKind::Slate);
    assert!(
        !site.part(1).exists(),
        "read to its end, and nobody writes it"
    );
    assert!(site.part(2).exists());
    history.close().await;

    let history = site.history();
    history.recovered(&main(), wanted, true);
    assert_eq!(told(&incidents(&history).await, &site), all);
    let uptime = history.uptime(Window::Day, None).await.unwrap();
    let out = &uptime.streams[0].destinations[0];
    assert_eq!((out.gaps, out.dark_s), (2, crashed_s + 1.5));
}

#[tokio::test]
async fn a_history_that_is_removed_while_in_use_is_there_again_with_all_that_was_in_it() {
    let mut site = Site::new();
    let history = site.history();
    site.want(&history, 0);
    site.begin(1, 1_000, Some(moment::boot_id()));
    let before = told(&incidents(&history).await, &site);
    assert_eq!(before, [(0, 1.5, DarkCause::Starting)]);
    let file = site.layout().history_file();
    fs::remove_file(&file).unwrap();
    // Each question is one look.
    assert_eq!(told(&incidents(&history).await, &site), before);
    assert!(file.exists());
    assert_eq!(history.fault(), None);

    // Its directory is away, and comes back empty: it is still open, and is written there.
    let (state, away) = (site.layout().state_dir, site.dir.path().join("away"));
    storage::atomic::set_aside(&state, &away).unwrap();
    fs::remove_dir_all(&away).unwrap();
    assert_eq!(told(&incidents(&history).await, &site), before);
    assert!(history.fault().unwrap().contains("removed"));
    site.layout().create().unwrap();
    until_well(&history).await;
    assert!(file.exists());
    assert_eq!(told(&incidents(&history).await, &site), before);
    history.close().await;
    let history = site.history();
    assert_eq!(told(&incidents(&history).await, &site), before);
}

#[tokio::test]
async fn a_part_of_which_the_first_line_is_still_to_come_is_left_to_its_worker() {
    let mut site = Site::new();
    let history = site.history();
    site.want(&history, 0);
    site.begin(1, 1_000, Some(moment::boot_id()));
    incidents(&history).await;
    let gone = What::Gone {
        worker: "w1".into(),
        cause: DarkCause::Operator,
        error_type: None,
    };
    history.saw_at(&main(), site.moment(3_000), gone);
    let mut create = fs::OpenOptions::new();
    let create = create.append(true).create_new(true);
    let mut part = create.open(site.part(2)).unwrap();
    incidents(&history).await;
    assert!(
        !site.part(1).exists(),
        "read to its end, and nobody writes it"
    );
    part.write_all(b"{\"v\":").unwrap();
    incidents(&history).await;
    assert!(site.part(2).exists(), "its worker is about to write to it");

    part.set_len(0).unwrap();
    site.begin(2, 5_000, Some(moment::boot_id()));
    let told = told(&incidents(&history).await, &site);
    let all = [
        (3_000, 2.5, DarkCause::Operator),
        (0, 1.5, DarkCause::Starting),
    ];
    assert_eq!(told, all);
}

#[tokio::test]
async fn after_a_reboot_the_machine_was_down() {
    let mut site = Site::new();
    let history = site.history();
    site.want(&history, 0);
    incidents(&history).await;
    history.close().await;
    // The clock of the earlier boot had run for longer.
    site.start.boot_ms += 1_000_000_000;
    site.begin(1, 1_000, Some("an earlier boot".into()));

    let history = site.history();
    history.recovered(&main(), Some(vec!["out".to_owned()]), false);
    let found = incidents(&history).await;
    assert_eq!(found[0].cause, DarkCause::MachineDown, "{found:#?}");
    assert_eq!(found[0].end, None);
    assert!((55.0..70.0).contains(&found[0].length_s), "{found:#?}");
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_what_is_under_way_is_in_the_new_one() {
    let mut site = Site::new();
    let history = site.history();
    site.want(&history, 0);
    site.begin(1, 1_000, Some(moment::boot_id()));
    assert_eq!(incidents(&history).await.len(), 1);
    let dark = AirEvent::Dark {
        destination: "out".into(),
        cause: DarkCause::DestinationLost,
        error_type: None,
    };
    site.entry(1, 9_000, dark);
    history.close().await;
    spoil(&site.layout().history_file());

    let history = site.history();
    history.recovered(&main(), Some(vec!["out".to_owned()]), true);
    let found = incidents(&history).await;
    assert!(aside(&site), "set aside");
    // The journal of a living worker is still there, and is read again.
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(
        (found[0].cause, found[0].end),
        (DarkCause::DestinationLost, None)
    );
}

fn spoil(path: &Path) {
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    file.write_all(&vec![0x5A; length]).unwrap();
}

fn aside(site: &Site) -> bool {
    let entries = fs::read_dir(site.layout().state_dir).unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .any(|name| name.starts_with("history.db.corrupt-"))
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_loses_nothing_and_is_found_again() {
    let mut site = Site::new();
    let file = site.layout().history_file();
    // No file can be made where a directory is.
    fs::create_dir(&file).unwrap();
    let history = site.history();
    site.want(&history, 0);
    site.begin(1, 1_000, Some(moment::boot_id()));
    let mut fault = None;
    for _ in 0..1_000 {
        fault = history.fault();
        if fault.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(fault.unwrap().contains("history.db"));
    assert!(history.uptime(Window::Day, None).await.is_err());

    fs::remove_dir(&file).unwrap();
    until_well(&history).await;
    let found = incidents(&history).await;
    assert_eq!(told(&found, &site), [(0, 1.5, DarkCause::Starting)]);
    assert_eq!(history.fault(), None);
}

#[test]
fn the_wall_clock_may_be_set_by_a_day_without_changing_a_length() {
    let at = |moment: Moment, days: i64| Moment {
        at: moment.at + SignedDuration::from_hours(24 * days),
        ..moment
    };
    let mut axis = Axis::default();
    let start = Moment {
        at: Timestamp::UNIX_EPOCH,
        boot_ms: 5_000,
    };
    let later = Moment {
        boot_ms: 6_500,
        ..start
    };
    let first = axis.place("a", at(start, 10));
    for days in [9, 11] {
        assert_eq!(axis.place("a", at(later, days)) - first, 1_500);
    }
}
