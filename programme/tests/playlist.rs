//! What comes next, whatever happens to the bucket.

use std::collections::{BTreeMap, BTreeSet};

use programme::{ItemSpec, ListedObject, Order, Playlist, Position, Programme, UpNext};
use proptest::prelude::*;

fn object(key: &str) -> ListedObject {
    ListedObject {
        key: key.into(),
        size_bytes: 1,
        version: "v1".into(),
    }
}

fn listing(keys: &[&str]) -> Vec<ListedObject> {
    keys.iter().map(|key| object(key)).collect()
}

fn programme(items: &[ItemSpec], order: Order, repeat: bool) -> Programme {
    Programme {
        items: items.to_vec(),
        order,
        repeat,
        schedule: None,
    }
}

fn prefix(text: &str) -> ItemSpec {
    ItemSpec::Prefix(text.into())
}

fn key(text: &str) -> ItemSpec {
    ItemSpec::Key(text.into())
}

/// The whole bucket, looped.
fn whole(order: Order, keys: &[&str]) -> Playlist {
    Playlist::resolve(&programme(&[prefix("")], order, true), &listing(keys)).0
}

fn item(next: UpNext) -> (String, Position) {
    match next {
        UpNext::Item(object, position) => {
            assert_eq!(position.key.as_ref(), Some(&object.key));
            (object.key, position)
        }
        other => panic!("{other:?}"),
    }
}

/// The keys of the first `count` items.
fn plays(playlist: &Playlist, seed: u64, count: usize) -> Vec<String> {
    let (mut key, mut position) = item(playlist.first(seed));
    let mut keys = Vec::new();
    while keys.len() < count {
        keys.push(key);
        (key, position) = item(playlist.next_after(&position));
    }
    keys
}

/// The position of the first item named `key`.
fn position_of(playlist: &Playlist, seed: u64, key: &str) -> Position {
    let (mut now, mut position) = item(playlist.first(seed));
    while now != key {
        (now, position) = item(playlist.next_after(&position));
    }
    position
}

#[test]
fn lines_are_resolved_in_their_order_and_prefixes_in_key_order() {
    let wanted = programme(
        &[
            prefix("shows/"),
            key("ident.mp4"),
            key("gone.mp4"),
            prefix("shows/b"),
            prefix("x"),
        ],
        Order::Listed,
        true,
    );
    let found = listing(&[
        "shows/b.mp4",
        "ident.mp4",
        "shows/a.mp4",
        "shows/B.mp4",
        "show",
        "shows0",
    ]);
    let (playlist, missing) = Playlist::resolve(&wanted, &found);
    let keys: Vec<&str> = playlist
        .objects()
        .iter()
        .map(|object| &*object.key)
        .collect();
    let expected = [
        "shows/B.mp4",
        "shows/a.mp4",
        "shows/b.mp4",
        "ident.mp4",
        "shows/b.mp4",
    ];
    assert_eq!(keys, expected);
    assert_eq!(missing, ["gone.mp4"]);
    let round_and_more = plays(&playlist, 0, 6);
    assert_eq!(round_and_more[..5], expected);
    assert_eq!(round_and_more[5], "shows/B.mp4");
}

#[test]
fn an_empty_programme_says_so() {
    for order in [Order::Listed, Order::Shuffle] {
        let playlist = whole(order, &[]);
        let position = Position {
            round: 3,
            index: 7,
            key: Some("gone".into()),
            seed: 1,
        };
        assert_eq!(playlist.first(1), UpNext::Empty);
        assert_eq!(playlist.next_after(&position), UpNext::Empty);
        assert_eq!(playlist.resume(&position), UpNext::Empty);
    }
}

#[test]
fn without_loop_it_ends_after_the_last() {
    let wanted = programme(&[prefix("")], Order::Listed, false);
    let (playlist, _) = Playlist::resolve(&wanted, &listing(&["a", "b"]));
    let (_, first) = item(playlist.first(0));
    let (last_key, last) = item(playlist.next_after(&first));
    assert_eq!(last_key, "b");
    assert_eq!(playlist.next_after(&last), UpNext::Ended);
    assert_eq!(item(playlist.resume(&last)).0, "b");
    // An item that came behind the last one continues the programme.
    let (grown, _) = Playlist::resolve(&wanted, &listing(&["a", "b", "c"]));
    assert_eq!(item(grown.next_after(&last)).0, "c");
}

#[test]
fn a_listed_position_is_found_again_by_its_key() {
    let before = whole(Order::Listed, &["b", "d", "f"]);
    let at_d = position_of(&before, 0, "d");
    let grown = whole(Order::Listed, &["a", "b", "c", "d", "e", "f"]);
    assert_eq!(item(grown.resume(&at_d)).0, "d");
    assert_eq!(item(grown.next_after(&at_d)).0, "e");
    let without_it = whole(Order::Listed, &["a", "aa", "ab", "b", "f"]);
    assert_eq!(item(without_it.resume(&at_d)).0, "f");
    assert_eq!(item(without_it.next_after(&at_d)).0, "f");
    let nothing_behind = whole(Order::Listed, &["a", "b"]);
    let (key, position) = item(nothing_behind.resume(&at_d));
    assert_eq!((&*key, position.round), ("a", 1));
}

#[test]
fn a_position_survives_another_programme() {
    let before = whole(Order::Listed, &["a", "b", "c", "d"]);
    let at_c = position_of(&before, 0, "c");
    let wanted = programme(
        &[key("d"), key("a"), key("b"), key("e")],
        Order::Listed,
        true,
    );
    let (other, _) = Playlist::resolve(&wanted, &listing(&["a", "b", "d", "e"]));
    assert_eq!(
        item(other.resume(&at_c)).0,
        "b",
        "what stands at its number now"
    );
}

#[test]
fn an_object_listed_twice_is_played_twice_and_resumed_where_it_was() {
    let wanted = programme(
        &[key("ident"), prefix("s"), key("ident"), prefix("t")],
        Order::Listed,
        true,
    );
    let (playlist, _) = Playlist::resolve(&wanted, &listing(&["ident", "s1", "s2", "t1"]));
    assert_eq!(plays(&playlist, 0, 5), ["ident", "s1", "s2", "ident", "t1"]);
    let second = Position {
        index: 3,
        key: Some("ident".into()),
        ..Position::default()
    };
    assert_eq!(item(playlist.next_after(&second)).0, "t1");
    let (grown, _) = Playlist::resolve(&wanted, &listing(&["ident", "s1", "s2", "s3", "t1"]));
    assert_eq!(item(grown.next_after(&second)).0, "t1");
}

#[test]
fn a_shuffle_is_reproducible_and_differs_by_seed_and_round() {
    let keys: Vec<String> = (0..20).map(|n| format!("{n:02}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let playlist = whole(Order::Shuffle, &keys);
    let played = plays(&playlist, 42, 60);
    assert_eq!(played, plays(&playlist, 42, 60));
    assert_ne!(played, plays(&playlist, 43, 60));
    assert_ne!(played[..20], played[20..40]);
    assert_ne!(played[..20], *keys);
}

#[test]
fn a_shuffle_is_fair() {
    let keys = ["a", "b", "c", "d", "e"];
    let playlist = whole(Order::Shuffle, &keys);
    let rounds = 2000;
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    for round in plays(&playlist, 7, 5 * rounds).chunks(5) {
        *first.entry(round[0].clone()).or_default() += 1;
    }
    for (key, count) in first {
        assert!(
            (300..500).contains(&count),
            "{key} opened {count} of {rounds} rounds"
        );
    }
}

#[test]
fn a_shuffled_round_keeps_its_order_when_objects_come_and_go() {
    let before = whole(Order::Shuffle, &["a", "b", "c", "d", "e", "f", "g", "h"]);
    let order = plays(&before, 9, 8);
    let at_third = position_of(&before, 9, &order[2]);
    // The item on air and one already played are deleted, one is new.
    let kept: Vec<&str> = order
        .iter()
        .filter(|key| **key != order[2] && **key != order[0])
        .map(String::as_str)
        .chain(["new"])
        .collect();
    let after = whole(Order::Shuffle, &kept);
    let (mut key, mut position) = item(after.resume(&at_third));
    let mut rest = Vec::new();
    while position.round == 0 {
        rest.push(key);
        (key, position) = item(after.next_after(&position));
    }
    rest.retain(|key| key != "new");
    assert_eq!(rest, order[3..]);
}

proptest! {
    #[test]
    fn every_item_airs_exactly_once_a_round(
        count in 1_usize..40,
        seed: u64,
        shuffled: bool,
    ) {
        let keys: Vec<String> = (0..count).map(|n| format!("{n}.mp4")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let order = if shuffled { Order::Shuffle } else { Order::Listed };
        let playlist = whole(order, &keys);
        let played = plays(&playlist, seed, count * 4);
        for round in played.chunks(count) {
            let different: BTreeSet<_> = round.iter().collect();
            prop_assert_eq!(different.len(), count);
        }
        if count > 1 {
            for pair in played.windows(2) {
                prop_assert_ne!(&pair[0], &pair[1], "twice in a row");
            }
        }
    }

    /// Any position, resumed in any bucket, plays on and reaches every item.
    #[test]
    fn no_listing_makes_it_stick(
        keys in prop::collection::btree_set("[a-d]{1,3}", 1..12),
        position_key in prop::option::of("[a-d]{1,3}"),
        index in 0_usize..30,
        round: u64,
        seed: u64,
        shuffled: bool,
        lines in prop::collection::vec("[a-d]{0,2}".prop_map(ItemSpec::Prefix), 1..4),
    ) {
        let order = if shuffled { Order::Shuffle } else { Order::Listed };
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let (playlist, _) = Playlist::resolve(&programme(&lines, order, true), &listing(&keys));
        let mut position = Position { round, index, key: position_key, seed };
        let expected: BTreeSet<&str> = playlist.objects().iter().map(|o| &*o.key).collect();
        let mut played = BTreeSet::new();
        for step in 0..playlist.objects().len() * 2 + 1 {
            let next = match step {
                0 => playlist.resume(&position),
                _ => playlist.next_after(&position),
            };
            let UpNext::Item(object, at) = next else {
                prop_assert_eq!(next, UpNext::Empty);
                break;
            };
            played.insert(object.key);
            position = at;
        }
        let played: BTreeSet<&str> = played.iter().map(String::as_str).collect();
        prop_assert_eq!(played, expected);
    }

    /// The key on air keeps its place whatever else comes or goes.
    #[test]
    fn what_still_exists_is_resumed_in_its_round(
        keys in prop::collection::btree_set("[a-e]{1,2}", 2..15),
        other in prop::collection::btree_set("[a-e]{1,2}", 0..15),
        steps in 0_usize..40,
        seed: u64,
        shuffled: bool,
    ) {
        let order = if shuffled { Order::Shuffle } else { Order::Listed };
        let before: Vec<&str> = keys.iter().map(String::as_str).collect();
        let before = whole(order, &before);
        let (mut on_air, mut position) = item(before.first(seed));
        for _ in 0..steps {
            (on_air, position) = item(before.next_after(&position));
        }
        let after: BTreeSet<&str> = other.iter().map(String::as_str).chain([&*on_air]).collect();
        let after = whole(order, &after.into_iter().collect::<Vec<_>>());
        let (key, resumed) = item(after.resume(&position));
        prop_assert_eq!(key, on_air);
        prop_assert_eq!(resumed.round, position.round);
    }
}
