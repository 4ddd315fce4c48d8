// The live stream of all rooms. When it breaks it comes back where it was, with a new ticket: one is used only once.

import { call } from './client.js';

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
/** A stream that ends sooner was no recovery: a server that is going still lets one in. */
const STEADY_MS = 10_000;
const LOOK_EVERY_MS = 20_000;
/** A timer so late means that the machine slept: the connection may be dead without knowing it. */
const SLEPT_MS = 120_000;

const EVENTS = ['connected', 'resync', 'new_message', 'message_edited', 'message_deleted', 'reaction_changed',
  'messages_read', 'typing', 'presence', 'friend_request', 'chat_room_created'];

/**
 * Listens until stopped. `hear(name, data)` gets every event, `tell(live)` whether the stream is there.
 * Returns a function that stops it.
 */
export function listen(hear, tell) {
  let source = null;
  let timer = null;
  let lastId = '';
  let pause = FIRST_PAUSE_MS;
  let attempt = 0;
  let since = Infinity;

  async function open() {
    close();
    const mine = ++attempt;
    try {
      const { ticket } = await call('POST', '/messages/stream/ticket');
      if (mine !== attempt) return;
      const query = new URLSearchParams({ ticket, ...(lastId && { last_event_id: lastId }) });
      source = new EventSource(`/api/messages/stream?${query}`);
    } catch (refusal) {
      if (mine === attempt) later(refusal.retryAfterMs);
      return;
    }
    source.onerror = () => later();
    for (const name of EVENTS) source.addEventListener(name, take);
  }

  function take(event) {
    lastId = event.lastEventId || lastId;
    if (event.type === 'connected') {
      since = Date.now();
      tell(true);
    }
    hear(event.type, JSON.parse(event.data));
  }

  /** Everybody loses a stream at once when a server goes: who comes back is spread over the pause. */
  function later(atLeast) {
    close();
    tell(false);
    if (Date.now() - since > STEADY_MS) pause = FIRST_PAUSE_MS;
    since = Infinity;
    timer = setTimeout(open, Math.max(atLeast || 0, pause * (0.5 + Math.random() / 2)));
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  }

  function close() {
    attempt++;
    clearTimeout(timer);
    source?.close();
    source = null;
  }

  function lost() {
    close();
    tell(false);
  }

  let looked = Date.now();
  const watch = setInterval(() => {
    if (Date.now() - looked > SLEPT_MS) open();
    looked = Date.now();
  }, LOOK_EVERY_MS);
  addEventListener('offline', lost);
  addEventListener('online', open);
  open();
  return () => {
    close();
    clearInterval(watch);
    removeEventListener('offline', lost);
    removeEventListener('online', open);
  };
}
