//! The *going live soon* card: rendered beside everything else, while the slate stands in for it.

use std::sync::Arc;
use std::time::Duration;

use programme::StreamFormat;
use storage::model::{Job, SlateConfig};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::Playout;
use crate::director::{Air, SlateCause};
use crate::source::{Slate, SourceContext};

/// A start needs the machine for itself.
const RENDERED_AFTER: Duration = Duration::from_secs(3);

/// The card, as far as it is there.
#[derive(Debug)]
pub(super) struct Card {
    /// What it was or is being rendered from: `None` of the outside, nothing; of the inside, nothing
    /// configured.
    of: Option<Option<SlateConfig>>,
    made: watch::Receiver<Option<Arc<Slate>>>,
    _task: Option<AbortOnDropHandle<()>>,
}

// === impl Card ===

impl Card {
    /// One that was rendered by an earlier image of this process, if it was.
    pub(super) fn resume(card: Option<Slate>, job: &Job) -> Self {
        let of = card.is_some().then(|| job.config.live.card.clone());
        let (_, made) = watch::channel(card.map(Arc::new));
        Self {
            of,
            made,
            _task: None,
        }
    }

    /// The one that `job` asks for: a stream without live inputs needs none.
    pub(super) fn prepare(
        &mut self,
        job: &Job,
        sources: &Arc<SourceContext>,
        format: StreamFormat,
    ) {
        let config = &job.config.live.card;
        let is_needed = config.is_some() || !job.live_inputs().is_empty();
        if !is_needed || self.of.as_ref() == Some(config) {
            return;
        }
        let (done, made) = watch::channel(None);
        let (config, sources) = (config.clone(), Arc::clone(sources));
        self.of = Some(config.clone());
        self.made = made;
        self._task = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::time::sleep(RENDERED_AFTER).await;
            let card = render(&sources, format, config.as_ref()).await;
            // Whoever waited may be about to end.
            let _unread = done.send(card);
        })));
    }

    /// What is to be shown, if it is there.
    pub(super) fn get(&self) -> Option<Arc<Slate>> {
        self.made.borrow().clone()
    }
}

impl Playout {
    /// The card takes the slate's place once it is there.
    pub(super) fn mind_card(&mut self) {
        if self.air != Air::Slate(SlateCause::Card) {
            return;
        }
        let card = self.card.get();
        if card.is_some_and(|card| !Arc::ptr_eq(&card, self.slate_source.slate())) {
            // Neither was made for this one.
            self.drop_transition();
            self.transit.clip.clear();
            self.cut_to_slate(SlateCause::Card);
        }
    }
}

/// The configured card, or the generated one; without either the slate stands in for it.
async fn render(
    sources: &SourceContext,
    format: StreamFormat,
    config: Option<&SlateConfig>,
) -> Option<Arc<Slate>> {
    if let Some(config) = config {
        match Slate::render(sources, format, Some(config)).await {
            Ok(card) => return Some(card),
            Err(error) => {
                let (error_type, hint) = (&error.error_type, &error.hint);
                tracing::error!(
                    key = config.key,
                    error_type,
                    hint,
                    "the generated card stands in for live.card: {}",
                    error.message
                );
            }
        }
    }
    match Slate::render_soon(sources, format).await {
        Ok(card) => Some(card),
        Err(error) => {
            let (error_type, hint) = (&error.error_type, &error.hint);
            tracing::error!(
                error_type,
                hint,
                "the slate stands in for the card: {}",
                error.message
            );
            None
        }
    }
}
