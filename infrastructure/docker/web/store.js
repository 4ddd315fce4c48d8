// The state of the page (users, rooms, messages), how it is loaded, and how live events change it.

import { client } from './client.js';
import { systemText, t, when } from './i18n.js';
import { ChatError } from './sdk/index.js';

const PAGE_SIZE = 50;
/** Ids in one request for profiles (the API's limit). */
const PROFILE_BATCH = 100;
const TYPING_MS = 5_000;
const MARK_READ_AFTER_MS = 300;

export const state = {};

/** The state before login. */
export function reset() {
  Object.assign(state, {
    me: null,
    live: null, // null until the first connection attempt of the stream has ended
    users: new Map(), // id → { id, username, display_name, is_online, last_seen_at }
    friends: [], // ids
    received: [],
    sent: [],
    rooms: new Map(), // id → room; `messages` is null until loaded
    typing: new Map(), // room → Map of user → { username, until }
    openRoomId: null, // the room on the screen
    maxLength: 300, // the longest message in code points, until `loadLimits` has read it
  });
}
reset();

let notifyChange = () => {};
let notifyMessage = () => {};

/** Calls `onChange()` after every change and `onMessage(message, room)` for every live message of another user. */
export function setStoreListeners(onChange, onMessage) {
  notifyChange = onChange;
  notifyMessage = onMessage;
}

// Loading

export async function loadMe() {
  state.me = await client.request('GET', '/profile/me');
  notifyChange();
}

/** Loads the limits of the deployment. A chat-service of the original does not tell them. */
export async function loadLimits() {
  try {
    state.maxLength = (await client.request('GET', '/chat-rooms/limits')).message_max_chars;
  } catch (error) {
    if (error.status !== 404 && error.status !== 422) throw error;
  }
  notifyChange();
}

/** Loads the lists of rooms, friends and requests. The number of requests does not grow with the number of rooms. */
export async function loadLists() {
  await Promise.all([loadRooms(), loadFriends(), loadLimits()]);
  await loadMissingProfiles();
}

async function loadRooms() {
  const rooms = await client.request('GET', '/chat-rooms?limit=100');
  const listed = new Set(rooms.map((room) => room.id));
  for (const id of state.rooms.keys()) if (!listed.has(id) && id !== state.openRoomId) state.rooms.delete(id);
  rooms.forEach(upsertRoom);
  notifyChange();
}

function upsertRoom(room) {
  const existing = state.rooms.get(room.id);
  if (!existing) {
    state.rooms.set(room.id, { ...room, messages: null, hasMore: false, bufferedEvents: null, firstUnreadId: null });
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
  const [friends, requests] = await Promise.all([client.request('GET', '/friends/list'), client.request('GET', '/friends/requests')]);
  for (const { user_id, username, display_name, is_online, last_seen_at } of friends) {
    state.users.set(user_id, { id: user_id, username, display_name, is_online, last_seen_at });
  }
  state.friends = friends.map((friend) => friend.user_id);
  state.received = requests.received_requests;
  state.sent = requests.sent_requests;
  notifyChange();
}

/** Loads the profiles of partners in direct rooms who are not friends. */
async function loadMissingProfiles() {
  const missing = [...state.rooms.values()].map(partner).filter((id) => id && !state.users.has(id));
  for (let from = 0; from < missing.length; from += PROFILE_BATCH) {
    addUsers(await client.request('GET', `/users?user_ids=${missing.slice(from, from + PROFILE_BATCH)}`));
  }
}

export function addUsers(users) {
  for (const user of users) state.users.set(user.id, user);
  notifyChange();
}

/** Loads the newest messages. Events that arrive meanwhile are newer than the response and are applied after it. */
export async function loadMessages(id) {
  const room = state.rooms.get(id);
  if (!room || room.bufferedEvents) return;
  room.bufferedEvents = [];
  try {
    const { messages, has_more } = await client.request('GET', `/messages/${id}?limit=${PAGE_SIZE}`);
    Object.assign(room, { messages, hasMore: has_more });
    const others = messages.filter((message) => message.user_id !== state.me.id && !isSystem(message));
    room.firstUnreadId = room.unread_count ? others.at(-room.unread_count)?.id ?? others[0]?.id : null;
  } finally {
    const events = room.bufferedEvents;
    room.bufferedEvents = null;
    for (const [name, data] of events) applyEvent(name, data);
  }
  notifyChange();
}

export async function loadOlder(id) {
  const room = state.rooms.get(id);
  const first = room.messages[0].id;
  const { messages, has_more } = await client.request('GET', `/messages/${id}?limit=${PAGE_SIZE}&before=${first}`);
  if (room.messages[0]?.id === first) {
    room.messages.unshift(...messages);
    room.hasMore = has_more;
  }
  notifyChange();
}

/** Reloads everything after a gap that the stream cannot fill. */
export async function reloadAll() {
  for (const room of state.rooms.values()) room.messages = null;
  await loadLists();
  if (state.openRoomId) await loadMessages(state.openRoomId);
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
    if (!room) return;
    room.messages = room.messages?.filter((message) => message.id !== message_id) ?? null;
    if (room.last_message?.id === message_id) room.last_message = null;
    if (!room.last_message || room.unread_count) inBackground(loadRoom(room_id));
  },
  reaction_changed({ message_id, reactions }, room) {
    updateMessage(room, message_id, { reactions });
  },
  messages_read({ user_id, message_ids, up_to = 0 }, room) {
    if (user_id === state.me.id) {
      if (room) room.unread_count = up_to ? 0 : Math.max(0, room.unread_count - message_ids.length);
      return;
    }
    const ids = new Set(message_ids);
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
  const fromOther = message.user_id !== state.me.id && !isSystem(message);
  const isLast = isNewer(message, room.last_message);
  if (isLast) room.last_message = message;
  if (isSystem(message)) inBackground(loadRoom(room.id));
  if (fromOther && isLast) {
    if (isOnScreen(room.id)) scheduleMarkRead(room.id);
    else room.unread_count++;
    if (!room.muted || isOnScreen(room.id)) notifyMessage(message, room);
  }
  const list = room.messages;
  if (list && !list.some((one) => one.id === message.id)) {
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
  if (message) Object.assign(message, fields, { read_by: message.read_by });
}

// Reading

const isOnScreen = (id) => state.openRoomId === id && document.visibilityState === 'visible';
let markReadTimer = null;

/** Marks the room as read after a delay, so that several messages need one request. */
export function scheduleMarkRead(id) {
  clearTimeout(markReadTimer);
  markReadTimer = setTimeout(async () => {
    const room = state.rooms.get(id);
    if (!room || !isOnScreen(id)) return;
    try {
      await client.markRead(id);
      room.unread_count = 0;
      notifyChange();
    } catch (error) {
      if (!(error instanceof ChatError)) throw error;
    }
  }, MARK_READ_AFTER_MS);
}

// Derived values for the views

export const isSystem = (message) => message.message_type === 'system';
export const textOf = (message) => (isSystem(message) ? systemText(message.content) : message.content);
export const isGroup = (room) => room.room_type === 'group';

/** The id of the other user in a direct room. */
export function partner(room) {
  return isGroup(room) ? null : room.participants.find(({ id }) => id !== state.me.id)?.id;
}

export function nameOf(id, fallback = '?') {
  const user = id === state.me?.id ? state.me : state.users.get(id);
  return user?.display_name || user?.username || fallback;
}

export function titleOf(room) {
  const others = room.participants.filter(({ id }) => id !== state.me.id);
  return room.name || others.map(({ id, username }) => nameOf(id, username)).join(', ');
}

export function presenceOf(id) {
  const user = state.users.get(id);
  if (!user) return '';
  if (user.is_online) return t('online');
  return user.last_seen_at ? t('last_seen', { when: when(user.last_seen_at) }) : t('offline');
}

/** Pinned rooms first, and the newest activity first among them and among the others. */
export function roomsInOrder() {
  const at = (room) => Date.parse(room.last_message?.created_at ?? room.updated_at);
  return [...state.rooms.values()].sort((a, b) => Boolean(b.pinned) - Boolean(a.pinned) || at(b) - at(a));
}

/** The total of the rooms that are not muted. */
export const unreadTotal = () =>
  [...state.rooms.values()].reduce((sum, room) => sum + (room.muted ? 0 : room.unread_count), 0);

export function typingIn(id) {
  const users = [...(state.typing.get(id)?.entries() ?? [])];
  return users.filter(([, { until }]) => until > Date.now()).map(([userId, { username }]) => nameOf(userId, username));
}
