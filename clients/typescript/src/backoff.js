// The delays between attempts.

/**
 * Delays that double from `firstMs` to `longestMs`. Each delay is a random part, half to all, of its step, because all
 * clients of a server lose their streams at once.
 */
export class Backoff {
  /** @type {number} */ #step;

  /**
   * @param {number} firstMs
   * @param {number} longestMs
   */
  constructor(firstMs, longestMs) {
    this.firstMs = firstMs;
    this.longestMs = longestMs;
    this.#step = firstMs;
  }

  /**
   * The next delay, which is not shorter than `atLeastMs`, a `Retry-After` for example.
   *
   * @param {number | null} [atLeastMs]
   */
  next(atLeastMs) {
    const delay = this.#step * (0.5 + Math.random() / 2);
    this.#step = Math.min(this.#step * 2, this.longestMs);
    return Math.max(delay, atLeastMs ?? 0);
  }

  /** The next delay is the first one again. */
  reset() {
    this.#step = Math.min(this.firstMs, this.longestMs);
  }
}

/**
 * Waits. Ends early when `signal` aborts.
 *
 * @param {number} ms
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener('abort', end);
  });
}
