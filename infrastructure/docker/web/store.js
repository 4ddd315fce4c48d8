// The state of the page (users, rooms, messages), how it is loaded, and how live events change it.

import { client } from './client.js';
import { isGroup, isSystem } from './values.js';

const PAGE_SIZE = 50;
/** Ids in one request for profiles (the API's limit). */
const PROFILE_BATCH = 100;
const TYPING_MS = 5_000;
const MARK_READ_AFTER_MS = 300;
/** More messages than this are loaded at once only where the first unread one is among them. */
const FEW_UNREAD = 40;
/** Messages in one page (the API's limit). */
const MAX_PAGE_SIZE = 100;

export const state = {};

/** The ids of users whose profiles were requested. Some do not exist, or are hidden from the caller. */
const requested = new Set();

/** The state before login. */
export function reset() {
  requested.clear();
  Object.assign(state, {
    me: null,
    live: null, // null until the first connection attempt of the stream has ended
    users: new Map(), // id → { id, username, display_name, is_online, last_seen_at }
    friends: [], // ids
    received: [],
    sent: [],
    blocked: [],
    rooms: new Map(), // id → room; `messages` is null until loaded
    typing: new Map(), // room → Map of user → { username, until }
    openRoomId: null, // the room on the screen
    maxLength: 300, // the longest message in code points, until `loadLimits` has read it
    fileLimits: null, // { image_max_bytes, file_max_bytes, file_quota_bytes, file_types }, or null where no files can be sent
  });
}
reset();

let notifyChange = () => {};
let notifyMessage = () => {};
let notifyDeletion = () => {};

/**
 * Calls `onChange()` after every change, `onMessage(message, room)` for every live message of another user, and
 * `onDeletion(id)` for every deleted message.
 */
export function setStoreListeners(onChange, onMessage, onDeletion) {
  notifyChange = onChange;
  notifyMessage = onMessage;
  notifyDeletion = onDeletion;
}

// Loading

export async function loadMe() {
  state.me = await client.request('GET', '/profile/me');
  notifyChange();
}

/** Loads the limits of the deployment. */
async function loadLimits() {
  const limits = await unlessMissing(client.request('GET', '/chat-rooms/limits'));
  if (limits) Object.assign(state, { maxLength: limits.message_max_chars, fileLimits: limits.file_max_bytes ? limits : null });
  notifyChange();
}

/** The answer, or undefined from a service of the original, which lacks the operation. */
async function unlessMissing(request) {
  try {
    return await request;
  } catch (error) {
    if (![404, 405, 422].includes(error.status)) throw error;
  }
}

/** Loads the lists of rooms, friends and requests, and the profiles of users in them. */
export async function loadLists() {
  await Promise.all([loadRooms(), loadFriends(), loadLimits()]);
  await loadMissingProfiles();
}

/** Loads all rooms, page by page, and shows each page as it comes. */
async function loadRooms() {
  const unlisted = new Set(state.rooms.keys());
  let count = 0;
  for await (const room of client.rooms()) {
    upsertRoom(room);
    unlisted.delete(room.id);
    if (++count % MAX_PAGE_SIZE === 0) notifyChange();
  }
  notifyChange();
  // The caller has left these rooms, or they moved between two pages.
  await Promise.all([...unlisted].map(loadRoom));
}

function upsertRoom(room) {
  const existing = state.rooms.get(room.id);
  if (!existing) {
    const unloaded = { messages: null, hasMore: false, hasNewer: false, firstUnreadId: null,
      loading: null, bufferedEvents: null };
    state.rooms.set(room.id, { ...room, ...unloaded });
    return;
  }
  // A live event can arrive before an older response. Then the newer last message and its count stay.
  const isStale = existing.last_message && isNewer(existing.last_message, room.last_message);
  const { last_message, unread_count } = isStale ? existing : room;
  Object.assign(existing, room, { last_message, unread_count });
}

export async function loadRoom(id) {
  try {
    upsertRoom(await client.request('GET', `/chat-rooms/${id}`));
    await loadMissingProfiles();
  } catch (error) {
    if (error.status !== 403 && error.status !== 404) throw error;
    state.rooms.delete(id);
  }
  notifyChange();
}

export async function loadFriends() {
  const friends = [];
  const [requests, blocked] = await Promise.all([
    client.friendRequests(),
    unlessMissing(client.request('GET', '/friends/blocked')),
    (async () => { for await (const friend of client.friends()) friends.push(friend); })(),
  ]);
  for (const { user_id, username, display_name, is_online, last_seen_at } of friends) {
    state.users.set(user_id, { ...state.users.get(user_id), id: user_id, username, display_name, is_online, last_seen_at });
  }
  state.friends = friends.map((friend) => friend.user_id);
  state.received = requests.received_requests;
  state.sent = requests.sent_requests;
  state.blocked = blocked ?? [];
  notifyChange();
  await loadProfiles([...state.received, ...state.sent].map((request) => request.user_id));
}

/** Loads the profiles of users whom a list shows: partners in direct rooms, and members of groups without a name. */
async function loadMissingProfiles() {
  const shown = [...state.rooms.values()].filter((room) => !isGroup(room) || !room.name || room.id === state.openRoomId);
  await loadProfiles(shown.flatMap((room) => room.participants.map(({ id }) => id)));
}

/** Loads the profiles that were not requested before. */
async function loadProfiles(ids) {
  const missing = [...new Set(ids)].filter((id) => id !== state.me.id && !state.users.has(id) && !requested.has(id));
  for (const id of missing) requested.add(id);
  await reloadProfiles(missing);
}

async function reloadProfiles(ids) {
  for (let from = 0; from < ids.length; from += PROFILE_BATCH) {
    addUsers(await client.request('GET', `/users?user_ids=${ids.slice(from, from + PROFILE_BATCH)}`));
  }
}

/** Loads the presence of the members of a group, which the stream tells only of partners in direct rooms. */
export function loadMembers(room) {
  return reloadProfiles(room.participants.map(({ id }) => id));
}

export function addUsers(users) {
  for (const user of users) state.users.set(user.id, user);
  notifyChange();
}

// Messages

/** Loads the newest messages, as many as contain all unread ones if a page does. */
export function loadMessages(id) {
  return loading(id, async (room) => {
    const limit = room.unread_count > FEW_UNREAD ? MAX_PAGE_SIZE : PAGE_SIZE;
    const { messages, has_more } = await client.page(id, { limit });
    Object.assign(room, { messages, hasMore: has_more, hasNewer: false });
  });
}

/** Loads the page before the first loaded message. */
export function loadOlder(id) {
  return loading(id, async (room) => {
    if (!room.messages?.length) return;
    const { messages, has_more } = await client.page(id, { before: room.messages[0].id });
    room.messages?.unshift(...messages);
    room.hasMore = has_more;
  });
}

/** Loads the page after the last loaded message. */
export function loadNewer(id) {
  return loading(id, async (room) => {
    if (!room.messages?.length) return;
    const { messages, has_more } = await pageAfter(id, room.messages.at(-1).id);
    room.messages?.push(...messages);
    room.hasNewer = has_more;
  });
}

/** Loads a message and those around it, unless it is loaded. */
export async function loadAround(id, message) {
  if (state.rooms.get(id).messages?.some((one) => one.id === message)) return;
  const newer = await pageAfter(id, message);
  if (newer.messages.length === 0) return loadMessages(id);
  await loading(id, async (room) => {
    const older = await client.page(id, { before: newer.messages[0].id });
    const messages = [...older.messages, ...newer.messages];
    Object.assign(room, { messages, hasMore: older.has_more, hasNewer: newer.has_more });
  });
}

const pageAfter = (id, after) => client.request('GET', `/messages/${id}`, { query: { after, limit: MAX_PAGE_SIZE } });

/** Runs `load(room)` after other loads of the room. */
async function loading(id, load) {
  const room = state.rooms.get(id);
  if (!room) return;
  while (room.loading) await room.loading.catch(() => {});
  room.loading = buffering(room, load).finally(() => { room.loading = null; });
  await room.loading;
}

/** Events that arrive during a load are newer than its responses and are applied after it. */
async function buffering(room, load) {
  room.bufferedEvents = [];
  try {
    await load(room);
    inBackground(loadProfiles((room.messages ?? []).map((message) => message.user_id)));
  } finally {
    const events = room.bufferedEvents;
    room.bufferedEvents = null;
    for (const [name, data] of events) applyEvent(name, data);
  }
  notifyChange();
}

/** Forgets all messages, after a gap that the stream cannot fill. */
export function forgetMessages() {
  for (const room of state.rooms.values()) room.messages = null;
}

// Live events

export function applyEvent(name, data) {
  const room = state.rooms.get(data.room_id);
  if (room?.bufferedEvents && name in messageEvents) return void room.bufferedEvents.push([name, data]);
  (messageEvents[name] ?? listEvents[name])?.(data, room);
  notifyChange();
}

const messageEvents = {
  new_message(message, room) {
    state.typing.get(message.room_id)?.delete(message.user_id);
    if (!room) return inBackground(loadRoom(message.room_id));
    addMessage(room, message);
  },
  message_edited(message, room) {
    updateMessage(room, message.id, message);
    if (room?.last_message?.id === message.id) room.last_message = message;
  },
  message_deleted({ message_id, room_id }, room) {
    notifyDeletion(message_id);
    if (!room) return;
    room.messages = room.messages?.filter((message) => message.id !== message_id) ?? null;
    if (room.last_message?.id === message_id) room.last_message = null;
    if (!room.last_message || room.unread_count) inBackground(loadRoom(room_id));
  },
  reaction_changed({ message_id, reactions }, room) {
    updateMessage(room, message_id, { reactions });
  },
  messages_read({ user_id, message_ids, up_to = 0 }, room) {
    const ids = new Set(message_ids);
    if (user_id === state.me.id) {
      if (room) applyOwnRead(room, ids, up_to);
      return;
    }
    for (const message of room?.messages ?? []) {
      if (ids.has(message.id) || message.seq <= up_to) message.read_by = [...new Set(message.read_by).add(user_id)];
    }
  },
};

const listEvents = {
  typing({ room_id, user_id, username }) {
    if (user_id === state.me.id) return;
    const users = state.typing.get(room_id) ?? new Map();
    state.typing.set(room_id, users.set(user_id, { username, until: Date.now() + TYPING_MS }));
    setTimeout(notifyChange, TYPING_MS);
  },
  presence({ user_id, is_online, last_seen_at }) {
    const user = state.users.get(user_id);
    if (user) Object.assign(user, { is_online, last_seen_at });
  },
  chat_room_settings({ pinned, muted }, room) {
    if (room) Object.assign(room, { pinned, muted });
  },
  friend_request: () => inBackground(loadFriends()),
  chat_room_created: ({ room_id }) => inBackground(Promise.all([loadRoom(room_id), loadFriends()])),
  chat_room_left({ room_id }) {
    state.rooms.delete(room_id);
    state.typing.delete(room_id);
  },
};

/** Ignores a failure, because the lists are loaded again when the stream reconnects. */
function inBackground(loading) {
  loading.catch(() => {});
}

/** Adds a message from an event or a response once, in the order of positions. */
export function addMessage(room, message) {
  if (message.client_message_id) client.outbox.discard(message.client_message_id);
  if (!room || message.is_deleted) return;
  const fromOther = isFromOther(message);
  const isLast = isNewer(message, room.last_message);
  if (isLast) room.last_message = message;
  if (isSystem(message)) inBackground(loadRoom(room.id));
  inBackground(loadProfiles([message.user_id]));
  if (fromOther && isLast) {
    room.unread_count++;
    if (!room.muted || isOnScreen(room.id)) notifyMessage(message, room);
  }
  const list = room.messages;
  // What follows a gap is loaded when the user scrolls to it.
  if (list && !room.hasNewer && !list.some((one) => one.id === message.id)) {
    const after = list.findLastIndex((one) => one.seq < message.seq);
    list.splice(after + 1, 0, { reactions: [], ...message });
  }
}

function isNewer(message, last) {
  if (!last) return true;
  const [sentAt, lastSentAt] = [Date.parse(message.created_at), Date.parse(last.created_at)];
  return sentAt > lastSentAt || (sentAt === lastSentAt && message.id !== last.id);
}

/** Applies the new fields of a message from a response or an event. */
export function updateMessage(room, id, fields) {
  const message = room?.messages?.find((one) => one.id === id);
  // Only `messages_read` events change `read_by`; a response contains only the caller's own read state.
  if (message) Object.assign(message, fields, { read_by: message.read_by, is_read: message.is_read });
}

// Reading

const isOnScreen = (id) => state.openRoomId === id && document.visibilityState === 'visible';
const isFromOther = (message) => message.user_id !== state.me.id && !isSystem(message);
export const isUnread = (message) => isFromOther(message) && !message.is_read;

/** Messages that were seen and are not reported yet: room → ids. */
const seen = new Map();
let reportTimer = null;

/** Takes messages as read. They are reported after a delay, so that several need one request. */
export function markSeen(room, messages) {
  const unread = messages.filter(isUnread);
  if (unread.length === 0) return;
  for (const message of unread) message.is_read = true;
  room.unread_count = Math.max(0, room.unread_count - unread.length);
  seen.set(room.id, [...(seen.get(room.id) ?? []), ...unread.map((message) => message.id)]);
  reportTimer ??= setTimeout(() => inBackground(reportSeen()), MARK_READ_AFTER_MS);
  notifyChange();
}

async function reportSeen() {
  reportTimer = null;
  const reports = [...seen];
  seen.clear();
  await Promise.all(reports.map(([room, ids]) => client.markRead(room, ids)));
}

/** Marks all messages of a room as read. */
export async function markAllRead(room) {
  await client.markRead(room.id);
  applyOwnRead(room, new Set(), Infinity);
  notifyChange();
}

/** The caller has read messages, in this tab or in another one: those with these ids, or all up to a position. */
function applyOwnRead(room, ids, upTo) {
  const known = new Set();
  for (const message of room.messages ?? []) {
    if (!ids.has(message.id) && !(message.seq <= upTo)) continue;
    if (message.is_read) known.add(message.id);
    message.is_read ||= isFromOther(message);
  }
  room.unread_count = upTo ? 0 : Math.max(0, room.unread_count - [...ids].filter((id) => !known.has(id)).length);
}
