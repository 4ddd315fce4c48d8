// The client of the API.

import { newId, Outbox } from './outbox.js';
import { Session } from './session.js';
import { shareStream } from './shared-stream.js';
import { MemoryStorage } from './storage.js';
import { resumingEvents } from './stream.js';
import { Transport } from './transport.js';

/**
 * @import { AnswerOf, Friend, FriendRequests, Friendship, Message, MessagePage, MethodOf, OptionsOf, OutboxEntry,
 *   OwnProfile, Paths, ReadAnswer, RequestOptions, Room, Storage, StreamEvent, StreamOptions, User, UserProfile
 * } from './types.js'
 * @import { Listener } from './shared-stream.js'
 * @import { Answer } from './transport.js'
 */

/** The largest page that the API has. */
const PAGE_SIZE = 100;

/**
 * A user's access to the API. Ids of messages are texts of 24 hexadecimal digits, all other ids are numbers.
 *
 * Names of methods are in camel case; the fields of requests and answers are those of the API, in snake case.
 */
export class ChatClient {
  #transport;
  #storage;
  #session;
  /** @type {Outbox | null} */ #outbox = null;

  /** Called when the server has ended the session, after its tokens were forgotten. */
  onSessionEnd = () => {};

  /**
   * @param {object} [options]
   * @param {string} [options.baseUrl] The gateway with `/api`, or a service.
   * @param {Storage} [options.storage] Keeps the session and the outbox.
   */
  constructor({ baseUrl = 'http://localhost:8000/api', storage = new MemoryStorage() } = {}) {
    this.#transport = new Transport(baseUrl);
    this.#storage = storage;
    this.#session = new Session(this.#transport, storage);
    this.#session.onEnd = () => {
      this.#closeOutbox();
      this.onSessionEnd();
    };
  }

  // The session

  /** Whether there is a session, one of the storage for example. */
  get isLoggedIn() {
    return this.#session.isLoggedIn;
  }

  /** The id of the user. Throws a `NotLoggedInError` without a session. */
  get userId() {
    return this.#session.userId;
  }

  /**
   * Creates an account. Throws a `ConflictError` if the e-mail or the username is taken.
   *
   * @param {{ email: string, username: string, password: string, display_name?: string | null }} account
   * @returns {Promise<User>}
   */
  async register(account) {
    return (await this.#transport.send('POST', '/auth/register', { body: account })).body;
  }

  /**
   * Opens a session. `code` is the code of the second factor, or a function that asks for it and is called only if the
   * account has one. Throws a `SecondFactorError` if the code is missing or wrong, and an `AuthenticationError` for a
   * wrong password.
   *
   * @param {string} email
   * @param {string} password
   * @param {string | (() => string | Promise<string>)} [code]
   */
  async login(email, password, code) {
    this.#closeOutbox();
    await this.#session.login(email, password, code);
  }

  /**
   * Ends the session. The tokens are forgotten even if it throws because the server could not be reached, where the
   * session then goes on. What the outbox still holds stays in the storage for the next login of the user.
   */
  async logout() {
    this.#closeOutbox();
    await this.#session.logout();
  }

  #closeOutbox() {
    this.#outbox?.close();
    this.#outbox = null;
  }

  // Requests

  /**
   * The decoded answer of any operation. A path of the documents, such as `/messages/{id}`, gives the options and the
   * answer their types.
   *
   * @template {keyof Paths} P
   * @template {MethodOf<P> & string} M
   * @overload
   * @param {M} method
   * @param {P} path
   * @param {OptionsOf<P, M>} [options]
   * @returns {Promise<AnswerOf<P, M>>}
   */
  /**
   * @overload
   * @param {string} method
   * @param {string} path
   * @param {RequestOptions} [options]
   * @returns {Promise<any>}
   */
  /**
   * @param {string} method
   * @param {string} path
   * @param {any} [options]
   */
  async request(method, path, options) {
    return (await this.#respond(method, path, options)).body;
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {RequestOptions & { maxAttempts?: number }} [options]
   */
  #respond(method, path, options) {
    return this.#session.authorized((token) => this.#transport.send(method, path, { ...options, token }));
  }

  // Users and friends

  /** @returns {Promise<OwnProfile>} */
  me() {
    return this.request('GET', '/profile/me');
  }

  /**
   * Users whose names contain a text of 1 to 50 characters.
   *
   * @param {string} query
   * @param {number} [limit]
   * @returns {Promise<UserProfile[]>}
   */
  async findUsers(query, limit = 10) {
    return (await this.request('GET', '/users/search', { query: { query, limit } })).users;
  }

  /**
   * @param {number} userId
   * @param {string | null} [message]
   * @returns {Promise<Friendship>}
   */
  requestFriendship(userId, message = null) {
    return this.#body('POST', '/friends/request', { user_id_2: userId, message });
  }

  /** @returns {Promise<FriendRequests>} */
  friendRequests() {
    return this.#body('GET', '/friends/requests');
  }

  /**
   * @param {number} requesterId
   * @returns {Promise<Friendship>}
   */
  acceptFriendship(requesterId) {
    return this.#body('PUT', `/friends/status/${requesterId}`, { action: 'accept' });
  }

  /**
   * All friends, read page by page.
   *
   * @returns {AsyncGenerator<Friend, void, undefined>}
   */
  async *friends() {
    /** @type {string | null} */ let cursor = null;
    do {
      /** @type {Answer} */
      const { body, headers } = await this.#respond('GET', '/friends/list', { query: { limit: PAGE_SIZE, cursor } });
      yield* /** @type {Friend[]} */ (body);
      cursor = headers.get('X-Next-Cursor');
    } while (cursor);
  }

  // Rooms and messages

  /**
   * All rooms, newest activity first, read page by page. A room that moves between two pages comes once.
   *
   * @returns {AsyncGenerator<Room, void, undefined>}
   */
  async *rooms() {
    const seen = new Set();
    /** @type {Room[]} */ let page;
    let skip = 0;
    do {
      page = await this.request('GET', '/chat-rooms', { query: { skip, limit: PAGE_SIZE } });
      for (const room of page) {
        if (seen.has(room.id)) continue;
        seen.add(room.id);
        yield room;
      }
      skip += PAGE_SIZE;
    } while (page.length === PAGE_SIZE);
  }

  /**
   * The direct room with a user, which is created if there is none.
   *
   * @param {number} userId
   * @returns {Promise<Room>}
   */
  roomWith(userId) {
    return this.#body('GET', `/chat-rooms/check/${userId}`);
  }

  /**
   * A group of the caller and two or more other users, or the direct room with one.
   *
   * @param {number[]} participantIds
   * @param {string | null} [name]
   * @returns {Promise<Room>}
   */
  createRoom(participantIds, name = null) {
    return this.#body('POST', '/chat-rooms', { participant_ids: participantIds, name });
  }

  /**
   * Sends a message once, however often the request has to be repeated.
   *
   * @param {number} room
   * @param {string} content
   * @param {{ replyTo?: string | null, clientMessageId?: string }} [options]
   * @returns {Promise<Message>}
   */
  send(room, content, { replyTo = null, clientMessageId = newId() } = {}) {
    const body = { content, reply_to: replyTo, client_message_id: clientMessageId };
    return this.#body('POST', `/messages/${room}`, body, { idempotent: true });
  }

  /** The unconfirmed messages of the user. Throws a `NotLoggedInError` without a session. */
  get outbox() {
    // The outbox waits by itself between two attempts, so that `flush` can end the wait.
    this.#outbox ??= new Outbox(({ id, room, content, reply_to }) => {
      const body = { content, reply_to, client_message_id: id };
      return this.#body('POST', `/messages/${room}`, body, { idempotent: true, maxAttempts: 1 });
    }, this.#storage, this.userId);
    return this.#outbox;
  }

  /**
   * The messages of a room, newest first, read page by page; those before a message if its id is given.
   *
   * @param {number} room
   * @param {{ before?: string | null }} [options]
   * @returns {AsyncGenerator<Message, void, undefined>}
   */
  async *messages(room, { before = null } = {}) {
    /** @type {MessagePage} */ let page;
    do {
      page = await this.page(room, { before });
      yield* page.messages.toReversed();
      before = page.messages[0]?.id ?? null;
    } while (page.has_more && before);
  }

  /**
   * One page of messages, oldest first. A stream from its `last_event_id` has all events after it.
   *
   * @param {number} room
   * @param {{ before?: string | null, limit?: number }} [options]
   * @returns {Promise<MessagePage>}
   */
  page(room, { before = null, limit = PAGE_SIZE } = {}) {
    return this.#body('GET', `/messages/${room}`, undefined, { query: { before, limit } });
  }

  /**
   * Messages that contain a text, newest first, read page by page.
   *
   * @param {string} text
   * @param {number | null} [room]
   * @returns {AsyncGenerator<Message, void, undefined>}
   */
  async *searchMessages(text, room = null) {
    let cursor = null;
    do {
      const query = { q: text, room_id: room, cursor };
      const found = await this.#body('GET', '/messages/search', undefined, { query });
      yield* found.messages;
      cursor = found.next_cursor;
    } while (cursor);
  }

  /**
   * @param {string} messageId
   * @param {string} content
   * @returns {Promise<Message>}
   */
  edit(messageId, content) {
    return this.#body('PUT', `/messages/${messageId}`, { content }, { idempotent: true });
  }

  /** @param {string} messageId */
  async delete(messageId) {
    await this.#body('DELETE', `/messages/${messageId}`);
  }

  /**
   * Adds a reaction of the caller, or takes it back.
   *
   * @param {string} messageId
   * @param {string} emoji
   * @param {{ add?: boolean }} [options]
   * @returns {Promise<Message>}
   */
  react(messageId, emoji, { add = true } = {}) {
    const path = `/messages/${messageId}/reactions/${encodeURIComponent(emoji)}`;
    return this.#body(add ? 'PUT' : 'DELETE', path, undefined, { idempotent: true });
  }

  /**
   * Marks messages as read, without ids all messages of the room.
   *
   * @param {number} room
   * @param {string[]} [messageIds]
   * @returns {Promise<ReadAnswer>}
   */
  markRead(room, messageIds) {
    return this.#body('POST', '/messages/read', { room_id: room, message_ids: messageIds }, { idempotent: true });
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   * @param {RequestOptions & { maxAttempts?: number }} [options]
   */
  async #body(method, path, body, options) {
    return (await this.#respond(method, path, { ...options, body })).body;
  }

  /**
   * The bytes of the file of a message from its `file_url`, or of its picture from `/messages/…/thumbnail`.
   *
   * @param {string} path
   * @param {{ query?: RequestOptions['query'], signal?: AbortSignal }} [options]
   * @returns {Promise<Blob>}
   */
  download(path, options) {
    return this.#session.authorized((token) => this.#transport.download(path, { ...options, token }));
  }

  // Streams

  /**
   * The events of a room, or of all rooms without an id, from now on or after an event, each once and in order.
   * Reconnects by itself after every interruption. Throws an `ApiError` if it cannot go on, a `PermissionDeniedError`
   * after the end of a membership for example.
   *
   * @param {number | null} [room]
   * @param {StreamOptions} [options]
   * @returns {AsyncGenerator<StreamEvent, void, undefined>}
   */
  stream(room = null, options = {}) {
    const path = room === null ? '/messages/stream' : `/messages/stream/${room}`;
    return resumingEvents(this.#session, this.#transport, path, options);
  }

  /**
   * The events of all rooms, over one connection for all tabs of the browser. Returns a function that ends it.
   *
   * @param {Listener} listener
   */
  sharedStream(listener) {
    return shareStream(this.userId, (options) => this.stream(null, options), listener);
  }
}
