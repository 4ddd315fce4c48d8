// The events of one connection of the browser's EventSource, which sends no header and needs a ticket.

import { NetworkError } from './errors.js';
import { fetchEvents } from './fetch-events.js';

/**
 * @import { Authorized, EventPayloads, RawEvent } from './types.js'
 * @import { Transport } from './transport.js'
 */

/** An EventSource brings an event only to listeners of its name. @type {(keyof EventPayloads)[]} */
const NAMES = ['connected', 'resync', 'new_message', 'message_edited', 'message_deleted', 'reaction_changed',
  'messages_read', 'typing', 'presence', 'friend_request', 'chat_room_created', 'chat_room_left', 'chat_room_settings'];
/** An EventSource cannot be slowed down, so a program that is this many events behind loses its connection. */
const MAX_QUEUED = 1_000;

/**
 * Throws a `NetworkError` when the connection ends, the program is too slow, or `signal` aborts, and the error with
 * which the server refuses the stream. A ticket is valid once, so the EventSource does not reconnect by itself.
 *
 * @param {Authorized} authorized
 * @param {Transport} transport
 * @param {string} path
 * @param {string} lastEventId
 * @param {AbortSignal} signal
 * @param {number} silenceTimeoutMs
 * @returns {AsyncGenerator<RawEvent>}
 */
export async function* eventSourceEvents(authorized, transport, path, lastEventId, signal, silenceTimeoutMs) {
  const { body } = await authorized((token) =>
    transport.send('POST', '/messages/stream/ticket', { token, idempotent: true }));
  const source = new EventSource(transport.urlWithTicket(path, body.ticket, lastEventId));
  /** @type {RawEvent[]} */ const queue = [];
  let hasEnded = signal.aborted;
  let isRefused = false;
  let wake = () => {};
  const end = () => {
    source.close();
    hasEnded = true;
    wake();
  };
  source.addEventListener('error', () => {
    // It reconnects after a broken connection, and is closed after an answer that is no stream.
    isRefused = source.readyState === source.CLOSED;
    end();
  });
  signal.addEventListener('abort', end);
  for (const name of NAMES) {
    source.addEventListener(name, (/** @type {MessageEvent} */ event) => {
      queue.push({ name, data: event.data, id: event.lastEventId || lastEventId, retryMs: null });
      if (queue.length === MAX_QUEUED) end();
      wake();
    });
  }
  try {
    for (;;) {
      for (let event; (event = queue.shift());) yield event;
      if (hasEnded) break;
      await new Promise((resolve) => { wake = () => resolve(undefined); });
    }
  } finally {
    source.close();
    signal.removeEventListener('abort', end);
  }
  // An EventSource does not tell the error of the answer. The same request by `fetch` throws it.
  if (isRefused) {
    const events = fetchEvents(authorized, transport, path, lastEventId, signal, silenceTimeoutMs);
    await events.next();
    await events.return(undefined);
  }
  throw new NetworkError('the stream broke');
}
