// Outbox of messages that the server has not confirmed. They stay visible and are resent when the server is reachable;
// the `client_message_id` makes a repeated send idempotent.

import { call } from './client.js';

const STORAGE_KEY = 'unsent';
const MIN_BACKOFF_MS = 2_000;
const MAX_BACKOFF_MS = 30_000;

/** Unconfirmed messages, oldest first: `{ id, room, content, reply_to, at, error }`. */
export let outbox = JSON.parse(sessionStorage.getItem(STORAGE_KEY)) ?? [];

let listener = { changed() {}, sent(_message) {}, rejected(_entry) {} };
let sending = false;
let timer = null;
let backoff = MIN_BACKOFF_MS;

export function setOutboxListener(newListener) {
  listener = newListener;
}

export function enqueue(room, content, replyTo) {
  const id = crypto.getRandomValues(new Uint32Array(4)).join('-');
  save([...outbox, { id, room, content, reply_to: replyTo, at: new Date().toISOString() }]);
  flush();
}

/** Removes a message that the server has confirmed or that the user has discarded. */
export function dequeue(id) {
  if (outbox.some((entry) => entry.id === id)) save(outbox.filter((entry) => entry.id !== id));
}

export function retry(id) {
  save(outbox.map((entry) => (entry.id === id ? { ...entry, error: null } : entry)));
  flush();
}

export function clearOutbox() {
  clearTimeout(timer);
  save([]);
}

/** Sends the messages one after another, which keeps their order. */
export async function flush() {
  if (sending) return;
  sending = true;
  clearTimeout(timer);
  for (let next; (next = outbox.find((entry) => !entry.error));) {
    try {
      await send(next);
      backoff = MIN_BACKOFF_MS;
    } catch (error) {
      if (!error.isTransient) {
        save(outbox.map((entry) => (entry.id === next.id ? { ...entry, error: error.code || 'rejected' } : entry)));
        listener.rejected(next);
        continue;
      }
      timer = setTimeout(flush, Math.max(error.retryAfterMs || 0, backoff));
      backoff = Math.min(backoff * 2, MAX_BACKOFF_MS);
      break;
    }
  }
  sending = false;
}

async function send({ id, room, content, reply_to }) {
  const message = await call('POST', `/messages/${room}`, { content, client_message_id: id, reply_to });
  listener.sent(message);
  dequeue(id);
}

function save(entries) {
  outbox = entries;
  sessionStorage.setItem(STORAGE_KEY, JSON.stringify(outbox));
  listener.changed();
}
