// The last 24 hours of each destination: a strip with its gaps and what is not recorded, and what became of them in a
// line. The last live.
'use strict';

const DAY_MS = 24 * 3600 * 1000;
const RECORD_EVERY_MS = 30000;
let record = null;         // { streamId, to, destinations by name, gaps, unrecorded, lastLive }

async function watchRecord() {
  for (;;) {
    if (streamId && !document.hidden) await readRecord().catch(() => { record = null; });
    await pause(streamId ? RECORD_EVERY_MS : 500);
  }
}

async function readRecord() {
  const asked = streamId;
  const query = `window=24h&stream_id=${asked}`;
  const lives = `/health/transitions?window=30d&stream_id=${asked}&limit=1`;
  const [uptime, incidents, transitions] = await Promise.all(
    [`/health/uptime?${query}`, `/health/incidents?${query}&limit=1000`, lives].map(async (path) => {
      const response = await call(path);
      if (!response.ok) throw new Error(path);
      return response.json();
    }));
  if (asked !== streamId) return;
  const own = uptime.streams.find((stream) => stream.stream_id === asked);
  record = {
    streamId: asked,
    to: Date.parse(uptime.to),
    destinations: new Map((own?.destinations ?? []).map((to) => [to.name, to])),
    gaps: incidents.incidents.filter((incident) => incident.kind === 'gap'),
    unrecorded: uptime.unrecorded,
    lastLive: transitions.sessions[0] ?? null,
  };
  if (!status) return;
  showDestinations();
  showLiveInputs();
}

// For a destination's card; nothing while nothing is known.
function recordOf(name) {
  const to = record?.streamId === streamId ? record.destinations.get(name) : undefined;
  if (!to || to.availability === null) return null;
  const strip = element('div', 'strip');
  strip.setAttribute('role', 'img');
  strip.setAttribute('aria-label', `${percent(to.availability)} of the last 24 hours`);
  for (const gap of record.gaps.filter((gap) => gap.destination === name)) strip.append(mark(gap));
  for (const lost of record.unrecorded) strip.append(blank(lost));
  const longest = to.longest_gap_s === null ? 'no gap' : `longest gap ${short(to.longest_gap_s)}`;
  return element('div', 'record',
    element('div', 'record-head', element('span', '', 'Last 24 h'), element('b', '', percent(to.availability)), element('span', '', longest)),
    strip,
    to.last_incident ? element('div', 'record-last', lastIncident(to.last_incident)) : null);
}

function mark(gap) {
  return stretch(gap.planned ? 'planned' : '', gap.start, gap.length_s * 1000, lastIncident(gap));
}

// Neither good nor bad: nothing is recorded, and nothing counted.
function blank(lost) {
  const why = `nothing is recorded (${lost.cause.replaceAll('_', ' ')})`;
  const title = `${time(lost.from)} to ${time(lost.to)}: ${why}`;
  return stretch('unrecorded', lost.from, Date.parse(lost.to) - Date.parse(lost.from), title);
}

function stretch(kind, start, length_ms, title) {
  const ago = record.to - Date.parse(start);
  const left = Math.max(0, 100 - 100 * ago / DAY_MS);
  const mark = element('i', kind);
  mark.style.left = `min(${left}%, 100% - 3px)`;
  mark.style.width = `${Math.min(100 - left, 100 * length_ms / DAY_MS)}%`;
  mark.title = title;
  return mark;
}

function lastIncident(incident) {
  const what = incident.cause.replaceAll('_', ' ');
  const length = incident.end ? short(incident.length_s) : `for ${short(incident.length_s)} now`;
  return `${time(incident.start)} ${what}, ${length}`;
}

// Rounded down: 100 % is said only of a day without a dark second.
function percent(share) {
  return `${Math.floor(share * 1e5) / 1e3} %`;
}

function short(seconds) {
  return seconds < 60 ? `${Math.round(seconds * 10) / 10} s` : lasting(seconds);
}

addEventListener('DOMContentLoaded', watchRecord);
