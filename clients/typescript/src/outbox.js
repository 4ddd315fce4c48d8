// The messages that the server has not confirmed.

import { Backoff, pause } from './backoff.js';
import { ApiError, AuthenticationError, ChatError, OutboxFullError, ServerError } from './errors.js';

/** @import { Message, OutboxEntry, Storage } from './types.js' */

const MAX_ENTRIES = 1_000;
const FIRST_DELAY_MS = 2_000;
const LONGEST_DELAY_MS = 30_000;
/** A message that gets this many answers of 500 in a row is rejected, so that later ones do not wait for ever. */
const MAX_SERVER_ERRORS = 5;

/**
 * Messages of one user in the order of their sends. An entry's id is its `client_message_id`, so a message that is sent
 * again, after a restart too, is stored once.
 */
export class Outbox {
  #send;
  #storage;
  #key;
  /** @type {OutboxEntry[]} */ #entries;
  /** @type {Promise<void> | null} */ #flushing = null;
  #waking = new AbortController();
  #isClosed = false;

  /** Called after each change of `entries`. */
  onChange = () => {};
  /** Called with each confirmed message, while it is still in `entries`. @type {(message: Message) => void} */
  onSent = () => {};
  /** Called when the server rejects a message. @type {(entry: OutboxEntry, error: ApiError) => void} */
  onRejected = () => {};

  /**
   * @param {(entry: OutboxEntry) => Promise<Message>} send
   * @param {Storage} storage
   * @param {number} userId
   */
  constructor(send, storage, userId) {
    this.#send = send;
    this.#storage = storage;
    this.#key = `outbox-${userId}`;
    this.#entries = JSON.parse(storage.load(this.#key) ?? '[]');
  }

  /** The unconfirmed messages, oldest first, those that the server has rejected among them. */
  get entries() {
    return /** @type {readonly OutboxEntry[]} */ (this.#entries);
  }

  /**
   * Stores a message and returns its entry. `flush` sends it.
   *
   * @param {number} room
   * @param {string} content
   * @param {string | null} [replyTo]
   */
  enqueue(room, content, replyTo = null) {
    if (this.#entries.length >= MAX_ENTRIES) throw new OutboxFullError(`the outbox holds ${MAX_ENTRIES} messages`);
    const entry = { id: newId(), room, content, reply_to: replyTo, at: new Date().toISOString(), error: null };
    this.#save([...this.#entries, entry]);
    return entry;
  }

  /**
   * Forgets a message. A send of it that is under way is not called back.
   *
   * @param {string} id
   */
  discard(id) {
    if (this.#entries.some((entry) => entry.id === id)) this.#save(this.#entries.filter((entry) => entry.id !== id));
  }

  /**
   * Lets `flush` send a rejected message again.
   *
   * @param {string} id
   */
  retry(id) {
    this.#mark(id, null);
  }

  /** Stops `flush`. The messages stay in the storage, which another outbox may use from now on. */
  close() {
    this.#isClosed = true;
    this.#waking.abort();
  }

  /**
   * Sends the messages one after another, which keeps their order, and waits while the server cannot be reached. A
   * message that the server rejects stays with its error. A call during another one ends its wait, for example when
   * the network is back. Throws a `SessionEndedError` or a `NotLoggedInError` without a session.
   */
  flush() {
    this.#waking.abort();
    this.#flushing ??= this.#sendAll().finally(() => { this.#flushing = null; });
    return this.#flushing;
  }

  async #sendAll() {
    const backoff = new Backoff(FIRST_DELAY_MS, LONGEST_DELAY_MS);
    let serverErrors = 0;
    for (let entry; (entry = this.#next());) {
      try {
        this.onSent(await this.#send(entry));
        this.discard(entry.id);
      } catch (error) {
        if (!(error instanceof ChatError) || error instanceof AuthenticationError) throw error;
        if (error instanceof ServerError) serverErrors++;
        if (error.isTransient && serverErrors < MAX_SERVER_ERRORS) {
          this.#waking = new AbortController();
          await pause(backoff.next(error instanceof ApiError ? error.retryAfterMs : null), this.#waking.signal);
          continue;
        }
        if (!(error instanceof ApiError)) throw error;
        this.#mark(entry.id, error.code || String(error.status));
        this.onRejected(entry, error);
      }
      serverErrors = 0;
      backoff.reset();
    }
  }

  #next() {
    return this.#isClosed ? undefined : this.#entries.find((entry) => entry.error === null);
  }

  /**
   * @param {string} id
   * @param {string | null} error
   */
  #mark(id, error) {
    this.#save(this.#entries.map((entry) => (entry.id === id ? { ...entry, error } : entry)));
  }

  /** @param {OutboxEntry[]} entries */
  #save(entries) {
    if (this.#isClosed) return;
    this.#entries = entries;
    this.#storage.save(this.#key, entries.length ? JSON.stringify(entries) : null);
    this.onChange();
  }
}

/** A random id. `crypto.randomUUID` is missing in pages that come neither from https nor from localhost. */
export const newId = () => [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join('-');
