// The events of one connection that `fetch` opens, with the access token in a header.

import { NetworkError } from './errors.js';
import { EventParser } from './sse.js';

/**
 * @import { Authorized, RawEvent } from './types.js'
 * @import { Transport } from './transport.js'
 */

const CHECKS_IN_SILENCE = 10;
/** A timer for more than 24 days, as of an infinite silence, would fire all the time. */
const LONGEST_CHECK_MS = 60_000;

/**
 * Ends when the server ends the stream. Throws a `NetworkError` when the connection breaks, is silent too long, or
 * `signal` aborts.
 *
 * @param {Authorized} authorized
 * @param {Transport} transport
 * @param {string} path
 * @param {string} lastEventId
 * @param {AbortSignal} signal
 * @param {number} silenceTimeoutMs
 * @returns {AsyncGenerator<RawEvent>}
 */
export async function* fetchEvents(authorized, transport, path, lastEventId, signal, silenceTimeoutMs) {
  const closing = new AbortController();
  const close = () => closing.abort();
  /** The time since which a read waits; infinite while the program works on an event. */
  let waitsSince = Date.now();
  // Checks of the clock find a machine that slept; a timer of the whole time would begin again where it stopped.
  const check = setInterval(() => {
    if (Date.now() - waitsSince > silenceTimeoutMs) close();
  }, Math.min(silenceTimeoutMs / CHECKS_IN_SILENCE, LONGEST_CHECK_MS));
  signal.addEventListener('abort', close);
  try {
    const response = await authorized((token) => transport.open(path, token, lastEventId, closing.signal));
    const parser = new EventParser(lastEventId);
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
    for (;;) {
      waitsSince = Date.now();
      const { done, value } = await reader.read().catch((cause) => {
        throw new NetworkError('the stream broke', { cause });
      });
      waitsSince = Infinity;
      if (done) return;
      yield* parser.feed(value);
    }
  } finally {
    clearInterval(check);
    signal.removeEventListener('abort', close);
    close();
  }
}
