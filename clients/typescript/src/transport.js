// Requests over HTTP, without a session.

import { Backoff, pause } from './backoff.js';
import { ApiError, errorOf, NetworkError, RateLimitError, ServerError, UnexpectedAnswerError } from './errors.js';

/**
 * @import { RequestOptions } from './types.js'
 *
 * @typedef {object} Answer A successful answer.
 * @property {any} body The decoded body, undefined if it is empty.
 * @property {Headers} headers
 */

const TIMEOUT_MS = 15_000;
const MAX_ATTEMPTS = 4;
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 8_000;
/** A longer `Retry-After` is left to the caller. */
const LONGEST_RETRY_AFTER_MS = 30_000;

/** Sends requests to the gateway or to one service. */
export class Transport {
  #baseUrl;

  /** @param {string} baseUrl */
  constructor(baseUrl) {
    this.#baseUrl = baseUrl.replace(/\/$/, '');
  }

  /**
   * The answer. Repeats an idempotent request that found no server, and any request that was rejected by 429. Throws a
   * `NetworkError` without an answer, and the `ApiError` of an error answer.
   *
   * @param {string} method
   * @param {string} path
   * @param {RequestOptions & { token?: string, maxAttempts?: number }} [options]
   */
  async send(method, path, { token, query, body, path: values, idempotent = method === 'GET', maxAttempts } = {}) {
    const url = this.#url(path, values, query);
    return this.#repeating(() => this.#sendOnce(method, url, token, body), { idempotent, maxAttempts });
  }

  /**
   * The bytes of a file, to which the server redirects. Repeats like `send`, until `signal` aborts, and has no timeout of
   * its own. `fetch` sends the token to no other server.
   *
   * @param {string} path
   * @param {{ token?: string, query?: RequestOptions['query'], signal?: AbortSignal | null }} [options]
   */
  download(path, { token, query, signal = null } = {}) {
    // `file_url` begins with the prefix of the gateway, which the base URL has already.
    const isPrefixed = path.startsWith('/api/') && this.#baseUrl.endsWith('/api');
    const url = this.#url(isPrefixed ? path.slice('/api'.length) : path, {}, query);
    return this.#repeating(async () => {
      const response = await this.#fetch(url, { headers: authorization(token), signal, redirect: 'follow' });
      return response.blob().catch((cause) => {
        throw new NetworkError('the answer broke off', { cause });
      });
    }, { idempotent: true, signal });
  }

  /**
   * @template T
   * @param {() => Promise<T>} sendOnce
   * @param {{ idempotent: boolean, maxAttempts?: number | undefined, signal?: AbortSignal | null }} options
   * @returns {Promise<T>}
   */
  async #repeating(sendOnce, { idempotent, maxAttempts = MAX_ATTEMPTS, signal }) {
    const backoff = new Backoff(FIRST_DELAY_MS, LONGEST_DELAY_MS);
    for (let attempt = 1; ; attempt++) {
      try {
        return await sendOnce();
      } catch (error) {
        const mayRepeat = error instanceof RateLimitError || (idempotent && isUnreachable(error));
        const wait = error instanceof ApiError ? error.retryAfterMs : null;
        const isLast = attempt >= maxAttempts || signal?.aborted;
        if (!mayRepeat || isLast || (wait ?? 0) > LONGEST_RETRY_AFTER_MS) throw error;
        await pause(backoff.next(wait));
      }
    }
  }

  /**
   * @param {string} method
   * @param {string} url
   * @param {string | undefined} token
   * @param {unknown} body
   * @returns {Promise<Answer>}
   */
  async #sendOnce(method, url, token, body) {
    const headers = authorization(token);
    if (body !== undefined) headers.set('Content-Type', 'application/json');
    const request = { method, headers, body: body === undefined ? null : JSON.stringify(body) };
    const response = await this.#fetch(url, { ...request, signal: AbortSignal.timeout(TIMEOUT_MS) });
    return { body: await bodyOf(response), headers: response.headers };
  }

  /**
   * An answer whose body is read as it comes. It has no timeout.
   *
   * @param {string} path
   * @param {string} token
   * @param {string} lastEventId
   * @param {AbortSignal} signal
   */
  open(path, token, lastEventId, signal) {
    const headers = authorization(token);
    headers.set('Accept', 'text/event-stream');
    if (lastEventId) headers.set('Last-Event-ID', lastEventId);
    return this.#fetch(this.#url(path), { headers, signal });
  }

  /**
   * The address of a stream for the browser's EventSource, which can send no header.
   *
   * @param {string} path
   * @param {string} ticket
   * @param {string} lastEventId
   */
  urlWithTicket(path, ticket, lastEventId) {
    return this.#url(path, {}, { ticket, last_event_id: lastEventId || null });
  }

  /**
   * @param {string} url
   * @param {RequestInit} request
   */
  async #fetch(url, request) {
    let response;
    try {
      // Only downloads are redirected, and a password must not reach another host.
      response = await fetch(url, { cache: 'no-store', redirect: 'manual', ...request });
    } catch (cause) {
      throw new NetworkError('no answer', { cause });
    }
    if (!response.ok) throw await errorOf(response);
    return response;
  }

  /**
   * @param {string} path
   * @param {RequestOptions['path']} [values]
   * @param {RequestOptions['query']} [query]
   */
  #url(path, values = {}, query = {}) {
    const filled = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(values[name] ?? ''));
    const parameters = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
    const search = new URLSearchParams(parameters.map(([name, value]) => [name, String(value)])).toString();
    return this.#baseUrl + filled + (search && `?${search}`);
  }
}

/** @param {unknown} error */
const isUnreachable = (error) =>
  (error instanceof NetworkError || error instanceof ApiError) && error.isTransient && !(error instanceof ServerError);

/** @param {string | undefined} token */
const authorization = (token) => new Headers(token ? { Authorization: `Bearer ${token}` } : {});

/**
 * The decoded body. A body that breaks off is as good as no answer.
 *
 * @param {Response} response
 */
async function bodyOf(response) {
  const text = await response.text().catch((cause) => {
    throw new NetworkError('the answer broke off', { cause });
  });
  try {
    return text ? JSON.parse(text) : undefined;
  } catch {
    throw new UnexpectedAnswerError(response.status);
  }
}
