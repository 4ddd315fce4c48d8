// An EventSource for Node, which has none.

import { EventParser } from '../src/sse.js';

/** As in a browser, without a reconnection of its own: a ticket is valid once. */
export class EventSource extends EventTarget {
  CLOSED = 2;
  readyState = 0;
  #closing = new AbortController();

  constructor(url) {
    super();
    this.#read(url).catch(() => {}).finally(() => this.#dispatch(new Event('error')));
  }

  close() {
    this.readyState = this.CLOSED;
    this.#closing.abort();
  }

  async #read(url) {
    const response = await fetch(url, { signal: this.#closing.signal });
    if (!response.headers.get('Content-Type')?.startsWith('text/event-stream')) {
      this.close();
      this.dispatchEvent(new Event('error'));
      return;
    }
    const parser = new EventParser();
    for await (const chunk of response.body) {
      for (const { name, data, id } of parser.feed(chunk)) {
        this.#dispatch(new MessageEvent(name, { data, lastEventId: id }));
      }
    }
  }

  #dispatch(event) {
    if (this.readyState !== this.CLOSED) this.dispatchEvent(event);
  }
}
