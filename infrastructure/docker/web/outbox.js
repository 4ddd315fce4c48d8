// Messages on their way. They stay visible until the server has them, and go again when it is back: the
// `client_message_id` makes a repeat harmless.

import { call } from './client.js';

const STORED = 'unsent';
const FIRST_PAUSE_MS = 2_000;
const LONGEST_PAUSE_MS = 30_000;

/** What is not sent yet, oldest first: `{ id, room, content, reply_to, at, refused }`. */
export let unsent = JSON.parse(sessionStorage.getItem(STORED)) ?? [];

let tell = { changed() {}, sent(_message) {}, refused(_unsent) {} };
let sending = false;
let timer = null;
let pause = FIRST_PAUSE_MS;

export function watchOutbox(listener) {
  tell = listener;
}

export function post(room, content, replyTo) {
  const id = crypto.getRandomValues(new Uint32Array(4)).join('-');
  store([...unsent, { id, room, content, reply_to: replyTo, at: new Date().toISOString() }]);
  flush();
}

/** The message has arrived, or is given up. */
export function settle(id) {
  if (unsent.some((one) => one.id === id)) store(unsent.filter((one) => one.id !== id));
}

export function tryAgain(id) {
  store(unsent.map((one) => (one.id === id ? { ...one, refused: null } : one)));
  flush();
}

export function clearOutbox() {
  clearTimeout(timer);
  store([]);
}

/** Sends one after another, so that their order stays. */
export async function flush() {
  if (sending) return;
  sending = true;
  clearTimeout(timer);
  for (let next; (next = unsent.find((one) => !one.refused));) {
    try {
      await send(next);
      pause = FIRST_PAUSE_MS;
    } catch (refusal) {
      if (!refusal.passes) {
        store(unsent.map((one) => (one.id === next.id ? { ...one, refused: refusal.code || 'refused' } : one)));
        tell.refused(next);
        continue;
      }
      timer = setTimeout(flush, Math.max(refusal.retryAfterMs || 0, pause));
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
      break;
    }
  }
  sending = false;
}

async function send({ id, room, content, reply_to }) {
  const message = await call('POST', `/messages/${room}`, { content, client_message_id: id, reply_to });
  tell.sent(message);
  settle(id);
}

function store(messages) {
  unsent = messages;
  sessionStorage.setItem(STORED, JSON.stringify(unsent));
  tell.changed();
}
