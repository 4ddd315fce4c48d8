// The stream of events, which resumes after every interruption.

import { Backoff, pause } from './backoff.js';
import { ApiError, ChatError } from './errors.js';
import { eventSourceEvents } from './event-source.js';
import { fetchEvents } from './fetch-events.js';
import { Repeats } from './repeats.js';

/**
 * @import { RawEvent, StreamEvent, StreamOptions } from './types.js'
 * @import { Session } from './session.js'
 * @import { Authorized } from './types.js'
 * @import { Transport } from './transport.js'
 */

/** The server sends at least a comment every 30 s (`SSE_KEEPALIVE_SECONDS`). */
const SILENCE_TIMEOUT_MS = 75_000;
const FIRST_DELAY_MS = 1_000;
const LONGEST_DELAY_MS = 30_000;
/** A stream resets the delay only after this time, because a server that shuts down may still accept connections. */
const STABLE_AFTER_MS = 10_000;

/**
 * All events after `lastEventId`, or from now on without it: each once, over any number of connections. Throws an
 * `ApiError` if a later attempt cannot succeed either, for example after the end of a membership.
 *
 * @param {Session} session
 * @param {Transport} transport
 * @param {string} path
 * @param {StreamOptions} options
 * @returns {AsyncGenerator<StreamEvent, void, undefined>}
 */
export async function* resumingEvents(session, transport, path, options) {
  const user = session.userId;
  /** @type {Authorized} */ const authorized = (request) => session.authorized(request, user);
  const { signal, onStatus = () => {}, silenceTimeoutMs = SILENCE_TIMEOUT_MS } = options;
  const connect = options.transport === 'eventsource' ? eventSourceEvents : fetchEvents;
  const backoff = new Backoff(FIRST_DELAY_MS, LONGEST_DELAY_MS);
  const repeats = new Repeats();
  let lastEventId = String(options.lastEventId ?? '');
  /** @type {boolean | null} */ let isLive = null;
  /** @param {boolean} live */
  const setLive = (live) => {
    if (isLive !== live) onStatus(live);
    isLive = live;
  };

  while (!signal?.aborted) {
    const network = watchNetwork(signal);
    let connectedAt = Infinity;
    let wait = null;
    try {
      for await (const raw of connect(authorized, transport, path, lastEventId, network.broken, silenceTimeoutMs)) {
        const event = eventOf(raw, repeats);
        lastEventId = raw.id;
        if (raw.retryMs !== null) backoff.firstMs = Math.min(raw.retryMs, LONGEST_DELAY_MS);
        if (connectedAt === Infinity) connectedAt = Date.now();
        if (raw.name === 'connected') setLive(true);
        if (event) yield event;
      }
    } catch (error) {
      // An event that is no JSON or too long is read again, as after a broken connection.
      const isUnreadable = error instanceof SyntaxError || error instanceof RangeError;
      const canResume = error instanceof ChatError ? error.isTransient : isUnreadable;
      if (!canResume && !signal?.aborted) throw error;
      wait = error instanceof ApiError ? error.retryAfterMs : null;
    } finally {
      network.stop();
    }
    if (signal?.aborted) return;
    setLive(false);
    if (Date.now() - connectedAt > STABLE_AFTER_MS) backoff.reset();
    await pauseUntilOnline(backoff.next(wait), signal);
  }
}

/**
 * The event with its payload, null for a message that was delivered before.
 *
 * @param {RawEvent} raw
 * @param {Repeats} repeats
 */
function eventOf({ name, data: text, id }, repeats) {
  const data = JSON.parse(text);
  if (name === 'resync') repeats.clear();
  if (name === 'new_message' && repeats.contains(data.room_id, data.seq)) return null;
  return /** @type {StreamEvent} */ ({ name, data, id });
}

/**
 * A signal that aborts with `signal`, and in a browser when the network goes or changes: a connection over the former
 * network may be dead without an error.
 *
 * @param {AbortSignal | undefined} signal
 */
function watchNetwork(signal) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  if (signal?.aborted) abort();
  signal?.addEventListener('abort', abort);
  for (const name of ['offline', 'online']) globalThis.addEventListener?.(name, abort);
  const stop = () => {
    signal?.removeEventListener('abort', abort);
    for (const name of ['offline', 'online']) globalThis.removeEventListener?.(name, abort);
  };
  return { broken: controller.signal, stop };
}

/**
 * Waits; in a browser at most until it is online again.
 *
 * @param {number} ms
 * @param {AbortSignal | undefined} signal
 */
async function pauseUntilOnline(ms, signal) {
  const waking = new AbortController();
  const wake = () => waking.abort();
  signal?.addEventListener('abort', wake);
  globalThis.addEventListener?.('online', wake);
  await pause(ms, waking.signal);
  signal?.removeEventListener('abort', wake);
  globalThis.removeEventListener?.('online', wake);
}
