// The picture: an HLS preview through hls.js, while there is something to see and someone to see it.
// Uses $, call, headers, pause, status, streamId and STATE_TEXT of app.js.
'use strict';

let hls = null;
let opening = null;        // the stream whose preview is being waited for

function showPlayer() {
  const on = status.on_air && (status.state === 'running' || status.state === 'degraded');
  if (!on || document.hidden) {
    stopPlayer();
    cover(status.state === 'starting' ? 'Going on air…' : STATE_TEXT[status.state], status.state === 'starting');
  } else if (!hls && opening !== streamId) {
    openPlayer(streamId);
  }
}

/** Asking for the playlist starts the preview; it has a picture some seconds later. */
async function openPlayer(id) {
  opening = id;
  const playlist = `/preview/${id}/index.m3u8`;
  cover('Starting the preview…', true);
  while (opening === id) {
    try {
      const response = await call(playlist);
      if (response.ok && opening === id) return play(playlist);
    } catch {
      // Tried again.
    }
    await pause(700);
  }
}

function play(playlist) {
  opening = null;
  const video = $('video');
  if (!Hls.isSupported()) {
    // Safari plays HLS by itself, but cannot send a token.
    video.src = playlist;
    video.play();
    return uncover();
  }
  hls = new Hls({
    liveSyncDurationCount: 2,
    liveMaxLatencyDurationCount: 6,
    xhrSetup: (xhr) => {
      for (const [name, value] of Object.entries(headers())) xhr.setRequestHeader(name, value);
    },
  });
  hls.on(Hls.Events.ERROR, (_, error) => {
    if (!error.fatal) return;
    if (error.type === Hls.ErrorTypes.MEDIA_ERROR) return hls.recoverMediaError();
    stopPlayer();
    setTimeout(() => status && showPlayer(), 1000);
  });
  hls.loadSource(playlist);
  hls.attachMedia(video);
  // Muted, so the browser lets it play by itself.
  video.play().catch(() => {});
}

function stopPlayer() {
  opening = null;
  hls?.destroy();
  hls = null;
}

function cover(text, busy) {
  $('cover').hidden = false;
  $('cover-text').textContent = text;
  $('spinner').hidden = !busy;
  $('player-buttons').hidden = true;
}

function uncover() {
  $('cover').hidden = true;
  $('player-buttons').hidden = false;
}

$('video').addEventListener('playing', uncover);
$('mute').onclick = () => {
  $('video').muted = !$('video').muted;
  $('mute').textContent = $('video').muted ? 'Sound off' : 'Sound on';
};
$('full').onclick = () => (document.fullscreenElement ? document.exitFullscreen() : $('screen').requestFullscreen());
// Nobody looks at a hidden tab: the preview ends by itself a minute later.
document.addEventListener('visibilitychange', () => status && showPlayer());
