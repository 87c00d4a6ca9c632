//! OBS's scenes and sources: what must be there, and which of the owner's sources are on.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::connection::{Connection, ObsError, text_of};
use super::protocol::Refusal;

/// Scenes an operator finds in OBS; what is there already is never touched.
pub const SCENES: [&str; 4] = [
    "Automated Content",
    "Owner Live",
    "Failover",
    "Technical Difficulties",
];
/// Kind of the input that plays files and network streams: enabled says nothing about what it shows.
const MEDIA_KIND: &str = "ffmpeg_source";
/// Media whose clock has not moved for this long stands still.
const STANDS_STILL_AFTER: Duration = Duration::from_millis(1500);

/// Whether the owner's sources are on, from one look to the next.
#[derive(Debug)]
pub(super) struct OwnerSources {
    names: Vec<String>,
    /// Where the media of each stood, and since when it has stood there.
    cursors: BTreeMap<String, (i64, Instant)>,
}

/// One of the owner's sources.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct OwnerSource {
    /// Its name in OBS.
    pub name: String,
    /// It is enabled in a scene, and its media advances if it has any.
    pub on: bool,
    /// OBS knows no source of this name.
    pub missing: bool,
}

/// Makes the scenes that are not there.
///
/// # Errors
/// See [`ObsError`].
pub(super) async fn ensure(obs: &mut Connection) -> Result<Vec<&'static str>, ObsError> {
    let present = names(obs).await?;
    let mut made = Vec::new();
    for scene in SCENES {
        if present.iter().any(|name| name == scene) {
            continue;
        }
        match obs.ask("CreateScene", json!({"sceneName": scene})).await {
            Ok(_) => made.push(scene),
            Err(ObsError::Refused(refusal)) if refusal.code == Refusal::ALREADY_EXISTS => {}
            Err(error) => return Err(error),
        }
    }
    Ok(made)
}

async fn names(obs: &mut Connection) -> Result<Vec<String>, ObsError> {
    let list = obs.ask("GetSceneList", Value::Null).await?;
    let scenes = list["scenes"].as_array().cloned().unwrap_or_default();
    Ok(scenes.iter().map(|s| text_of(&s["sceneName"])).collect())
}

// === impl OwnerSources ===

impl OwnerSources {
    /// The sources called `names`.
    pub(super) fn new(names: Vec<String>) -> Self {
        Self {
            names,
            cursors: BTreeMap::new(),
        }
    }

    /// Looks at all of them at `now`.
    ///
    /// # Errors
    /// See [`ObsError`].
    pub(super) async fn look(
        &mut self,
        obs: &mut Connection,
        now: Instant,
    ) -> Result<Vec<OwnerSource>, ObsError> {
        // By name: enabled somewhere, and of which kind.
        let mut found: BTreeMap<String, (bool, String)> = BTreeMap::new();
        for scene in names(obs).await? {
            let answer = obs
                .ask("GetSceneItemList", json!({"sceneName": scene}))
                .await;
            let items = match answer {
                Ok(answer) => answer["sceneItems"].as_array().cloned().unwrap_or_default(),
                // Removed between the two questions.
                Err(ObsError::Refused(refusal)) if refusal.code == Refusal::NOT_FOUND => continue,
                Err(error) => return Err(error),
            };
            for item in items {
                let name = text_of(&item["sourceName"]);
                if self.names.contains(&name) {
                    let enabled = item["sceneItemEnabled"].as_bool().unwrap_or(false);
                    let entry = found.entry(name).or_default();
                    entry.0 |= enabled;
                    entry.1 = text_of(&item["inputKind"]);
                }
            }
        }
        let mut seen = Vec::new();
        for name in self.names.clone() {
            let (on, missing) = match found.get(&name) {
                None => (false, true),
                Some((true, kind)) if kind == MEDIA_KIND => {
                    (self.advances(obs, &name, now).await?, false)
                }
                Some((enabled, _)) => (*enabled, false),
            };
            seen.push(OwnerSource { name, on, missing });
        }
        Ok(seen)
    }

    /// OBS says *playing* of a network stream nobody sends; only its clock tells.
    async fn advances(
        &mut self,
        obs: &mut Connection,
        name: &str,
        now: Instant,
    ) -> Result<bool, ObsError> {
        let asked = obs
            .ask("GetMediaInputStatus", json!({"inputName": name}))
            .await;
        let status = match asked {
            Ok(status) => status,
            Err(ObsError::Refused(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        let playing = status["mediaState"].as_str() == Some("OBS_MEDIA_STATE_PLAYING");
        let Some(cursor) = status["mediaCursor"].as_i64().filter(|_| playing) else {
            self.cursors.remove(name);
            return Ok(false);
        };
        let (before, since) = *self.cursors.entry(name.to_owned()).or_insert((cursor, now));
        if before != cursor {
            self.cursors.insert(name.to_owned(), (cursor, now));
            return Ok(true);
        }
        // The first look, or two within one of OBS's frames.
        Ok(now != since && now < since + STANDS_STILL_AFTER)
    }
}
