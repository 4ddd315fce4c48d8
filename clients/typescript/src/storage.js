// Where a client keeps its session and its outbox.

/** @import { Storage } from './types.js' */

/**
 * Keeps texts for as long as the page or the process runs.
 *
 * @implements {Storage}
 */
export class MemoryStorage {
  /** @type {Map<string, string>} */ #texts = new Map();

  /** @param {string} key */
  load(key) {
    return this.#texts.get(key) ?? null;
  }

  /**
   * @param {string} key
   * @param {string | null} text
   */
  save(key, text) {
    if (text === null) this.#texts.delete(key);
    else this.#texts.set(key, text);
  }
}

/**
 * Keeps texts in the browser's `sessionStorage`, for one tab, or in its `localStorage`, for all tabs and the next
 * start.
 *
 * @implements {Storage}
 */
export class WebStorage {
  /** @type {globalThis.Storage} */ #web;

  /** @param {globalThis.Storage} web */
  constructor(web) {
    this.#web = web;
  }

  /** @param {string} key */
  load(key) {
    return this.#web.getItem(key);
  }

  /**
   * @param {string} key
   * @param {string | null} text
   */
  save(key, text) {
    if (text === null) this.#web.removeItem(key);
    else this.#web.setItem(key, text);
  }
}
