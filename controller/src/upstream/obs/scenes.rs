//! OBS's scenes and sources: what must be there, and which of the owner's sources are on.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::connection::{Connection, ObsError, text_of};
use super::protocol::Refusal;

/// The owner's sources are here.
const OWNER: &str = "Owner Live";
/// What OBS shows while the programme is on air.
const AUTOMATED: &str = "Automated Content";
/// Scenes an operator finds in OBS; what is there already is never touched.
pub const SCENES: [&str; 4] = [AUTOMATED, OWNER, "Failover", "Technical Difficulties"];
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

/// What the scenes tell of a source.
#[derive(Debug, Default)]
struct Found {
    /// In one of them at least.
    enabled: bool,
    kind: String,
}

/// One of the owner's sources.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct OwnerSource {
    /// Its name in OBS.
    pub name: String,
    /// It is enabled in a scene, and its media advances if it has any.
    pub on: bool,
    /// It is in what OBS streams.
    pub shown: bool,
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

/// Has OBS stream the owner's scene.
///
/// # Errors
/// See [`ObsError`].
pub(super) async fn show_owner(obs: &mut Connection) -> Result<(), ObsError> {
    let scene = json!({"sceneName": OWNER});
    obs.ask("SetCurrentProgramScene", scene).await.map(drop)
}

/// Has OBS leave the owner's scene, if it is still there.
///
/// # Errors
/// See [`ObsError`].
pub(super) async fn leave_owner(obs: &mut Connection) -> Result<(), ObsError> {
    let list = obs.ask("GetSceneList", Value::Null).await?;
    if list["currentProgramSceneName"] == OWNER {
        let scene = json!({"sceneName": AUTOMATED});
        obs.ask("SetCurrentProgramScene", scene).await?;
    }
    Ok(())
}

/// What is in a scene or a group; nothing when it was removed between two questions.
async fn items(
    obs: &mut Connection,
    question: &'static str,
    of: &str,
) -> Result<Vec<Value>, ObsError> {
    match obs.ask(question, json!({"sceneName": of})).await {
        Ok(answer) => Ok(answer["sceneItems"].as_array().cloned().unwrap_or_default()),
        Err(ObsError::Refused(refusal)) if refusal.code == Refusal::NOT_FOUND => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

async fn is_shown(obs: &mut Connection, source: &str) -> Result<bool, ObsError> {
    let asked = json!({"sourceName": source});
    match obs.ask("GetSourceActive", asked).await {
        Ok(answer) => Ok(answer["videoActive"] == true),
        Err(ObsError::Refused(refusal)) if refusal.code == Refusal::NOT_FOUND => Ok(false),
        Err(error) => Err(error),
    }
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
        let found = self.find(obs).await?;
        let mut seen = Vec::new();
        for name in self.names.clone() {
            let on = match found.get(&name) {
                Some(found) if found.enabled && found.kind == MEDIA_KIND => {
                    self.advances(obs, &name, now).await?
                }
                found => found.is_some_and(|found| found.enabled),
            };
            seen.push(OwnerSource {
                on,
                shown: on && is_shown(obs, &name).await?,
                missing: !found.contains_key(&name),
                name,
            });
        }
        Ok(seen)
    }

    /// In all scenes, and in the groups that are in them.
    async fn find(&self, obs: &mut Connection) -> Result<BTreeMap<String, Found>, ObsError> {
        let mut found = BTreeMap::new();
        for scene in names(obs).await? {
            for item in items(obs, "GetSceneItemList", &scene).await? {
                let (name, enabled) = self.note(&item, true, &mut found);
                if item["isGroup"] == true {
                    for item in items(obs, "GetGroupSceneItemList", &name).await? {
                        self.note(&item, enabled, &mut found);
                    }
                }
            }
        }
        Ok(found)
    }

    /// Notes an item if it is one of these sources; its name, and whether it is enabled.
    fn note(
        &self,
        item: &Value,
        around: bool,
        found: &mut BTreeMap<String, Found>,
    ) -> (String, bool) {
        let name = text_of(&item["sourceName"]);
        let enabled = around && item["sceneItemEnabled"] == true;
        if self.names.contains(&name) {
            let entry = found.entry(name.clone()).or_default();
            entry.enabled |= enabled;
            entry.kind = text_of(&item["inputKind"]);
        }
        (name, enabled)
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

#[cfg(test)]
mod tests {
    use super::super::fake::{self, hello};
    use super::*;

    /// A camera in a group, a microphone in a group that is off, a logo that is off; OBS streams `Owner Live`.
    fn answers(kind: &str, data: &Value) -> Result<Value, u64> {
        let item = |name: &str, enabled: bool, group: Value| {
            json!({"sourceName": name, "sceneItemEnabled": enabled, "isGroup": group,
                   "inputKind": if group.is_null() { "v4l2_input".into() } else { Value::Null }})
        };
        let of = data["sceneName"].as_str().unwrap_or_default();
        Ok(match (kind, of) {
            ("GetVersion", _) => json!({"obsVersion": "31.0.0"}),
            ("GetSceneList", _) => {
                json!({"currentProgramSceneName": OWNER,
                       "scenes": [{"sceneName": "gone"}, {"sceneName": OWNER}]})
            }
            ("GetSceneItemList", "gone") => return Err(Refusal::NOT_FOUND),
            ("GetSceneItemList", OWNER) => json!({"sceneItems": [
                item("Desk", true, true.into()), item("Off", false, true.into()),
                item("Logo", false, Value::Null)]}),
            ("GetGroupSceneItemList", "Desk") => {
                json!({"sceneItems": [item("Camera", true, Value::Null)]})
            }
            ("GetGroupSceneItemList", "Off") => {
                json!({"sceneItems": [item("Microphone", true, Value::Null)]})
            }
            ("GetSourceActive", _) => json!({"videoActive": true, "videoShowing": true}),
            ("SetCurrentProgramScene", AUTOMATED) => Value::Null,
            (kind, of) => panic!("{kind} {of}"),
        })
    }

    #[tokio::test]
    async fn a_source_in_a_group_is_on_with_its_group() {
        let mut obs = fake::obs(hello("5.5.4"), Ok(answers)).await.expect("OBS");
        let names = ["Camera", "Microphone", "Logo", "Else"];
        let mut sources = OwnerSources::new(names.map(str::to_owned).to_vec());
        let seen = sources.look(&mut obs, Instant::now()).await.expect("seen");
        let told: Vec<_> = seen.iter().map(|s| (s.on, s.shown, s.missing)).collect();
        let (on, off, missing) = (
            (true, true, false),
            (false, false, false),
            (false, false, true),
        );
        assert_eq!(told, [on, off, off, missing]);
    }

    #[tokio::test]
    async fn only_the_owners_scene_is_left() {
        let mut obs = fake::obs(hello("5.5.4"), Ok(answers)).await.expect("OBS");
        leave_owner(&mut obs).await.expect("it is left");
        let elsewhere = |kind: &str, data: &Value| match kind {
            "GetSceneList" => Ok(json!({"currentProgramSceneName": "Break", "scenes": []})),
            "SetCurrentProgramScene" => panic!("the owner chose another"),
            _ => answers(kind, data),
        };
        let mut obs = fake::obs(hello("5.5.4"), Ok(elsewhere)).await.expect("OBS");
        leave_owner(&mut obs).await.expect("nothing to do");
    }
}
