//! The command line that renders a transition: the old source's last pictures and sounds over the
//! new one's first.
//!
//! Both are read as FLV from memory. Pictures and samples are counted, not timed: the result stands
//! picture for picture and frame for frame in the place of what was read. All filters and options
//! exist in FFmpeg 5.1 and later.

use std::os::fd::OwnedFd;
use std::path::Path;

use programme::StreamFormat;
use programme::format::{AUDIO_CHANNELS, AUDIO_RATE_HZ};
use supervise::Spec;

use super::encode;
use super::input::quiet;

/// Samples of an AAC frame.
pub const FRAME_SAMPLES: usize = 1_024;

/// The descriptors that both are read from.
const OLD_FD: i32 = 3;
const NEW_FD: i32 = 4;

/// How pictures and sounds follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// The old ones go, then the new ones come.
    InTurn,
    /// The new ones come while the old ones go.
    Together,
}

/// What becomes of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// Old pictures before the first that is shown.
    pub skipped: usize,
    /// Pictures of which it consists.
    pub mixed: usize,
    /// Pictures rendered: all of the new ones.
    pub total: usize,
}

/// What becomes of the sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sound {
    /// There is an old one, and as many frames of it before those that are heard: decoder and
    /// encoder have settled by then.
    pub old: Option<Lead>,
    /// There is a new one.
    pub new: bool,
    /// AAC frames of which it consists.
    pub frames: usize,
}

/// Old frames that are read before the first one that is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lead {
    /// Only to have the decoder settle.
    pub unheard: usize,
    /// Encoded again, and not used.
    pub run_up: usize,
}

/// All of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe {
    /// Of picture and sound.
    pub course: Course,
    /// `None`: the picture is not rendered.
    pub picture: Option<Picture>,
    /// `None`: there is no sound.
    pub sound: Option<Sound>,
}

// === impl Recipe ===

impl Recipe {
    /// Reads `old` and `new`, writes FLV to standard output.
    pub fn spec(&self, ffmpeg: &Path, old: OwnedFd, new: OwnedFd, format: StreamFormat) -> Spec {
        let mut spec = Spec::new(ffmpeg)
            .fd(old, OLD_FD)
            .fd(new, NEW_FD)
            .args(quiet());
        for descriptor in [OLD_FD, NEW_FD] {
            // All of it is there at once, and the old sound begins late in it.
            spec = spec
                .args([
                    "-analyzeduration",
                    "10000000",
                    "-fpsprobesize",
                    "0",
                    "-f",
                    "flv",
                ])
                .args(["-i", &format!("/dev/fd/{descriptor}")]);
        }
        let picture = self
            .picture
            .map(|picture| self.mixed_picture(picture, format));
        let sound = self.sound.map(|sound| self.mixed_sound(sound));
        let graph: Vec<_> = picture.iter().chain(&sound).cloned().collect();
        spec = spec.args(["-filter_complex", &graph.join(";")]);
        if let Some(picture) = self.picture {
            spec = spec
                .args(["-map", "[picture]"])
                .args(encode::video_in_one_group(format, picture.total))
                .args(["-frames:v", &picture.total.to_string()])
                .args(["-fps_mode", "passthrough"]);
        }
        if self.sound.is_some() {
            spec = spec.args(["-map", "[sound]"]).args(encode::audio(format));
        }
        spec.args(encode::flv_to_stdout())
    }

    fn mixed_picture(&self, picture: Picture, format: StreamFormat) -> String {
        let StreamFormat {
            width, height, fps, ..
        } = format;
        let Picture { skipped, mixed, .. } = picture;
        let shape = format!("scale={width}:{height},setsar=1");
        let (shown, fade_old, fade_new) = match self.course {
            Course::Together => {
                let fade = format!("format=yuva420p,fade=t=out:s=0:n={mixed}:alpha=1");
                (mixed, fade, "null".to_owned())
            }
            Course::InTurn => {
                let half = mixed.div_ceil(2);
                let rest = (mixed - half).max(1);
                let out = format!("format=yuv420p,fade=t=out:s=0:n={half}");
                (half, out, format!("fade=t=in:s={half}:n={rest}"))
            }
        };
        // The last old picture stands where there are too few of them.
        let old = format!(
            "[0:v]trim=start_frame={skipped},settb=1/{fps},setpts=N,\
             tpad=stop={shown}:stop_mode=clone,trim=end_frame={shown},{shape},{fade_old}[old]"
        );
        let new = format!("[1:v]settb=1/{fps},setpts=N,{shape},format=yuv420p,{fade_new}[new]");
        format!("{old};{new};[new][old]overlay=eof_action=pass,format=yuv420p[picture]")
    }

    fn mixed_sound(&self, sound: Sound) -> String {
        let samples = |frames: usize| frames * FRAME_SAMPLES;
        let run_up = sound.run_up();
        let (out, begin) = match self.course {
            Course::Together => (sound.frames, 0),
            Course::InTurn => (sound.frames / 2, sound.frames / 2),
        };
        let old = sound.old.map(|lead| {
            format!(
                "[0:a]{SHAPE},atrim=start_sample={},asetpts=N/SR/TB,afade=t=out:ss={}:ns={}",
                samples(lead.unheard),
                samples(run_up),
                samples(out.max(1)),
            )
        });
        let new = sound.new.then(|| {
            format!(
                "[1:a]{SHAPE},asetpts=N/SR/TB,adelay={}S:all=1,asetpts=N/SR/TB,\
                 afade=t=in:ss={}:ns={}",
                samples(run_up),
                samples(run_up + begin),
                samples((sound.frames - begin).max(1)),
            )
        });
        // One frame more: an encoder looks ahead.
        let end = format!(
            "apad,atrim=end_sample={}[sound]",
            samples(run_up + sound.frames + 1)
        );
        match (old, new) {
            (Some(old), Some(new)) => format!(
                "{old}[sound0];{new}[sound1];\
                 [sound0][sound1]amix=inputs=2:duration=longest:dropout_transition=0:normalize=0,{end}"
            ),
            (Some(only), None) | (None, Some(only)) => format!("{only},{end}"),
            (None, None) => format!("anullsrc=r={AUDIO_RATE_HZ}:cl=stereo,{end}"),
        }
    }
}

// === impl Sound ===

impl Sound {
    /// Frames that are encoded before those that are used.
    pub fn run_up(&self) -> usize {
        self.old.map_or(0, |lead| lead.run_up)
    }
}

/// What every source on air has already; a decoder may disagree with it about the sample format.
const SHAPE: &str = "aresample=48000,aformat=sample_fmts=fltp:channel_layouts=stereo";

const _: () = assert!(AUDIO_RATE_HZ == 48_000 && AUDIO_CHANNELS == 2);

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(recipe: Recipe) -> String {
        let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let spec = recipe.spec(Path::new("ffmpeg"), null(), null(), StreamFormat::default());
        let args = spec.args.iter().filter_map(|arg| arg.to_str());
        args.collect::<Vec<_>>().join(" ")
    }

    const SOUND: Sound = Sound {
        old: Some(Lead {
            unheard: 1,
            run_up: 4,
        }),
        new: true,
        frames: 24,
    };

    #[test]
    fn a_fade_of_the_sound_renders_no_picture() {
        let args = arguments(Recipe {
            course: Course::InTurn,
            picture: None,
            sound: Some(SOUND),
        });
        assert!(
            !args.contains("libx264") && args.contains("-c:a aac"),
            "{args}"
        );
        // Gone after half of it, and coming from there.
        assert!(args.contains("afade=t=out:ss=4096:ns=12288"), "{args}");
        assert!(args.contains("afade=t=in:ss=16384:ns=12288"), "{args}");
    }

    #[test]
    fn a_picture_without_sound_has_none() {
        let picture = Picture {
            skipped: 40,
            mixed: 15,
            total: 60,
        };
        for (course, old) in [
            (Course::InTurn, "fade=t=out:s=0:n=8"),
            (Course::Together, "n=15:alpha=1"),
        ] {
            let args = arguments(Recipe {
                course,
                picture: Some(picture),
                sound: None,
            });
            assert!(
                !args.contains("aac") && args.contains("trim=start_frame=40"),
                "{args}"
            );
            assert!(args.contains(old) && args.contains("-g 61"), "{args}");
        }
    }
}
