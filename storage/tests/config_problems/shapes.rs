//! Whatever the text: an answer, and the one that serde would give.

use programme::{FormatChoice, StreamFormat};
use proptest::prelude::*;
use storage::model::problems::parse_stream;
use storage::model::{RetryConfig, StreamConfig};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn anything_at_all_is_answered(text in ".{0,200}") {
        // Accepted or not, never a panic.
        let _ = parse_stream(text.as_bytes());
    }

    #[test]
    fn json_of_any_shape_is_accepted_only_if_serde_takes_it_too(json in any_json()) {
        let text = serde_json::to_vec(&json).unwrap();
        if let Ok(config) = parse_stream(&text) {
            let by_serde: StreamConfig = serde_json::from_slice(&text).unwrap();
            prop_assert_eq!(config, by_serde);
        }
    }

    #[test]
    fn what_is_written_is_read_back(config in any_config()) {
        let text = serde_json::to_vec_pretty(&config).unwrap();
        prop_assert_eq!(parse_stream(&text).unwrap(), config);
    }
}

/// Objects made of names that mean something, holding values that may or may not fit.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let name = prop::sample::select(vec![
        "autostart",
        "programme",
        "format",
        "slate",
        "destinations",
        "live_inputs",
        "retry",
        "items",
        "order",
        "loop",
        "key",
        "prefix",
        "name",
        "url",
        "key_env",
        "width",
        "fps",
        "initial_s",
        "max_s",
        "max_attempts",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (0u32..4000).prop_map(Into::into),
        prop::sample::select(vec!["auto", "listed", "a", "A_KEY", "rtmp://h/app", ""])
            .prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
            prop::collection::vec((name.clone(), inner), 0..6).prop_map(|members| {
                members
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            }),
        ]
    })
}

fn any_config() -> impl Strategy<Value = StreamConfig> {
    let destination = ("[a-z0-9][a-z0-9_-]{0,10}", "[a-z]{1,9}", any::<bool>());
    (
        any::<bool>(),
        prop::collection::btree_map("[a-z][a-z0-9]{0,5}", destination, 0..4),
        (80u32..1920, 45u32..1080, 1u32..=60),
        // As a person writes them: seconds and factors in tenths.
        (1u32..36_000, 10u32..=100, prop::option::of(1u32..1000)),
    )
        .prop_map(
            |(autostart, destinations, (w, h, fps), (initial_s, factor, max_attempts))| {
                StreamConfig {
                    autostart,
                    format: FormatChoice::Fixed(StreamFormat {
                        width: 2 * w,
                        height: 2 * h,
                        fps,
                        ..StreamFormat::default()
                    }),
                    destinations: destinations
                        .into_iter()
                        .map(
                            |(name, (app, host, keyed))| storage::model::DestinationConfig {
                                name,
                                url: format!("rtmp://{host}/{app}"),
                                key_env: keyed.then(|| "A_KEY".to_owned()),
                                renew_after_s: keyed.then_some(86_400),
                            },
                        )
                        .collect(),
                    retry: RetryConfig {
                        initial_s: f64::from(initial_s) / 10.0,
                        factor: f64::from(factor) / 10.0,
                        max_s: f64::from(initial_s * 2) / 10.0,
                        max_attempts,
                    },
                    ..StreamConfig::default()
                }
            },
        )
}
