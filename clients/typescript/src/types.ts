// The types of the client: payloads of events, and the operations of the API by method and path.

import type { components, paths as Paths } from './schema.js';

export type { Paths };

type Schemas = components['schemas'];

export type Message = Schemas['MessageBody'];
export type MessagePage = Schemas['MessagePage'];
export type Room = Schemas['RoomBody'];
export type ReadAnswer = Schemas['ReadAnswer'];
export type FieldError = Schemas['FieldError'];
export type Friend = Schemas['Friend'];
export type Friendship = Schemas['Friendship'];
export type FriendRequests = Schemas['FriendRequests'];
export type OwnProfile = Schemas['OwnProfile'];
export type TokenAnswer = Schemas['Tokens'];
export type UserProfile = Schemas['UserProfile'];
export type User = Schemas['UserResponse'];

/** The payloads of the events of a stream, by name. */
export interface EventPayloads {
  connected: Schemas['Connected'];
  /** Events are missing: fetch the room, or all rooms, again. */
  resync: Schemas['Resync'];
  /** A message that was sent. A replayed one that was deleted meanwhile has `is_deleted` and no content. */
  new_message: Schemas['NewMessageEvent'];
  message_edited: Message;
  message_deleted: Schemas['MessageDeletedEvent'];
  reaction_changed: Schemas['ReactionChangedEvent'];
  messages_read: Schemas['MessagesReadEvent'];
  typing: Schemas['TypingEvent'];
  presence: Schemas['PresenceEvent'];
  friend_request: Schemas['FriendRequestEvent'];
  chat_room_created: Schemas['ChatRoomCreatedEvent'];
  chat_room_left: Schemas['ChatRoomLeftEvent'];
  chat_room_settings: Schemas['RoomSettingsBody'];
  error: Schemas['StreamError'];
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

/** Runs a request of one user with an access token. */
export type Authorized = <T>(request: (token: string) => Promise<T>) => Promise<T>;
