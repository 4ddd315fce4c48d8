// The events of one connection of the browser's EventSource, which sends no header and needs a ticket.

import { NetworkError } from './errors.js';

/**
 * @import { Authorized, EventPayloads, RawEvent } from './types.js'
 * @import { Transport } from './transport.js'
 */

/** An EventSource brings an event only to listeners of its name. @type {(keyof EventPayloads)[]} */
const NAMES = ['connected', 'resync', 'new_message', 'message_edited', 'message_deleted', 'reaction_changed',
  'messages_read', 'typing', 'presence', 'friend_request', 'chat_room_created', 'chat_room_left', 'chat_room_settings'];

/**
 * Throws a `NetworkError` when the connection ends or `signal` aborts. A ticket is valid once, so the EventSource does
 * not reconnect by itself.
 *
 * @param {Authorized} authorized
 * @param {Transport} transport
 * @param {string} path
 * @param {string} lastEventId
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<RawEvent>}
 */
export async function* eventSourceEvents(authorized, transport, path, lastEventId, signal) {
  const { body } = await authorized((token) =>
    transport.send('POST', '/messages/stream/ticket', { token, idempotent: true }));
  const source = new EventSource(transport.urlWithTicket(path, body.ticket, lastEventId));
  /** @type {RawEvent[]} */ const received = [];
  let hasEnded = signal.aborted;
  let wake = () => {};
  const end = () => {
    hasEnded = true;
    wake();
  };
  source.addEventListener('error', end);
  signal.addEventListener('abort', end);
  for (const name of NAMES) {
    source.addEventListener(name, (/** @type {MessageEvent} */ event) => {
      received.push({ name, data: event.data, id: event.lastEventId || lastEventId, retryMs: null });
      wake();
    });
  }
  try {
    for (;;) {
      for (let event; (event = received.shift());) yield event;
      if (hasEnded) throw new NetworkError('the stream broke');
      await new Promise((resolve) => { wake = () => resolve(undefined); });
    }
  } finally {
    source.close();
    signal.removeEventListener('abort', end);
  }
}
