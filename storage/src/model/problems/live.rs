//! Reading live inputs and how they take the air.

use super::super::live::{
    LiveConfig, LiveInputConfig, LiveTake, OnLoss, Resume, TransitionConfig, TransitionKind,
};
use super::fields::Fields;
use super::{check, slate};

pub(super) fn input(fields: &mut Fields<'_>) -> LiveInputConfig {
    let config = LiveInputConfig {
        name: fields.required_checked("name", check::name),
        url: fields.optional_checked("url", check::input_url),
        ingest: fields.boolean("ingest").unwrap_or_default(),
        user: fields.optional_checked("user", check::user),
        password_env: fields.optional_checked("password_env", check::variable),
        take: choice(
            fields,
            "take",
            &[("auto", LiveTake::Auto), ("manual", LiveTake::Manual)],
        ),
        on_loss: choice(
            fields,
            "on_loss",
            &[("programme", OnLoss::Programme), ("slate", OnLoss::Slate)],
        ),
        grace_s: fields.integer("grace_s", 0..=3600).unwrap_or(30),
    };
    if fields.has("url") == config.ingest {
        fields.note("must have either \"url\" or \"ingest\": true");
    }
    if config.ingest && (config.user.is_some() || config.password_env.is_some()) {
        fields.note("must not have user or password_env: who may publish is decided by the keys of /ingest/keys");
    }
    config
}

pub(super) fn live(fields: &mut Fields<'_>) -> LiveConfig {
    LiveConfig {
        resume: choice(
            fields,
            "resume",
            &[
                ("position", Resume::Position),
                ("item", Resume::Item),
                ("schedule", Resume::Schedule),
            ],
        ),
        transition: fields.object("transition", transition).unwrap_or_default(),
        card: fields.optional_object("card", slate),
    }
}

fn transition(fields: &mut Fields<'_>) -> TransitionConfig {
    let kind = choice(
        fields,
        "kind",
        &[
            ("cut", TransitionKind::Cut),
            ("fade", TransitionKind::Fade),
            ("dip", TransitionKind::Dip),
            ("crossfade", TransitionKind::Crossfade),
        ],
    );
    TransitionConfig {
        kind,
        seconds: fields
            .number("seconds", 0.1..=1.0)
            .unwrap_or(TransitionConfig::default().seconds),
    }
}

/// One of a few words; the default of `T` where there is none.
pub(super) fn choice<T: Copy + Default>(
    fields: &mut Fields<'_>,
    name: &'static str,
    words: &[(&str, T)],
) -> T {
    let Some((path, text)) = fields.text(name) else {
        return T::default();
    };
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).unwrap_or_else(|| {
        let allowed: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let message = format!("must be one of {}", allowed.join(", "));
        fields.notes().add(path, message);
        T::default()
    })
}
