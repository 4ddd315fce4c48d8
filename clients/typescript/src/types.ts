// The types of the client: payloads of events, and the operations of the API by method and path.

import type { components as chat, paths as chatPaths } from './schema/chat.js';
import type { components as friend, paths as friendPaths } from './schema/friend.js';
import type { components as user, paths as userPaths } from './schema/user.js';

export type Message = chat['schemas']['MessageBody'];
export type MessagePage = chat['schemas']['MessagePage'];
export type Room = chat['schemas']['RoomBody'];
export type ReadAnswer = chat['schemas']['ReadAnswer'];
export type FieldError = chat['schemas']['FieldError'];
export type Friend = friend['schemas']['Friend'];
export type Friendship = friend['schemas']['Friendship'];
export type FriendRequests = friend['schemas']['FriendRequests'];
export type OwnProfile = user['schemas']['OwnProfile'];
export type TokenAnswer = user['schemas']['Tokens'];
export type UserProfile = user['schemas']['UserProfile'];
export type User = user['schemas']['UserResponse'];

/** The payloads of the events of a stream, by name. */
export interface EventPayloads {
  connected: chat['schemas']['Connected'];
  /** Events are missing: fetch the room, or all rooms, again. */
  resync: chat['schemas']['Resync'];
  /** A message that was sent. A replayed one that was deleted meanwhile has `is_deleted` and no content. */
  new_message: chat['schemas']['NewMessageEvent'];
  message_edited: Message;
  message_deleted: chat['schemas']['MessageDeletedEvent'];
  reaction_changed: chat['schemas']['ReactionChangedEvent'];
  messages_read: chat['schemas']['MessagesReadEvent'];
  typing: chat['schemas']['TypingEvent'];
  presence: chat['schemas']['PresenceEvent'];
  friend_request: chat['schemas']['FriendRequestEvent'];
  chat_room_created: chat['schemas']['ChatRoomCreatedEvent'];
  chat_room_left: chat['schemas']['ChatRoomLeftEvent'];
  chat_room_settings: chat['schemas']['RoomSettingsBody'];
  error: chat['schemas']['StreamError'];
}

/** An event. `id` is the place in the stream after it, with which a later stream resumes. */
export type StreamEvent = {
  [Name in keyof EventPayloads]: { name: Name; data: EventPayloads[Name]; id: string };
}[keyof EventPayloads];

/** An event before its payload is decoded. `retryMs` is the reconnection time that the server sets. */
export interface RawEvent {
  name: string;
  data: string;
  id: string;
  retryMs: number | null;
}

/** Texts by key. A program can bring its own storage; one that is asynchronous is loaded before. */
export interface Storage {
  /** The text of the key, null if there is none. */
  load(key: string): string | null;
  /** Replaces the text of the key; null deletes it. */
  save(key: string, text: string | null): void;
}

/** The tokens of a session, as they are stored. Times are milliseconds since 1970. */
export interface Tokens {
  accessToken: string;
  refreshToken: string;
  userId: number;
  expiresAt: number;
  renewAt: number;
}

/** A message of the outbox. `error` is the code with which the server has rejected it. */
export interface OutboxEntry {
  id: string;
  room: number;
  content: string;
  reply_to: string | null;
  at: string;
  error: string | null;
}

export interface RequestOptions {
  /** The values of `{name}` in the path. */
  path?: Record<string, string | number>;
  /** Values that are null or undefined are left out. */
  query?: Record<string, string | number | boolean | null | undefined>;
  body?: unknown;
  /** Whether a repeat does no harm. Reads are repeated without it. */
  idempotent?: boolean;
}

export interface StreamOptions {
  /** The stream begins after this event, or after a page's `last_event_id`. It begins now if there is none. */
  lastEventId?: string | number;
  /** Ends the stream. */
  signal?: AbortSignal;
  /** Receives each change of the connection. */
  onStatus?: (isLive: boolean) => void;
  /** A connection without a byte for this time is given up, milliseconds. Only `fetch` sees comments. */
  silenceTimeoutMs?: number;
  /** `fetch` sends the access token in a header; `eventsource` is the browser's own client, which needs tickets. */
  transport?: 'fetch' | 'eventsource';
}

export type Paths = userPaths & friendPaths & chatPaths;

type Operation<Path extends keyof Paths, Method extends string> =
  Lowercase<Method> extends keyof Paths[Path] ? Paths[Path][Lowercase<Method>] : never;

/** The methods of a path, in capitals. */
export type MethodOf<Path extends keyof Paths> = {
  [Method in keyof Paths[Path]]: Paths[Path][Method] extends { responses: unknown }
    ? Uppercase<Method & string>
    : never;
}[keyof Paths[Path]];

/** The path, query and body of an operation. */
export type OptionsOf<Path extends keyof Paths, Method extends string> = Omit<
  RequestOptions,
  'path' | 'query' | 'body'
> &
  (Operation<Path, Method> extends { parameters: { path: infer Values } } ? { path: Values } : { path?: never }) &
  (Operation<Path, Method> extends { parameters: { query?: infer Values } } ? { query?: Values } : { query?: never }) &
  (Operation<Path, Method> extends { requestBody: { content: { 'application/json': infer Body } } }
    ? { body: Body }
    : { body?: never });

type Success<Responses> = Responses[keyof Responses & (200 | 201 | 202)];

/** The decoded answer of an operation. */
export type AnswerOf<Path extends keyof Paths, Method extends string> =
  Operation<Path, Method> extends { responses: infer Responses }
    ? Success<Responses> extends { content: { 'application/json': infer Body } }
      ? Body
      : undefined
    : never;
