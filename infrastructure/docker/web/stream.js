// The live event stream of all rooms. After an interruption it resumes at the last event, with a new single-use ticket.
//
// A browser opens at most six connections to a server over HTTP/1.1, so the tabs of one user share one stream: the tab that holds a
// Web Lock opens it and passes its events on through a BroadcastChannel. When that tab closes, another one gets the lock and
// resumes.

import { call } from './client.js';

const MIN_BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 30_000;
/** A stream resets the backoff only after this time, because a server that shuts down may still accept connections. */
const STABLE_AFTER_MS = 10_000;
const WAKE_CHECK_MS = 20_000;
/** A timer that is this late means that the machine slept. The connection may be dead without an error event. */
const SLEEP_THRESHOLD_MS = 120_000;

const EVENTS = ['connected', 'resync', 'new_message', 'message_edited', 'message_deleted', 'reaction_changed',
  'messages_read', 'typing', 'presence', 'friend_request', 'chat_room_created', 'chat_room_left', 'chat_room_settings'];

/**
 * Follows the stream of a user until the returned function is called. `onEvent(name, data)` receives every event, `onStatus(live)`
 * every change of the connection. The first event is `connected`.
 */
export function openStream(user, onEvent, onStatus) {
  let lastEventId = '';
  let isLive = null;

  function take({ name, data, id, live }) {
    lastEventId = id || lastEventId;
    isLive = name === 'connected' || (live ?? isLive);
    if (name === 'connected' || live === false) onStatus(isLive);
    if (name) onEvent(name, data);
  }

  // Browsers have locks only in pages from https or from localhost. In another page, each tab has a stream of its own.
  if (!navigator.locks) return connectStream('', take);

  const channel = new BroadcastChannel(`stream-${user}`);
  const closing = new AbortController();
  const { signal } = closing;
  const closed = new Promise((resolve) => signal.addEventListener('abort', resolve));
  const joins = crypto.randomUUID();
  let holdsStream = false;

  channel.onmessage = ({ data: message }) => {
    if (message.joins) {
      if (holdsStream && isLive !== null) channel.postMessage({ greets: message.joins, isLive });
    } else if (!message.greets) {
      take(message);
    } else if (message.greets === joins && isLive === null) {
      take(message.isLive ? { name: 'connected', data: {} } : { live: false });
    }
  };
  // A tab that opens later has missed `connected`, so the tab with the stream tells it.
  channel.postMessage({ joins });

  const holding = navigator.locks.request(channel.name, { signal }, async () => {
    holdsStream = true;
    const close = connectStream(lastEventId, (message) => {
      channel.postMessage(message);
      take(message);
    });
    await closed;
    close();
  });
  // The request for the lock ends with an error if the tab stops waiting for it.
  holding.catch(() => {}).finally(() => channel.close());
  return () => closing.abort();
}

/** Keeps a connection open from an event on. `publish` receives `{ name, data, id }` of every event, and `{ live: false }`. */
function connectStream(lastEventId, publish) {
  let source = null;
  let timer = null;
  let backoff = MIN_BACKOFF_MS;
  let attempt = 0;
  let connectedAt = Infinity;

  async function connect() {
    close();
    const thisAttempt = ++attempt;
    try {
      const { ticket } = await call('POST', '/messages/stream/ticket');
      if (thisAttempt !== attempt) return;
      const query = new URLSearchParams({ ticket, ...(lastEventId && { last_event_id: lastEventId }) });
      source = new EventSource(`/api/messages/stream?${query}`);
    } catch (error) {
      if (thisAttempt === attempt) reconnectLater(error.retryAfterMs);
      return;
    }
    source.onerror = () => reconnectLater();
    for (const name of EVENTS) source.addEventListener(name, receive);
  }

  function receive(event) {
    lastEventId = event.lastEventId || lastEventId;
    if (event.type === 'connected') connectedAt = Date.now();
    publish({ name: event.type, data: JSON.parse(event.data), id: event.lastEventId });
  }

  /** The delay has jitter, because all clients of a server lose their streams at once. */
  function reconnectLater(minDelay) {
    disconnect();
    if (Date.now() - connectedAt > STABLE_AFTER_MS) backoff = MIN_BACKOFF_MS;
    connectedAt = Infinity;
    timer = setTimeout(connect, Math.max(minDelay || 0, backoff * (0.5 + Math.random() / 2)));
    backoff = Math.min(backoff * 2, MAX_BACKOFF_MS);
  }

  function close() {
    attempt++;
    clearTimeout(timer);
    source?.close();
    source = null;
  }

  function disconnect() {
    close();
    publish({ live: false });
  }

  let lastCheck = Date.now();
  const wakeCheck = setInterval(() => {
    if (Date.now() - lastCheck > SLEEP_THRESHOLD_MS) connect();
    lastCheck = Date.now();
  }, WAKE_CHECK_MS);
  addEventListener('offline', disconnect);
  addEventListener('online', connect);
  connect();
  return () => {
    close();
    clearInterval(wakeCheck);
    removeEventListener('offline', disconnect);
    removeEventListener('online', connect);
  };
}
