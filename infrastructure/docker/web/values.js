// What the views show of the state: names, presence, order and totals.

import { systemText, t, when } from './i18n.js';
import { state } from './store.js';

export const isSystem = (message) => message.message_type === 'system';
/** Whether the file of a message is shown as a picture. */
export const isPicture = (message) => message.file_state === 'ready' && Boolean(message.image);

/** The text of a message, or else the name of its file. The last message of a room tells no name. */
export function textOf(message) {
  if (isSystem(message)) return systemText(message.content);
  const { content, file_name, message_type } = message;
  return content || file_name || (message_type === 'text' ? '' : t(message_type === 'image' ? 'picture' : 'file'));
}
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

/** Without a stream, nothing is known about the others. */
export const isOnline = (id) => state.live !== false && Boolean(state.users.get(id)?.is_online);

export function presenceOf(id) {
  const user = state.users.get(id);
  if (!user || state.live === false) return '';
  if (user.is_online) return t('online');
  return user.last_seen_at ? t('last_seen', { when: when(user.last_seen_at) }) : t('offline');
}

/** Pinned rooms first, and the newest activity first among them and among the others. */
export function roomsInOrder() {
  const keys = [...state.rooms.values()].map((room) =>
    ({ room, pinned: Boolean(room.pinned), at: Date.parse(room.last_message?.created_at ?? room.updated_at) }));
  return keys.sort((a, b) => b.pinned - a.pinned || b.at - a.at).map(({ room }) => room);
}

/** The total of the rooms that are not muted. */
export const unreadTotal = () =>
  [...state.rooms.values()].reduce((sum, room) => sum + (room.muted ? 0 : room.unread_count), 0);

export function typingIn(id) {
  const users = [...(state.typing.get(id)?.entries() ?? [])];
  return users.filter(([, { until }]) => until > Date.now()).map(([userId, { username }]) => nameOf(userId, username));
}
