// Follows the stream of all rooms, or of one room, and resumes after every break without a loss or a repeat.
// Prints each event as a line of JSON. Node 18 or newer, no dependency.
//
//   API=http://localhost:8000/api TOKEN=… node docs/examples/stream.mjs [ROOM]

const { API = 'http://localhost:8000/api', TOKEN } = process.env;
const url = `${API}/messages/stream${process.argv[2] ? `/${process.argv[2]}` : ''}`;

/** The server sends a comment every 30 s. A connection that is silent for longer than two of them is dead. */
const SILENCE_MS = 75_000;
const MAX_WAIT_MS = 30_000;
/** A stream of this age shows that the server works, so the next wait is short again. */
const STABLE_AFTER_MS = 10_000;

let lastEventId = process.env.LAST_EVENT_ID ?? '';
let retryMs = 2_000;

/** What an application does with an event. After `resync` it fetches the named room, or all of them, anew. */
function handle(name, data) {
  console.log(JSON.stringify({ event: name, id: lastEventId, data }));
}

/** Reads one connection to its end. */
async function follow() {
  const dead = new AbortController();
  const watch = setTimeout(() => dead.abort(new Error('the stream is silent')), SILENCE_MS);
  try {
    const headers = { Authorization: `Bearer ${TOKEN}`, Accept: 'text/event-stream' };
    if (lastEventId) headers['Last-Event-ID'] = lastEventId;
    const response = await fetch(url, { headers, signal: dead.signal });
    if (!response.ok) throw await refusal(response);
    let event = { name: 'message', data: [] };
    let rest = '';
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
      watch.refresh();
      const lines = (rest + text).split('\n');
      rest = lines.pop();
      for (const line of lines) {
        if (line !== '') {
          read(line, event);
          continue;
        }
        // Only an empty line ends an event, so the id of an event that broke off is not kept.
        if (event.id !== undefined) lastEventId = event.id;
        if (event.data.length) handle(event.name, JSON.parse(event.data.join('\n')));
        event = { name: 'message', data: [] };
      }
    }
  } finally {
    clearTimeout(watch);
  }
}

function read(line, event) {
  const colon = line.indexOf(':');
  const field = colon < 0 ? line : line.slice(0, colon);
  const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
  if (field === 'event') event.name = value;
  if (field === 'data') event.data.push(value);
  if (field === 'id') event.id = value;
  if (field === 'retry' && /^\d+$/.test(value)) retryMs = Number(value);
}

/** 429 and 503 are temporary. Any other refusal is repeated only after something has changed: a new token after a 401. */
async function refusal(response) {
  const error = new Error(`${response.status} ${await response.text()}`);
  error.isFinal = response.status < 500 && response.status !== 429;
  error.waitMs = Number(response.headers.get('Retry-After') ?? 0) * 1_000;
  return error;
}

for (let failures = 0; ; failures += 1) {
  const openedAt = Date.now();
  let waitMs = 0;
  try {
    await follow();
  } catch (error) {
    if (error.isFinal) throw error;
    waitMs = error.waitMs ?? 0;
  }
  if (Date.now() - openedAt > STABLE_AFTER_MS) failures = 0;
  const backoff = Math.min(retryMs * 2 ** Math.min(failures, 10), MAX_WAIT_MS);
  // With jitter, because all clients of a replica lose their streams at once.
  await new Promise((resolve) => setTimeout(resolve, Math.max(waitMs, backoff * (0.5 + Math.random() / 2))));
}
