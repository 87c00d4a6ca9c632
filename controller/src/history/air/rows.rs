//! The rows that intervals become.

use storage::history::{Delivery, Gap, OnAirSpan, Recovery, Row, Span, Wanted};

use super::link::Link;
use super::{Air, OnAir, Open};
use crate::history::axis::Instant;

impl Air {
    /// The intervals under way.
    pub(in crate::history) fn open_rows(&self) -> Vec<Row> {
        let wanted = self.wanted.and_then(|since| self.wanted_row(since, None));
        let destinations = self.destinations.iter().filter_map(|(name, destination)| {
            let open = destination.open.as_ref()?;
            self.destination_row(name, open, None, None)
        });
        let on_air = self.on_air.as_ref();
        let on_air = on_air.and_then(|on_air| self.on_air_row(on_air, None, None));
        wanted
            .into_iter()
            .chain(destinations)
            .chain(on_air)
            .chain(self.sessions.rows(&self.stream))
            .collect()
    }

    pub(super) fn wanted_row(&self, since: Instant, end: Option<Instant>) -> Option<Row> {
        let stream = self.stream.clone();
        let span = span(since, end)?;
        Some(Row::Wanted(Wanted { stream, span }))
    }

    pub(super) fn destination_row(
        &self,
        name: &str,
        open: &Open,
        end: Option<Instant>,
        recovery: Option<Recovery>,
    ) -> Option<Row> {
        let stream = self.stream.clone();
        let destination = name.to_owned();
        let span = span(open.since, end)?;
        Some(match &open.link {
            Link::Up { connection } => Row::Delivery(Delivery {
                stream,
                destination,
                span,
                connection: *connection,
            }),
            Link::Down(why) => Row::Gap(Gap {
                stream,
                destination,
                span,
                cause: why.cause,
                error_type: why.error_type.clone(),
                recovery,
            }),
        })
    }

    pub(super) fn on_air_row(
        &self,
        on_air: &OnAir,
        end: Option<Instant>,
        recovery: Option<Recovery>,
    ) -> Option<Row> {
        Some(Row::OnAir(OnAirSpan {
            stream: self.stream.clone(),
            span: span(on_air.since, end)?,
            source: on_air.source.kind,
            item: on_air.source.item.clone(),
            cause: on_air.source.cause,
            recovery,
        }))
    }
}

/// `None` for an interval without length.
fn span(since: Instant, end: Option<Instant>) -> Option<Span> {
    if end.is_some_and(|end| end.ms <= since.ms) {
        return None;
    }
    Some(Span {
        start_ms: since.ms,
        end_ms: end.map(|end| end.ms),
        start_at: since.at,
        end_at: end.map(|end| end.at),
    })
}
