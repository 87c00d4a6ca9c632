//! What the control socket asks for.

use std::ops::ControlFlow;

use super::Playout;
use tokio::time::Instant;

use crate::control::command::{Command, FormatChanged, NoLiveInput, NothingToSkip};
use crate::director::{Air, Wish};

impl Playout {
    /// Does what is asked; breaks when that is to stop.
    pub(super) fn obey(&mut self, command: Command) -> ControlFlow<()> {
        match command {
            Command::Skip(reply) => {
                let answer = match (&self.current, &self.next, self.director.wished()) {
                    (_, _, Wish::Slate | Wish::Card | Wish::Standby | Wish::Live)
                    | (None, None, _) => Err(NothingToSkip),
                    _ if self.air == Air::Live => Err(NothingToSkip),
                    _ => {
                        self.director.skip();
                        Ok(())
                    }
                };
                // Whoever asked may have gone; what was asked for holds all the same.
                let _unread = reply.send(answer);
            }
            Command::Take(take, reply) => {
                // Whoever asked may have gone; what was asked for holds all the same.
                let _unread = reply.send(self.take(take, Instant::now()));
            }
            Command::Look(input, reply) => {
                let found = self.live.inputs.look(&input);
                // Whoever asked may have gone; what was asked for holds all the same.
                let _unread = reply.send(found.then_some(()).ok_or(NoLiveInput));
            }
            Command::EndPublisher(key_id) => self.live.inputs.end_publisher(&key_id),
            Command::Preview => self.fanout.touch_preview(),
            Command::Reconfigure(config, reply) => {
                let before = &self.job.config;
                let answer = if (&config.format, &config.slate) == (&before.format, &before.slate) {
                    self.fanout.reconfigure(&config.destinations, config.retry);
                    self.catalogue.set_programme(config.programme.clone());
                    self.plan = None;
                    self.job.config = *config;
                    self.live.inputs.configure(&self.job.live_inputs());
                    self.card.prepare(&self.job, &self.sources, self.format);
                    Ok(())
                } else {
                    Err(FormatChanged)
                };
                // Whoever asked may have gone; what was asked for holds all the same.
                let _unread = reply.send(answer);
            }
            Command::Rehearse(reply) => {
                // Whoever asked may have gone.
                let _unread = reply.send(self.rehearse());
            }
            Command::HandOver(program) => self.order_hand_over(program),
            Command::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }
}
