// A storage in files, for Node.

import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pid } from 'node:process';

/** @import { Storage } from './types.js' */

/**
 * Keeps each text in a file of its own, which only the user of the process can read. A file is replaced as a whole, so
 * that a process that ends in the middle leaves the previous text.
 *
 * @implements {Storage}
 */
export class FileStorage {
  /** @type {string} */ #folder;

  /** @param {string} folder */
  constructor(folder) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#folder = folder;
  }

  /** @param {string} key */
  load(key) {
    try {
      return readFileSync(this.#file(key), 'utf8');
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT') return null;
      throw error;
    }
  }

  /**
   * @param {string} key
   * @param {string | null} text
   */
  save(key, text) {
    const file = this.#file(key);
    if (text === null) return rmSync(file, { force: true });
    const unfinished = `${file}.${pid}`;
    writeFileSync(unfinished, text, { mode: 0o600, flush: true });
    renameSync(unfinished, file);
  }

  /** @param {string} key */
  #file(key) {
    return join(this.#folder, `${key}.json`);
  }
}
