// The page: follows one stream's events, plays its preview, and sends the operator's wishes.
// No framework, no build step; the picture is player.js. Nothing from the API is ever set as HTML.
'use strict';

const $ = (id) => document.getElementById(id);
const TOKEN = 'stream-controller-token';
const STATE_TEXT = {
  stopped: 'Stopped', starting: 'Starting', running: 'On air', degraded: 'On air, degraded',
  stopping: 'Stopping', backoff: 'Waiting to restart', error: 'Given up',
};
const DESTINATION_TEXT = {
  connecting: 'Connecting', live: 'Live', backoff: 'Waiting to retry', rejected: 'Refused', stopped: 'Stopped',
};
const WORKING = ['starting', 'running', 'degraded'];

let streamId = null;       // the stream shown
let status = null;         // its last status
let statusAt = 0;          // when that came, for the clock between events
let following = null;      // AbortController of its event stream
let shownTab = null;       // the stream whose tab was last brought into view

// --- calls -----------------------------------------------------------------------------------

function headers() {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function call(path, options = {}) {
  const sent = { ...options, headers: { ...headers(), ...options.headers } };
  const response = await fetch(path, sent);
  if (response.status !== 401) return response;
  await askForToken(sent.headers.Authorization !== undefined);
  return call(path, options);
}

let asking = null;
function askForToken(wrong) {
  asking ??= new Promise((resolve) => {
    $('token-wrong').hidden = !wrong;
    $('ask-token').showModal();
    $('token-form').onsubmit = () => {
      sessionStorage.setItem(TOKEN, $('token').value.trim());
      $('token').value = '';
      asking = null;
      resolve();
    };
  });
  return asking;
}
$('ask-token').addEventListener('cancel', (event) => event.preventDefault());

async function wish(what, body) {
  const options = { method: 'POST' };
  if (body) {
    options.headers = { 'Content-Type': 'application/json' };
    options.body = JSON.stringify(body);
  }
  try {
    const response = await call(`/streams/${streamId}/${what}`, options);
    const answer = await response.json();
    if (!response.ok) return complain(answer.error);
    if (answer.stream_id === streamId) show(answer);
  } catch {
    complain({ message: 'The controller does not answer.' });
  }
}

let toastTimer;
function complain(error) {
  const problems = (error.problems ?? []).map((p) => `• ${p.path ? p.path + ': ' : ''}${p.message}`);
  $('toast').textContent = [error.message, ...problems].join('\n');
  $('toast').hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $('toast').hidden = true; }, 8000);
}

// --- following ---------------------------------------------------------------------------------

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The list of streams, again and again: it also notices streams that come and go. */
async function watchStreams() {
  for (;;) {
    try {
      const response = await call('/health');
      const health = await response.json();
      linked(health);
      showTabs(health.streams);
    } catch {
      unlinked();
    }
    await pause(5000);
  }
}

/** Server-sent events over fetch, because EventSource cannot send the token. */
async function follow(id, signal) {
  while (!signal.aborted) {
    try {
      const response = await call(`/streams/${id}/events`, { signal });
      if (response.ok) await readEvents(response.body.pipeThrough(new TextDecoderStream()), id);
    } catch {
      // Said by watchStreams, which notices the same.
    }
    if (!signal.aborted) await pause(1000);
  }
}

async function readEvents(stream, id) {
  const reader = stream.getReader();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done || id !== streamId) return;
    text += value;
    const events = text.split('\n\n');
    text = events.pop();
    for (const event of events) {
      const data = event.split('\n').filter((l) => l.startsWith('data:')).map((l) => l.slice(5)).join('\n');
      if (data) show(JSON.parse(data));
    }
  }
}

function choose(id) {
  following?.abort();
  streamId = id;
  status = null;
  location.hash = id;
  fill($('log-lines'), []);
  $('media-box').hidden = true;
  readMedia().catch(() => {});
  stopPlayer();
  following = new AbortController();
  follow(id, following.signal);
}

// --- showing -----------------------------------------------------------------------------------

function element(tag, className, ...content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content.filter((c) => c !== null && c !== undefined && c !== ''));
  return made;
}

/** Replaces children only when they differ: a selection or a focus survives the next event. */
function fill(parent, children) {
  const next = element('div', '', ...children);
  const drawn = next.innerHTML;
  if (parent.drawn === drawn) return;
  parent.drawn = drawn;
  parent.replaceChildren(...next.childNodes);
}

function linked(health) {
  $('link').classList.toggle('lost', health.status !== 'ok');
  $('link').textContent = health.status === 'ok'
    ? `v${health.version} · up ${lasting(health.uptime_s)}`
    : health.problem ?? 'recovering…';
}

function unlinked() {
  $('link').classList.add('lost');
  $('link').textContent = 'controller does not answer';
}

function showTabs(streams) {
  $('none').hidden = streams.length > 0;
  $('main').hidden = streams.length === 0;
  $('here').textContent = location.origin;
  $('token-header').hidden = !headers().Authorization;
  if (!streams.some((s) => s.stream_id === streamId) && streams.length > 0) {
    const wanted = decodeURIComponent(location.hash.slice(1));
    choose((streams.find((s) => s.stream_id === wanted) ?? streams[0]).stream_id);
  }
  fill($('tabs'), streams.map((s) => {
    const tab = element('button', '', element('span', `dot ${s.state}`), s.stream_id);
    tab.dataset.stream = s.stream_id;
    tab.setAttribute('aria-current', s.stream_id === streamId);
    return tab;
  }));
  if (shownTab === streamId) return;
  shownTab = streamId;
  // On a phone it may lie beyond the edge.
  $('tabs').querySelector('[aria-current="true"]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
}

function show(next) {
  if (next.stream_id !== streamId) return;
  status = next;
  statusAt = performance.now();
  showState();
  showOnAir();
  showDestinations();
  showLiveInputs();
  showProblems();
  showActions();
  showPlayer();
}

function showState() {
  const { state, error } = status;
  $('state').className = `pill ${state}`;
  $('state').textContent = STATE_TEXT[state] ?? state;
  $('mark').classList.toggle('on', state === 'running' || state === 'degraded');
  document.title = `${STATE_TEXT[state] ?? state} · ${streamId}`;
  // What a destination or the slate says of itself need not be said twice. A live destination's card is silent.
  const failed = status.destinations.filter((to) => to.state !== 'live');
  const elsewhere = [...failed.map((to) => to.error?.message), status.on_air?.reason];
  const said = error && elsewhere.some((text) => text && error.message.endsWith(text));
  $('error').hidden = !error || said || state === 'stopped';
  fill($('error'), troubleText(error));
  const format = status.format;
  const facts = [
    ['Format', format && `${format.width}×${format.height} · ${format.fps} fps`],
    ['Programme', status.programme.items !== null && count(status.programme.items, 'item')],
    ['Restarts', status.pid && String(status.restarts)],
    ['Next start', status.next_restart_at && time(status.next_restart_at)],
    ['Worker', status.pid && `pid ${status.pid}`],
    ['Exit code', !status.pid && status.exit_code && String(status.exit_code)],
  ].filter(([, value]) => value);
  fill($('facts'), facts.flatMap(([name, value]) => [element('dt', '', name), element('dd', '', value)]));
  $('facts').hidden = facts.length === 0;
}

function showOnAir() {
  const air = status.on_air;
  const kind = air?.kind ?? '';
  $('kind').className = `kind ${kind}`;
  $('kind').textContent = kind;
  $('badge').className = `badge ${kind}`;
  $('badge').textContent = { programme: 'ON AIR', live: 'LIVE', slate: 'SLATE' }[kind] ?? '';
  $('item').textContent = air ? air.item ?? 'Slate' : nothing();
  const fit = air?.fit?.how;
  $('fit').textContent = { copy: 'copied', transcode: 'transcoded' }[fit] ?? '';
  $('fit').title = fit === 'transcode' ? reasons(air.fit) : '';
  $('next').textContent = air?.next ? `Next: ${air.next}` : '';
  $('progress').className = `progress ${kind}`;
  const why = air?.reason ?? (status.programme.error && status.programme.error.message);
  $('reason').hidden = !why;
  $('reason').textContent = why ?? '';
  markMedia();
  tick();
}

function nothing() {
  return status.state === 'starting' ? 'Going on air…' : 'Nothing is on air';
}

function reasons(fit) {
  const of = (track, list) => list.map((r) => `${track} ${r.what.replaceAll('_', ' ')}: ${r.has} → ${r.needs}`);
  return [...of('video', fit.video), ...of('audio', fit.audio)].join('\n');
}

function showDestinations() {
  if (status.destinations.length === 0) {
    const text = WORKING.includes(status.state) ? 'None: this stream is only a preview.' : 'Shown while the stream is on air.';
    return fill($('destinations'), [element('div', 'card dim', text)]);
  }
  fill($('destinations'), status.destinations.map((to) => {
    const number = (name, value) => element('div', '', element('span', '', name), value);
    const retry = to.next_retry_at ? `${to.retry_count} · next ${time(to.next_retry_at)}` : String(to.retry_count);
    return element('div', 'card destination',
      element('div', 'state-head', element('b', '', to.name),
        element('span', `pill ${to.state}`, DESTINATION_TEXT[to.state] ?? to.state)),
      element('div', 'url', to.url),
      element('div', 'numbers',
        number('Bitrate', `${(to.bitrate_kbps / 1000).toFixed(2)} Mb/s`),
        number('Sent', lasting(to.sent_media_s)),
        number('Retries', retry),
        to.dropped_frames > 0 ? number('Dropped', `${to.dropped_frames} frames`) : null),
      to.error && to.state !== 'live' ? element('p', 'trouble', ...troubleText(to.error)) : null,
      recordOf(to.name));
  }));
}

function showProblems() {
  const problems = status.programme.problems;
  $('problems-box').hidden = problems.length === 0;
  fill($('problems'), problems.map(({ key, error }) =>
    element('div', 'problem', element('b', '', key), element('p', '', error.message), element('p', '', error.hint))));
}

function showActions() {
  const on = status.state === 'running' || status.state === 'degraded';
  const idle = ['stopped', 'error'].includes(status.state);
  const kind = status.on_air?.kind;
  $('start').hidden = !idle;
  $('stop').hidden = idle;
  $('stop').disabled = status.state === 'stopping';
  $('skip').disabled = !on || kind !== 'programme';
  $('slate').hidden = kind === 'slate';
  $('slate').disabled = !on;
  // A slate that stands in for something goes by itself.
  const taken = ['operator', 'card', 'live_lost'].includes(status.on_air?.slate);
  $('programme').hidden = kind !== 'live' && !taken;
  $('programme').disabled = !on;
}

function troubleText(error) {
  return error ? [error.message, error.hint ? element('span', 'hint', error.hint) : null] : [];
}

/** Between two events the clock goes on by itself. */
function tick() {
  if (!status) return;
  $('since').textContent = `for ${lasting(ago(status.since))}`;
  const air = status.on_air;
  if (!air) {
    $('clock').textContent = '';
    $('progress-fill').style.width = '0';
    return;
  }
  const passed = (performance.now() - statusAt) / 1000;
  const length = air.duration_s;
  const at = Math.min(air.position_s + passed, length ?? Infinity);
  // A feed and the slate have no position, only a beginning.
  if (length) $('clock').textContent = `${span(at)} / ${span(length)}`;
  else $('clock').textContent = air.kind === 'programme' ? span(at) : `for ${lasting(ago(air.since))}`;
  $('progress-fill').style.width = length ? `${(100 * at / length).toFixed(2)}%` : '100%';
}

const ago = (timestamp) => (Date.now() - Date.parse(timestamp)) / 1000;

/** A place in a file, or its length. */
function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, '0');
  const days = Math.floor(s / 86400);
  const hours = Math.floor(s / 3600) % 24;
  const clock = `${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
  if (days > 0) return `${days} d ${hours}:${clock}`;
  return hours > 0 ? `${hours}:${clock}` : clock;
}

/** How long something has lasted. */
function lasting(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

const time = (timestamp) => new Date(timestamp).toLocaleTimeString();
const count = (n, noun) => `${n} ${noun}${n === 1 ? '' : 's'}`;

// --- the media ---------------------------------------------------------------------------------

const FIT_TEXT = { copy: 'copied', transcode: 'transcoded', unplayable: 'unplayable', unknown: 'unreadable', pending: '…' };

async function watchMedia() {
  for (;;) {
    const pending = streamId && !document.hidden ? await readMedia().catch(() => 0) : 0;
    await pause(pending > 0 ? 1000 : streamId ? 20000 : 500);
  }
}

async function readMedia() {
  const response = await call(`/media?stream_id=${streamId}`);
  $('media-box').hidden = false;
  if (!response.ok) {
    fill($('media'), [element('p', 'trouble', (await response.json()).error.message)]);
    return 0;
  }
  const list = await response.json();
  const total = list.objects.reduce((sum, object) => sum + (object.duration_s ?? 0), 0);
  $('media-total').textContent = `${count(list.objects.length, 'file')} · ${span(total)}`;
  fill($('media'), list.objects.length > 0 ? list.objects.map(mediaLine) : [element('p', 'dim', 'Nothing that can be played yet.')]);
  markMedia();
  return list.pending;
}

function mediaLine({ key, duration_s: length, fit }) {
  const chip = element('span', `chip ${fit.how}`, FIT_TEXT[fit.how] ?? fit.how);
  chip.title = fit.how === 'transcode' ? reasons(fit) : fit.reason ?? '';
  const line = element('div', 'object', element('b', '', key), element('span', 'dim', length ? span(length) : ''), chip);
  line.dataset.key = key;
  return line;
}

function markMedia() {
  for (const line of $('media').children) line.classList.toggle('now', line.dataset.key === status?.on_air?.item);
}

// --- the log -----------------------------------------------------------------------------------

async function watchLog() {
  for (;;) {
    if ($('logs').open && streamId) await readLog().catch(() => {});
    await pause(2000);
  }
}

async function readLog() {
  const response = await call(`/streams/${streamId}/logs?lines=200`);
  if (!response.ok) return;
  const { stream_id: id, lines } = await response.json();
  if (id !== streamId) return;
  const box = $('log-lines');
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  fill(box, lines.flatMap((line) => [logLine(line), '\n']));
  if (atEnd) box.scrollTop = box.scrollHeight;
}

function logLine(line) {
  try {
    const { timestamp, level, fields, message } = JSON.parse(line);
    const { message: said = message ?? '', ...rest } = fields ?? {};
    const details = Object.entries(rest).map(([name, value]) => ` ${name}=${value}`).join('');
    return element('span', (level ?? '').toLowerCase(), element('time', '', `${time(timestamp)} `), `${said}${details}`);
  } catch {
    const level = /\b(ERROR|WARN)\b/.exec(line);
    return element('span', level ? level[1].toLowerCase() : '', line);
  }
}
$('logs').addEventListener('toggle', () => $('logs').open && readLog().catch(() => {}));

// --- wishes ------------------------------------------------------------------------------------

$('tabs').addEventListener('click', (event) => {
  const id = event.target.closest('button')?.dataset.stream;
  if (id && id !== streamId) {
    choose(id);
    for (const tab of $('tabs').children) tab.setAttribute('aria-current', tab.dataset.stream === id);
  }
});
$('start').onclick = () => wish('start');
$('skip').onclick = () => wish('skip');
$('slate').onclick = () => wish('source', { take: 'slate' });
$('programme').onclick = () => wish('source', { take: 'programme' });
$('stop').onclick = () => {
  $('stop-name').textContent = streamId;
  $('ask-stop').returnValue = 'no';
  $('ask-stop').showModal();
};
$('ask-stop').addEventListener('close', () => $('ask-stop').returnValue === 'yes' && wish('stop'));

// When player.js is there too.
addEventListener('DOMContentLoaded', () => {
  setInterval(tick, 250);
  watchStreams();
  watchLog();
  watchMedia();
});
