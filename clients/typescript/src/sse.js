// The parser of server-sent events, as the HTML standard defines them.

/** @import { RawEvent } from './types.js' */

/**
 * The longest event, in UTF-16 code units of its lines. The API's events are far shorter; it bounds the memory of a
 * stream.
 */
export const MAX_EVENT_LENGTH = 4 * 1024 * 1024;

/** Turns the bytes of one stream into events. Chunks can end anywhere, within a character or a line end too. */
export class EventParser {
  // Drops a byte order mark at the start.
  #decoder = new TextDecoder();
  #text = '';
  #id;
  #name = '';
  /** @type {string[]} */ #data = [];
  #length = 0;
  /** @type {number | null} */ #retry = null;

  constructor(lastEventId = '') {
    this.#id = lastEventId;
  }

  /**
   * The events that the chunk completes. Throws a RangeError for an event that is longer than `MAX_EVENT_LENGTH`.
   *
   * @param {Uint8Array} chunk
   * @returns {Generator<RawEvent>}
   */
  *feed(chunk) {
    this.#text += this.#decoder.decode(chunk, { stream: true });
    for (const line of this.#lines()) {
      this.#length += line.length;
      if (line) {
        this.#readField(line);
        continue;
      }
      const event = this.#dispatch();
      if (event) yield event;
    }
    if (this.#length + this.#text.length > MAX_EVENT_LENGTH) throw new RangeError('an event of the stream is too long');
  }

  /** The complete lines, which end with LF, CR or CR LF. A CR at the end may be the first half of a CR LF. */
  *#lines() {
    const text = this.#text;
    const ends = /\r\n|\n|\r(?!$)/g;
    let start = 0;
    for (let end; (end = ends.exec(text)); start = ends.lastIndex) yield text.slice(start, end.index);
    this.#text = text.slice(start);
  }

  /** @param {string} line */
  #readField(line) {
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'event') this.#name = value;
    else if (name === 'data') this.#data.push(value);
    else if (name === 'id' && !value.includes('\0')) this.#id = value;
    else if (name === 'retry' && /^\d+$/.test(value)) this.#retry = Number(value);
  }

  /** @returns {RawEvent | null} */
  #dispatch() {
    const event = { name: this.#name || 'message', data: this.#data.join('\n'), id: this.#id, retryMs: this.#retry };
    const hasData = this.#data.length > 0;
    this.#name = '';
    this.#data = [];
    this.#length = 0;
    this.#retry = null;
    return hasData ? event : null;
  }
}
