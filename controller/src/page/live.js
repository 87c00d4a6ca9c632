// Who can go live, and when somebody last was.
'use strict';

const INPUT_TEXT = { waiting: 'Nobody sends', connecting: 'Connecting', ready: 'Ready', lost: 'Lost' };
const ENDED_TEXT = {
  given_back: 'given back', source_off: 'switched off in OBS', lost: 'the feed was lost',
  other_input: 'another input took over', stopped: 'the stream was stopped', worker_gone: 'the worker ended',
};

function showLiveInputs() {
  const inputs = status.live_inputs ?? [];
  $('live-box').hidden = inputs.length === 0;
  fill($('live-inputs'), inputs.map((input) => {
    const pill = input.on_air ? 'live' : { ready: 'running', connecting: 'connecting', lost: 'backoff' }[input.state] ?? '';
    const how = { true: 'copied', false: 'transcoded' }[input.copied];
    const media = input.state === 'ready' && input.media;
    return element('div', 'card destination',
      element('div', 'state-head', element('b', '', input.name),
        element('span', `pill ${pill}`, input.on_air ? 'On air' : INPUT_TEXT[input.state] ?? input.state)),
      input.from ? element('div', 'url', input.from) : null,
      media ? element('div', 'dim', how ? `${media} · ${how}` : media) : null,
      input.error && !input.on_air ? element('p', 'trouble', ...troubleText(input.error)) : null);
  }));
  const last = record?.streamId === streamId ? record.lastLive : null;
  $('last-live').hidden = !last;
  $('last-live').textContent = last ? `Last live: ${lastLive(last)}` : '';
}

function lastLive(session) {
  const input = session.input ?? 'whichever is ready';
  if (!session.on_air_at) return `${input}, asked for at ${moment(session.asked_at)}, never on air`;
  const began = `${input}, ${moment(session.on_air_at)}`;
  if (!session.off_at) return `${began}, on air now`;
  return `${began}, for ${short(session.on_air_s)}; ${ENDED_TEXT[session.ended] ?? session.ended}`;
}

// With its day, unless that is today.
function moment(timestamp) {
  const at = new Date(timestamp);
  return at.toDateString() === new Date().toDateString() ? time(timestamp) : at.toLocaleString();
}
