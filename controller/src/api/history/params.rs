//! Reading a query so that every mistake in it is told at once.

use std::collections::BTreeMap;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::de::value::{Error, StrDeserializer};
use storage::model::StreamId;
use storage::model::problems::Problem;

use super::{AskedUptime, DEFAULT_LIMIT, MAX_LIMIT};
use crate::api::error::ApiError;
use crate::history::report::{AskedIncidents, AskedMetrics, AskedTransitions, Window};

/// The query, as `T`.
pub(in crate::api) struct ParamsOf<T>(pub(in crate::api) T);

/// What `/health/metrics` is asked, before it is known which stream is meant.
#[derive(Debug)]
pub(in crate::api) struct MetricsOf {
    pub(super) stream: Option<StreamId>,
    pub(super) asked: AskedMetrics,
}

/// Something that a query can be read as.
pub(in crate::api) trait FromParams: Sized {
    /// Takes each parameter it knows; mistakes stay with `reader`.
    fn read(reader: &mut Reader) -> Self;
}

/// Parameters that were not read yet, and what was wrong with those that were.
#[derive(Debug, Default)]
pub(in crate::api) struct Reader {
    left: BTreeMap<String, String>,
    problems: Vec<Problem>,
}

impl<S: Send + Sync, T: FromParams> FromRequestParts<S> for ParamsOf<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| {
                ApiError::new(
                    StatusCode::BAD_REQUEST,
                    "invalid_query",
                    rejection.body_text(),
                )
            })?;
        Reader::read(pairs).map(Self)
    }
}

// === impl Reader ===

impl Reader {
    fn read<T: FromParams>(pairs: Vec<(String, String)>) -> Result<T, ApiError> {
        let mut reader = Self::default();
        for (name, value) in pairs {
            if reader.left.insert(name.clone(), value).is_some() {
                reader.problem(&name, "is given twice".into());
            }
        }
        let value = T::read(&mut reader);
        for name in std::mem::take(&mut reader.left).into_keys() {
            reader.problem(&name, "is not a parameter of this route".into());
        }
        if reader.problems.is_empty() {
            return Ok(value);
        }
        let message = format!("the query has {} problem(s)", reader.problems.len());
        Err(
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", message)
                .with_problems(reader.problems),
        )
    }

    fn problem(&mut self, name: &str, message: String) {
        self.problems.push(Problem {
            path: name.to_owned(),
            message,
        });
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.left.remove(name)
    }

    fn parsed<T: FromStr>(&mut self, name: &str, wanted: &str) -> Option<T> {
        let text = self.text(name)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.problem(name, format!("{text:?} is not {wanted}"));
        }
        parsed
    }

    fn number(&mut self, name: &str, least: u32, most: u32) -> Option<u32> {
        let wanted = format!("a number from {least} to {most}");
        let number = self.parsed::<u32>(name, &wanted)?;
        if !(least..=most).contains(&number) {
            self.problem(name, format!("{number} is not {wanted}"));
            return None;
        }
        Some(number)
    }

    fn limit(&mut self) -> usize {
        let most = u32::try_from(MAX_LIMIT).expect("a thousand");
        let limit = self.number("limit", 1, most);
        limit.map_or(DEFAULT_LIMIT, |limit| limit as usize)
    }

    /// One of the names of an enum.
    fn named<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let text = self.text(name)?;
        match T::deserialize(StrDeserializer::<Error>::new(&text)) {
            Ok(value) => Some(value),
            Err(error) => {
                let error = error.to_string();
                // "unknown variant `1h`, expected one of `24h`, …" is said in words of serde.
                let allowed = error.split_once(", expected ");
                let allowed = allowed.map_or(error.as_str(), |(_, allowed)| allowed);
                self.problem(name, format!("{text:?} is not {allowed}"));
                None
            }
        }
    }

    fn window(&mut self) -> Window {
        self.named("window").unwrap_or(Window::Day)
    }

    fn stream(&mut self) -> Option<StreamId> {
        self.parsed("stream_id", "the id of a stream")
    }
}

impl FromParams for AskedUptime {
    fn read(reader: &mut Reader) -> Self {
        Self {
            window: reader.window(),
            stream: reader.stream(),
        }
    }
}

impl FromParams for AskedIncidents {
    fn read(reader: &mut Reader) -> Self {
        let limit = reader.limit();
        Self {
            window: reader.window(),
            stream: reader.stream(),
            destination: reader.text("destination"),
            cause: reader.named("cause"),
            limit,
        }
    }
}

impl FromParams for AskedTransitions {
    fn read(reader: &mut Reader) -> Self {
        Self {
            window: reader.window(),
            stream: reader.stream(),
            limit: reader.limit(),
        }
    }
}

impl FromParams for MetricsOf {
    fn read(reader: &mut Reader) -> Self {
        let time = "a time like 2026-01-31T18:00:00Z";
        let from = reader.parsed::<Timestamp>("from", time);
        let to = reader.parsed::<Timestamp>("to", time);
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            reader.problem("from", "is not before to".into());
        }
        if from.is_some_and(|from| to.is_none() && from >= Timestamp::now()) {
            reader.problem(
                "from",
                "is in the future, by the clock of this machine".into(),
            );
        }
        Self {
            stream: reader.stream(),
            asked: AskedMetrics {
                destination: reader.text("destination"),
                from,
                to,
                metric: reader.named("metric"),
                step_s: reader.number("step", 10, 86_400),
            },
        }
    }
}
