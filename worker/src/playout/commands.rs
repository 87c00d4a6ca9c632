//! What the control socket asks for.

use std::ops::ControlFlow;

use super::Playout;
use crate::control::command::{Command, FormatChanged, NoLiveInput, NothingToSkip, Take};
use crate::director::Wish;

impl Playout {
    /// Does what is asked; breaks when that is to stop.
    pub(super) fn obey(&mut self, command: Command) -> ControlFlow<()> {
        match command {
            Command::Skip(reply) => {
                let answer = match (&self.current, &self.next, self.director.wished()) {
                    (_, _, Wish::Slate) | (None, None, _) => Err(NothingToSkip),
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
                let _unread = reply.send(self.take(take));
            }
            Command::Preview => self.fanout.touch_preview(),
            Command::Reconfigure(config, reply) => {
                let before = &self.job.config;
                let answer = if (&config.format, &config.slate) == (&before.format, &before.slate) {
                    self.fanout.reconfigure(&config.destinations, config.retry);
                    self.catalogue.set_programme(config.programme.clone());
                    self.plan = None;
                    self.job.config = *config;
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

    fn take(&mut self, take: Take) -> Result<(), NoLiveInput> {
        match take {
            Take::Programme => self.director.wish(Wish::Programme),
            Take::Slate | Take::Card => self.director.wish(Wish::Slate),
            Take::Live { .. } => return Err(NoLiveInput),
        }
        Ok(())
    }
}
