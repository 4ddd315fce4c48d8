// The live event stream of all rooms. After an interruption it resumes at the last event, with a new single-use ticket.

import { call } from './client.js';

const MIN_BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 30_000;
/** A stream resets the backoff only after this time, because a server that shuts down may still accept connections. */
const STABLE_AFTER_MS = 10_000;
const WAKE_CHECK_MS = 20_000;
/** A timer that is this late means that the machine slept. The connection may be dead without an error event. */
const SLEEP_THRESHOLD_MS = 120_000;

const EVENTS = ['connected', 'resync', 'new_message', 'message_edited', 'message_deleted', 'reaction_changed',
  'messages_read', 'typing', 'presence', 'friend_request', 'chat_room_created', 'chat_room_left'];

/**
 * Keeps the stream open until the returned function is called. `onEvent(name, data)` receives every event,
 * `onStatus(live)` every change of the connection.
 */
export function openStream(onEvent, onStatus) {
  let source = null;
  let timer = null;
  let lastEventId = '';
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
    if (event.type === 'connected') {
      connectedAt = Date.now();
      onStatus(true);
    }
    onEvent(event.type, JSON.parse(event.data));
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
    onStatus(false);
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
