//! End-to-end tests, one theme per file. One binary, so that all of them share two cores evenly.

#[path = "e2e/air.rs"]
mod air;
#[path = "e2e/bad_input.rs"]
mod bad_input;
#[path = "e2e/calls.rs"]
mod calls;
#[path = "e2e/clock.rs"]
mod clock;
#[path = "e2e/clock_change.rs"]
mod clock_change;
#[path = "e2e/contract.rs"]
mod contract;
#[path = "e2e/controller.rs"]
mod controller;
#[path = "e2e/destinations.rs"]
mod destinations;
#[path = "e2e/destinations_faults.rs"]
mod destinations_faults;
#[path = "e2e/disk.rs"]
mod disk;
#[path = "e2e/faults_controller.rs"]
mod faults_controller;
#[path = "e2e/faults_machine.rs"]
mod faults_machine;
#[path = "e2e/faults_network.rs"]
mod faults_network;
#[path = "e2e/faulty.rs"]
mod faulty;
#[path = "e2e/ffmpeg_versions.rs"]
mod ffmpeg_versions;
#[path = "e2e/frozen.rs"]
mod frozen;
#[path = "e2e/handbook.rs"]
mod handbook;
#[path = "e2e/harness.rs"]
mod harness;
#[path = "e2e/live.rs"]
mod live;
#[path = "e2e/live_feeds.rs"]
mod live_feeds;
#[path = "e2e/live_policy.rs"]
mod live_policy;
#[path = "e2e/live_record.rs"]
mod live_record;
#[path = "e2e/live_refused.rs"]
mod live_refused;
#[path = "e2e/live_resume.rs"]
mod live_resume;
#[path = "e2e/live_stage.rs"]
mod live_stage;
#[path = "e2e/live_together.rs"]
mod live_together;
#[path = "e2e/mediamtx.rs"]
mod mediamtx;
#[path = "e2e/mediamtx_program.rs"]
mod mediamtx_program;
#[path = "e2e/obs.rs"]
mod obs;
#[path = "e2e/obs_live.rs"]
mod obs_live;
#[path = "e2e/on_air.rs"]
mod on_air;
#[path = "e2e/outages.rs"]
mod outages;
#[path = "e2e/page.rs"]
mod page;
#[path = "e2e/preview.rs"]
mod preview;
#[path = "e2e/record.rs"]
mod record;
#[path = "e2e/reliability.rs"]
mod reliability;
#[path = "e2e/schedule.rs"]
mod schedule;
#[path = "e2e/scripts.rs"]
mod scripts;
#[path = "e2e/secrets.rs"]
mod secrets;
#[path = "e2e/sources.rs"]
mod sources;
#[path = "e2e/state_files.rs"]
mod state_files;
#[path = "e2e/survival.rs"]
mod survival;
#[path = "e2e/systemd.rs"]
mod systemd;
#[path = "e2e/transitions.rs"]
mod transitions;
#[path = "e2e/upgrade.rs"]
mod upgrade;
#[path = "e2e/upload.rs"]
mod upload;
#[path = "e2e/upstreams.rs"]
mod upstreams;

pub(crate) use e2e::skipped;
