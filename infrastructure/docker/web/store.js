// What the page knows: people, rooms, messages; how it is loaded, and how live events change it.

import { call, Refusal } from './client.js';
import { systemText, t, when } from './i18n.js';
import { settle } from './outbox.js';

const PAGE = 50;
/** Ids in one question for profiles (the API's limit). */
const BATCH = 100;
const TYPING_MS = 5_000;
const READ_AFTER_MS = 300;

export const state = {};

/** As nobody, on the way in. */
export function reset() {
  Object.assign(state, {
    me: null,
    live: null, // null until the stream was tried
    people: new Map(), // id → { id, username, display_name, is_online, last_seen_at }
    friends: [], // ids
    received: [],
    sent: [],
    rooms: new Map(), // id → room; `messages` is null until they are loaded
    typing: new Map(), // room → Map of user → { name, until }
    reading: null, // the room on the screen
  });
}
reset();

let changed = () => {};
let heard = () => {};

/** `onChange()` follows every change, `onMessage(message, room)` every live message of someone else. */
export function watchStore(onChange, onMessage) {
  changed = onChange;
  heard = onMessage;
}

// Loading

export async function loadMe() {
  state.me = await call('GET', '/profile/me');
  changed();
}

/** Everything that is listed: few requests, whatever the number of rooms and people. */
export async function loadLists() {
  await Promise.all([loadRooms(), loadPeople()]);
  await loadStrangers();
}

async function loadRooms() {
  const rooms = await call('GET', '/chat-rooms?limit=100');
  const listed = new Set(rooms.map((room) => room.id));
  for (const id of state.rooms.keys()) if (!listed.has(id) && id !== state.reading) state.rooms.delete(id);
  rooms.forEach(put);
  changed();
}

function put(room) {
  const known = state.rooms.get(room.id);
  if (!known) {
    state.rooms.set(room.id, { ...room, messages: null, more: false, early: null, newFrom: null });
    return;
  }
  // Said after the question was answered, heard before the answer came.
  const heardSince = known.last_message && newer(known.last_message, room.last_message);
  const { last_message, unread_count } = heardSince ? known : room;
  Object.assign(known, room, { last_message, unread_count });
}

export async function loadRoom(id) {
  try {
    put(await call('GET', `/chat-rooms/${id}`));
    await loadStrangers();
  } catch (refusal) {
    if (refusal.status !== 403 && refusal.status !== 404) throw refusal;
    state.rooms.delete(id);
  }
  changed();
}

export async function loadPeople() {
  const [friends, requests] = await Promise.all([call('GET', '/friends/list'), call('GET', '/friends/requests')]);
  for (const { user_id, username, display_name, is_online, last_seen_at } of friends) {
    state.people.set(user_id, { id: user_id, username, display_name, is_online, last_seen_at });
  }
  state.friends = friends.map((friend) => friend.user_id);
  state.received = requests.received_requests;
  state.sent = requests.sent_requests;
  changed();
}

/** Whoever one chats with but is no friend of. */
async function loadStrangers() {
  const others = [...state.rooms.values()].map(partner).filter((id) => id && !state.people.has(id));
  for (let from = 0; from < others.length; from += BATCH) {
    meet(await call('GET', `/users?user_ids=${others.slice(from, from + BATCH)}`));
  }
}

export function meet(people) {
  for (const person of people) state.people.set(person.id, person);
  changed();
}

/** The newest messages; events that come meanwhile are newer than the answer, so they wait for it. */
export async function loadMessages(id) {
  const room = state.rooms.get(id);
  if (!room || room.early) return;
  room.early = [];
  try {
    const { messages, has_more } = await call('GET', `/messages/${id}?limit=${PAGE}`);
    Object.assign(room, { messages, more: has_more });
    const others = messages.filter((message) => message.user_id !== state.me.id && !isSystem(message));
    room.newFrom = room.unread_count ? others.at(-room.unread_count)?.id ?? others[0]?.id : null;
  } finally {
    const early = room.early;
    room.early = null;
    for (const [name, data] of early) hear(name, data);
  }
  changed();
}

export async function loadOlder(id) {
  const room = state.rooms.get(id);
  const first = room.messages[0].id;
  const { messages, has_more } = await call('GET', `/messages/${id}?limit=${PAGE}&before=${first}`);
  if (room.messages[0]?.id === first) {
    room.messages.unshift(...messages);
    room.more = has_more;
  }
  changed();
}

/** After a gap that the stream cannot fill: what was loaded may be wrong. */
export async function loadAnew() {
  for (const room of state.rooms.values()) room.messages = null;
  await loadLists();
  if (state.reading) await loadMessages(state.reading);
}

// Live events

export function hear(name, data) {
  const room = state.rooms.get(data.room_id);
  if (room?.early && name in ofMessages) return void room.early.push([name, data]);
  (ofMessages[name] ?? ofLists[name])?.(data, room);
  changed();
}

const ofMessages = {
  new_message(message, room) {
    state.typing.get(message.room_id)?.delete(message.user_id);
    if (!room) return later(loadRoom(message.room_id));
    add(room, message);
  },
  message_edited(message, room) {
    change(room, message.id, message);
    if (room?.last_message?.id === message.id) room.last_message = message;
  },
  message_deleted({ message_id, room_id }, room) {
    if (!room) return;
    room.messages = room.messages?.filter((message) => message.id !== message_id) ?? null;
    if (room.last_message?.id === message_id) room.last_message = null;
    if (!room.last_message || room.unread_count) later(loadRoom(room_id));
  },
  reaction_changed({ message_id, reactions }, room) {
    change(room, message_id, { reactions });
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

const ofLists = {
  typing({ room_id, user_id, username }) {
    if (user_id === state.me.id) return;
    const people = state.typing.get(room_id) ?? new Map();
    state.typing.set(room_id, people.set(user_id, { username, until: Date.now() + TYPING_MS }));
    setTimeout(changed, TYPING_MS);
  },
  presence({ user_id, is_online, last_seen_at }) {
    const person = state.people.get(user_id);
    if (person) Object.assign(person, { is_online, last_seen_at });
  },
  friend_request: () => later(loadPeople()),
  chat_room_created: ({ room_id }) => later(Promise.all([loadRoom(room_id), loadPeople()])),
};

/** What cannot be asked for now is asked for when the stream is back. */
function later(loading) {
  loading.catch(() => {});
}

/** A message, wherever it comes from: it is in the list once, at the place of its position. */
export function add(room, message) {
  if (message.client_message_id) settle(message.client_message_id);
  if (!room || message.is_deleted) return;
  const others = message.user_id !== state.me.id && !isSystem(message);
  const isNewer = newer(message, room.last_message);
  if (isNewer) room.last_message = message;
  if (isSystem(message)) later(loadRoom(room.id));
  if (others && isNewer) {
    if (isRead(room.id)) readSoon(room.id);
    else room.unread_count++;
    heard(message, room);
  }
  const list = room.messages;
  if (list && !list.some((one) => one.id === message.id)) {
    const after = list.findLastIndex((one) => one.seq < message.seq);
    list.splice(after + 1, 0, { reactions: [], ...message });
  }
}

function newer(message, last) {
  if (!last) return true;
  const [at, than] = [Date.parse(message.created_at), Date.parse(last.created_at)];
  return at > than || (at === than && message.id !== last.id);
}

/** A message in its latest state, as the answer to a change or an event tells it. */
export function change(room, id, news) {
  const message = room?.messages?.find((one) => one.id === id);
  // Who has read it is told by other events; an answer to one person says it of that person only.
  if (message) Object.assign(message, news, { read_by: message.read_by });
}

// Reading

const isRead = (id) => state.reading === id && document.visibilityState === 'visible';
let readTimer = null;

/** Marks the room as read, once for many messages. */
export function readSoon(id) {
  clearTimeout(readTimer);
  readTimer = setTimeout(async () => {
    const room = state.rooms.get(id);
    if (!room || !isRead(id)) return;
    try {
      await call('POST', '/messages/read', { room_id: id });
      room.unread_count = 0;
      changed();
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
    }
  }, READ_AFTER_MS);
}

// What is shown of it

export const isSystem = (message) => message.message_type === 'system';
export const textOf = (message) => (isSystem(message) ? systemText(message.content) : message.content);
export const isGroup = (room) => room.room_type === 'group';

/** The other one in a direct room. */
export function partner(room) {
  return isGroup(room) ? null : room.participants.find(({ id }) => id !== state.me.id)?.id;
}

export function nameOf(id, fallback = '?') {
  const person = id === state.me?.id ? state.me : state.people.get(id);
  return person?.display_name || person?.username || fallback;
}

export function titleOf(room) {
  const others = room.participants.filter(({ id }) => id !== state.me.id);
  return room.name || others.map(({ id, username }) => nameOf(id, username)).join(', ');
}

export function presenceOf(id) {
  const person = state.people.get(id);
  if (!person) return '';
  if (person.is_online) return t('online');
  return person.last_seen_at ? t('last_seen', { when: when(person.last_seen_at) }) : t('offline');
}

export function roomsByActivity() {
  const at = (room) => Date.parse(room.last_message?.created_at ?? room.updated_at);
  return [...state.rooms.values()].sort((a, b) => at(b) - at(a));
}

export const unreadTotal = () => [...state.rooms.values()].reduce((sum, room) => sum + room.unread_count, 0);

export function typingIn(id) {
  const people = [...(state.typing.get(id)?.entries() ?? [])];
  return people.filter(([, { until }]) => until > Date.now()).map(([user, { username }]) => nameOf(user, username));
}
