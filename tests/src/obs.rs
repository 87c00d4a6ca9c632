//! A real OBS on a screen of its own, and an owner's hand on it.
//!
//! Its WebSocket server has no setting for the address it listens at, so it is given a `bind()` that
//! knows loopback only.

pub mod owner;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use crate::process::{self, Child};
use crate::wait;

const START_LIMIT: Duration = Duration::from_secs(30);

/// From the asking to the first word of it in its log; then it is asked again.
const HEARS: Duration = Duration::from_secs(2);
/// What its log says once it has begun to close.
const SHUTTING_DOWN: &str = "==== Shutting down ====";

const BIND: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
int bind(int fd, const struct sockaddr *address, socklen_t length) {
  int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "bind");
  struct sockaddr_in loopback;
  if (address->sa_family == AF_INET && length >= sizeof loopback) {
    memcpy(&loopback, address, sizeof loopback);
    loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return real(fd, (const struct sockaddr *)&loopback, sizeof loopback);
  }
  return real(fd, address, length);
}
"#;

/// A running OBS; ends when dropped, and its screen with it.
#[derive(Debug)]
pub struct Obs {
    // Dropped in this order.
    process: Child,
    _screen: Child,
    display: String,
    directory: TempDir,
    port: u16,
    password: Option<String>,
}

/// A connection to it.
#[derive(Debug)]
pub struct Hand {
    socket: WebSocket<TcpStream>,
    asked: u64,
}

// === impl Obs ===

impl Obs {
    /// Starts it without a password; `None` when it is not installed.
    pub fn start() -> Option<Self> {
        Self::launch(None)
    }

    /// Starts it with a password.
    pub fn with_password(password: &str) -> Option<Self> {
        Self::launch(Some(password.to_owned()))
    }

    fn launch(password: Option<String>) -> Option<Self> {
        let there = |name: &str| {
            ["/usr/bin", "/usr/local/bin"]
                .iter()
                .any(|dir| Path::new(dir).join(name).exists())
        };
        if !(there("obs") && there("Xvfb") && there("cc")) {
            return None;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        settings(directory.path(), port, password.as_deref());
        shim(directory.path());
        let (screen, display) = screen(directory.path());
        let process = obs(directory.path(), &display);
        let obs = Self {
            process,
            _screen: screen,
            display,
            directory,
            port,
            password,
        };
        obs.wait_until_it_answers();
        Some(obs)
    }

    /// `ws://ADDRESS` of its WebSocket server.
    pub fn url(&self) -> String {
        format!("ws://{}", self.address())
    }

    /// Where its WebSocket server listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Ends it at once, as a crash does.
    pub fn crash(&mut self) {
        self.process.kill();
    }

    /// Starts it again in the same place; it answers when this returns.
    pub fn start_again(&mut self) {
        self.process = obs(self.directory.path(), &self.display);
        self.wait_until_it_answers();
    }

    /// Stops its process, or lets it go on.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Asks it to close, as a desktop does that ends; it is closing when this returns.
    pub fn close(&self) {
        let heard = || self.log().matches(SHUTTING_DOWN).count();
        let before = heard();
        wait::until("OBS hears that it is to close", START_LIMIT, || {
            // One that is still making its windows does not. One that is closing is asked no more.
            self.signal(Signal::SIGINT);
            wait::within(HEARS, || (heard() > before).then_some(()))
        });
    }

    fn log(&self) -> String {
        fs::read_to_string(log(self.directory.path())).expect("its log")
    }

    /// A program that starts it again as a service manager would, and the file that counts its runs.
    pub fn restart_command(&self) -> (PathBuf, PathBuf) {
        let (script, runs) = (
            self.directory.path().join("restart"),
            self.directory.path().join("runs"),
        );
        fs::write(
            &script,
            format!("#!/bin/sh\necho run >>'{}'\n", runs.display()),
        )
        .expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&script, mode).expect("its mode");
        (script, runs)
    }

    /// A connection of the owner's.
    pub fn hand(&self) -> Hand {
        assert!(
            self.password.is_none(),
            "the owner's hand knows no password"
        );
        self.try_hand().expect("OBS answers")
    }

    fn try_hand(&self) -> Option<Hand> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .ok()?;
        let (socket, _) = tungstenite::client(self.url(), stream).ok()?;
        let mut hand = Hand { socket, asked: 0 };
        hand.next();
        hand.send(&json!({"op": 1, "d": {"rpcVersion": 1, "eventSubscriptions": 0}}));
        hand.next();
        Some(hand)
    }

    fn wait_until_it_answers(&self) {
        wait::until("OBS answers", START_LIMIT, || {
            if self.password.is_some() {
                return TcpStream::connect(("127.0.0.1", self.port)).ok().map(drop);
            }
            let answer = self.try_hand()?.try_ask("GetVersion", json!({}))?;
            answer["requestStatus"]["result"].as_bool()?.then_some(())
        });
    }
}

// === impl Hand ===

impl Hand {
    /// Asks for something; the answer's data.
    pub fn ask(&mut self, what: &str, data: Value) -> Value {
        let answer = self.try_ask(what, data).expect("OBS answers");
        assert_eq!(answer["requestStatus"]["result"], true, "{what}: {answer}");
        answer["responseData"].clone()
    }

    /// A source of one colour in a scene, switched off.
    pub fn colour(&mut self, scene: &str, name: &str) {
        self.ask(
            "CreateInput",
            json!({"sceneName": scene, "inputName": name, "inputKind": "color_source_v3",
                   "inputSettings": {"color": 0xff00_8000_u32, "width": 640, "height": 360}, "sceneItemEnabled": false}),
        );
    }

    /// Switches a source of a scene.
    pub fn switch(&mut self, scene: &str, name: &str, on: bool) {
        let item = self.ask(
            "GetSceneItemId",
            json!({"sceneName": scene, "sourceName": name}),
        );
        self.ask(
            "SetSceneItemEnabled",
            json!({"sceneName": scene, "sceneItemId": item["sceneItemId"], "sceneItemEnabled": on}),
        );
    }

    /// *Settings → Stream → Custom*.
    pub fn stream_to(&mut self, server: &str, key: &str) {
        self.ask(
            "SetStreamServiceSettings",
            json!({"streamServiceType": "rtmp_custom",
                   "streamServiceSettings": {"server": server, "key": key, "use_auth": false}}),
        );
    }

    /// Names of the scenes.
    pub fn scenes(&mut self) -> Vec<String> {
        let list = self.ask("GetSceneList", json!({}));
        let scenes = list["scenes"].as_array().expect("a list");
        scenes
            .iter()
            .map(|scene| scene["sceneName"].as_str().expect("a name").to_owned())
            .collect()
    }

    /// The scene it streams.
    pub fn programme(&mut self) -> String {
        let list = self.ask("GetSceneList", json!({}));
        let name = list["currentProgramSceneName"].as_str();
        name.expect("a name").to_owned()
    }

    /// Whether it streams.
    pub fn streams(&mut self) -> bool {
        self.ask("GetStreamStatus", json!({}))["outputActive"] == true
    }

    fn try_ask(&mut self, what: &str, data: Value) -> Option<Value> {
        self.asked += 1;
        let id = self.asked.to_string();
        self.send(
            &json!({"op": 6, "d": {"requestType": what, "requestId": id, "requestData": data}}),
        );
        loop {
            let message = self.next();
            if message["op"] == 7 && message["d"]["requestId"] == id.as_str() {
                return Some(message["d"].clone());
            }
        }
    }

    fn send(&mut self, message: &Value) {
        self.socket
            .send(Message::text(message.to_string()))
            .expect("OBS listens");
    }

    fn next(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.socket.read().expect("OBS answers") {
                return serde_json::from_str(&text).expect("JSON");
            }
        }
    }
}

fn screen(home: &Path) -> (Child, String) {
    let mut command = process::command("Xvfb");
    command.args([
        "-displayfd",
        "1",
        "-screen",
        "0",
        "1024x600x24",
        "-nolisten",
        "tcp",
        "-noreset",
    ]);
    let told = home.join("display");
    command
        .stdout(fs::File::create(&told).expect("a file"))
        .stderr(Stdio::null());
    let screen = Child::spawn(&mut command);
    let number = wait::until("Xvfb has a screen", START_LIMIT, || {
        let text = fs::read_to_string(&told).ok()?;
        text.ends_with('\n').then(|| text.trim().to_owned())
    });
    (screen, format!(":{number}"))
}

fn log(home: &Path) -> PathBuf {
    home.join("obs.log")
}

fn obs(home: &Path, display: &str) -> Child {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(log(home))
        .expect("its log");
    let mut command = process::command("obs");
    command.args([
        "--multi",
        "--disable-updater",
        "--disable-missing-files-check",
        "--websocket_ipv4_only",
    ]);
    command
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home)
        .env("XDG_RUNTIME_DIR", home.join("run"));
    command
        .env("DISPLAY", display)
        .env("LIBGL_ALWAYS_SOFTWARE", "1");
    command.env("LD_PRELOAD", home.join("loopback.so"));
    command
        .stdout(log.try_clone().expect("its log"))
        .stderr(log);
    Child::spawn(&mut command)
}

fn shim(home: &Path) {
    let source = home.join("loopback.c");
    fs::write(&source, BIND).expect("written");
    let target = home.join("loopback.so");
    let (source, target) = (source.display().to_string(), target.display().to_string());
    let built = process::run(
        "cc",
        &["-shared", "-fPIC", "-o", &target, &source, "-ldl"],
        START_LIMIT,
    );
    assert!(built.expect("cc runs").status.success());
}

fn settings(home: &Path, port: u16, password: Option<&str>) {
    let write = |path: &str, text: String| {
        let path = home.join("obs-studio").join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        fs::write(path, text).expect("written");
    };
    fs::create_dir_all(home.join("run")).expect("made");
    // 486539266 is 29.0.2: an older or absent one opens a wizard that waits for somebody.
    write(
        "global.ini",
        format!(
            "[General]\nFirstRun=true\nLastVersion=486539266\nEnableAutoUpdates=false\nConfirmOnExit=false\n\
             [Basic]\nProfile=CI\nProfileDir=CI\nSceneCollection=CI\nSceneCollectionFile=CI\n\
             [BasicWindow]\nSysTrayEnabled=false\nPreviewEnabled=false\n\
             [OBSWebSocket]\nFirstLoad=false\nServerEnabled=true\nServerPort={port}\nAlertsEnabled=false\n\
             AuthRequired={}\nServerPassword={}\n",
            password.is_some(),
            password.unwrap_or("unused"),
        ),
    );
    write(
        "basic/profiles/CI/basic.ini",
        "[General]\nName=CI\n[Video]\nBaseCX=640\nBaseCY=360\nOutputCX=640\nOutputCY=360\nFPSType=0\nFPSCommon=30\n\
         [Output]\nMode=Simple\nReconnect=true\nRetryDelay=1\nMaxRetries=25\n\
         [SimpleOutput]\nVBitrate=800\nABitrate=128\nStreamEncoder=x264\nUseAdvanced=true\nPreset=veryfast\n"
            .to_owned(),
    );
    write(
        "basic/profiles/CI/service.json",
        json!({"type": "rtmp_custom", "settings": {"server": "rtmp://127.0.0.1:1/live", "key": "unset", "use_auth": false}})
            .to_string(),
    );
    write(
        "basic/scenes/CI.json",
        json!({"name": "CI", "current_scene": "Idle", "current_program_scene": "Idle", "scene_order": [{"name": "Idle"}],
               "sources": [{"id": "scene", "name": "Idle", "settings": {}, "versioned_id": "scene"}], "groups": [],
               "transitions": [], "current_transition": "Cut", "transition_duration": 300})
            .to_string(),
    );
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}
