use storage::model::DarkCause;

use super::*;

fn dark(name: &str) -> AirEvent {
    AirEvent::Dark {
        destination: name.to_owned(),
        cause: DarkCause::DestinationStalled,
        error_type: None,
    }
}

#[test]
fn an_instant_that_is_over_is_back_dated_on_both_clocks() {
    let now = Stamp::now();
    let before = now.before(Duration::from_millis(5_250));
    assert_eq!(now.boot_ms - before.boot_ms, 5_250);
    assert_eq!(now.at.duration_since(before.at).as_millis(), 5_250);
    assert_eq!(
        now.before(Duration::MAX).boot_ms,
        0,
        "before the machine was started"
    );
}

#[test]
fn entries_are_numbered_as_they_are_noted_whenever_they_happened() {
    let mut backlog = Backlog::new("nonce".to_owned(), 7);
    let now = Stamp::now();
    backlog.push(now, dark("late"));
    backlog.push(now.before(Duration::from_secs(4)), dark("early"));
    let entries = backlog.take();
    assert_eq!([entries[0].seq, entries[1].seq], [7, 8]);
    assert_eq!(entries[0].boot_ms - entries[1].boot_ms, 4_000);
    assert_eq!(backlog.next_seq(), 9);
}

#[test]
fn a_disk_that_refuses_for_long_costs_the_oldest_entries_only() {
    let mut backlog = Backlog::new("nonce".to_owned(), 0);
    let now = Stamp::now();
    for _ in 0..backlog::LIMIT {
        backlog.push(now, dark("out"));
    }
    let unwritten = backlog.take();
    for _ in 0..10 {
        backlog.push(now, dark("out"));
    }
    backlog.put_back(unwritten);
    let kept = backlog.take();
    assert_eq!(kept.len(), backlog::LIMIT);
    assert_eq!(kept[0].seq, 10);
    assert!(kept.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1));
}

#[test]
fn a_full_disk_that_heals_gets_everything_in_order() {
    let dir = tempfile::tempdir().expect("a temp dir");
    let directory = dir.path().join("air");
    storage::atomic::write(&directory, b"in the way").expect("written");
    let shared = Arc::new(Shared {
        backlog: Mutex::new(Backlog::new("nonce".to_owned(), 0)),
        noted: Condvar::new(),
    });
    let closing = CancellationToken::new();
    let (for_thread, end) = (Arc::clone(&shared), closing.clone());
    let parts = Parts::new(directory.clone(), 3);
    let thread = std::thread::spawn(move || write_down(&for_thread, &end, parts));
    let note = |name: &str| {
        shared.lock().push(Stamp::now(), dark(name));
        shared.noted.notify_one();
    };
    note("first");
    // It was taken: the disk is being tried.
    while !shared.lock().is_empty() {
        std::thread::yield_now();
    }
    note("second");
    fs::remove_file(&directory).expect("there");
    note("third");
    {
        let _backlog = shared.lock();
        closing.cancel();
        shared.noted.notify_one();
    }
    thread.join().expect("ends by itself");
    let text = fs::read_to_string(directory.join("00000003-0001.jsonl")).expect("there");
    let entries = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("an entry"));
    let told: Vec<_> = entries
        .map(|entry: AirEntry| match entry.event {
            AirEvent::Dark { destination, .. } => (entry.seq, destination),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [(0, "first"), (1, "second"), (2, "third")];
    assert_eq!(told, expected.map(|(seq, name)| (seq, name.to_owned())));
}
