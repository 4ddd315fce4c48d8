// The place of the user in the list of messages: which rows are rendered, which messages are seen, and jumps.
//
// The list renders a range of rows around the view, however many messages are loaded. When the view comes near an end of
// the range, the range moves; near an end of the loaded messages, the next page is loaded. Rows that stay keep their
// position on the screen.

import * as store from './store.js';
import { draw, run, ui } from './ui.js';

/** Rows of the range beyond each edge of the view. */
const MARGIN_ROWS = 30;
/** The range moves when fewer rows than this are left beyond an edge. */
const NEAR_ROWS = 12;
/** Rows at the end of the messages, where the list follows new ones. */
const FOLLOWED_ROWS = 40;
/** Rows that pass by during this time are not seen. */
const SEEN_AFTER_MS = 200;
/** Space above the row of a jump, in which the row before it shows that there is more. */
const ABOVE_JUMP_PX = 64;
/** Pages that contain all unread messages, of which the API counts 1,000. */
const MAX_UNREAD_PAGES = 10;
/** The target of a jump to the newest message. */
const END = 'end';

const { state } = store;

/** `range` has the positions of the first and the last row; null at the end of the messages. */
const place = { room: null, range: null, follows: true, target: null, hit: null, above: 0, below: 0, away: false };

const openRoom = () => state.rooms.get(state.openRoomId);
const listElement = () => document.querySelector('.messages');

/** The indices of the rows to render: from the first one to before the second one. */
export function rowsOf({ messages }) {
  if (!place.range) return [Math.max(0, messages.length - FOLLOWED_ROWS), messages.length];
  const { first, last } = place.range;
  return [indexOf(messages, first), indexOf(messages, last + 1)];
}

/** The index of the first message at or after a position. The messages are in the order of their positions. */
function indexOf(messages, position) {
  let [low, high] = [0, messages.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (messages[middle].seq < position) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The numbers of unread messages above and below the view, and whether the view is away from the newest one. */
export const around = () => place;

/** Whether a jump has led to this message. */
export const isHit = ({ id }) => place.hit === id;

/** Shows a room from its first unread message, or else from its end. */
export async function enter(room) {
  if (place.room === room.id) return;
  leave();
  if (room.hasNewer) await store.loadMessages(room.id);
  place.room = room.id;
  const first = room.unread_count > 0 ? room.messages.find(store.isUnread) : null;
  room.firstUnreadId = first?.id ?? null;
  if (first) show(room, first);
}

export function leave() {
  Object.assign(place, { room: null, range: null, follows: true, target: null, hit: null, above: 0, below: 0, away: false });
}

function show(room, message) {
  const at = room.messages.indexOf(message);
  Object.assign(place, { range: rangeAround(room, at, at), follows: false, target: message.id });
  draw();
}

function rangeAround({ messages }, first, last) {
  return {
    first: messages[Math.max(0, first - MARGIN_ROWS)].seq,
    last: messages[Math.min(messages.length - 1, last + MARGIN_ROWS)].seq,
  };
}

/** Shows a message and marks it. Loads it if necessary. */
export async function jumpTo(room, id) {
  await store.loadAround(room.id, id);
  const message = room.messages.find((one) => one.id === id);
  if (!message) return;
  place.room = room.id;
  place.hit = id;
  show(room, message);
}

/** Shows the first unread message. */
export async function jumpToUnread(room) {
  for (let pages = 0; pages < MAX_UNREAD_PAGES; pages++) {
    if (!room.hasMore || unreadAmong(room.messages) >= room.unread_count) break;
    await store.loadOlder(room.id);
  }
  const first = room.messages.find(store.isUnread);
  room.firstUnreadId = first?.id ?? null;
  if (first) show(room, first);
}

/** Shows the newest message. */
export async function jumpToEnd(room) {
  if (room.hasNewer) await store.loadMessages(room.id);
  Object.assign(place, { range: null, follows: true, target: END });
  draw();
}

const unreadAmong = (messages) => messages.filter(store.isUnread).length;

// Around a draw

/** Remembers where the visible rows are. Returns a function that brings them back there after the draw. */
export function hold() {
  const list = listElement();
  if (!list || place.follows) return () => {};
  const tops = visibleRows(list).map((row) => [row, row.getBoundingClientRect().top]);
  return () => {
    const [row, top] = tops.find(([one]) => one.isConnected) ?? [];
    if (row && list.isConnected) list.scrollTop += row.getBoundingClientRect().top - top;
  };
}

/** Completes a draw: scrolls to the target of a jump, and looks where the view is. */
export function settle() {
  const [list, room] = [listElement(), openRoom()];
  if (!list || !room?.messages || place.room !== room.id) return;
  if (place.target) scrollToTarget(list);
  look(list, room);
  if (!scrolling) see();
}

function scrollToTarget(list) {
  const { target, hit } = place;
  place.target = null;
  if (target === END) return void (list.scrollTop = 0);
  // Nothing is there if the message was deleted in the meantime.
  const row = list.querySelector(`[data-key="${target}"]`);
  if (!row) return;
  list.scrollTop += row.getBoundingClientRect().top - list.getBoundingClientRect().top - ABOVE_JUMP_PX;
  if (hit === target) row.focus({ preventScroll: true });
}

let scrolling = null;

/** Follows the scrolling of the list. */
export function onScroll(list) {
  const room = openRoom();
  if (!room?.messages || place.room !== room.id) return;
  const [first, last] = look(list, room);
  if (first < NEAR_ROWS && room.hasMore) load(room, store.loadOlder);
  else if (room.messages.length - last < NEAR_ROWS && room.hasNewer) load(room, store.loadNewer);
  clearTimeout(scrolling);
  scrolling = setTimeout(() => {
    scrolling = null;
    see();
  }, SEEN_AFTER_MS);
}

/** Takes the newest message as read before it is drawn, because a list that follows new messages shows it. */
export function seeNewest() {
  const room = openRoom();
  const newest = room?.messages?.at(-1);
  const isShown = place.room === room?.id && place.follows && !place.target && document.visibilityState !== 'hidden';
  if (newest && isShown && listElement()) store.markSeen(room, [newest]);
}

/** Takes the visible messages as read, if the user can see them. */
export function see() {
  const [list, room] = [listElement(), openRoom()];
  if (!list || !room?.messages || place.target || document.visibilityState === 'hidden') return;
  const [first, last] = visibleIndices(list, room);
  store.markSeen(room, room.messages.slice(first, last + 1));
}

/** Moves the range with the view and counts what is unread out of sight. Returns the indices of the visible rows. */
function look(list, room) {
  const { messages } = room;
  const [first, last] = visibleIndices(list, room);
  if (last < first) return [];
  const [from, to] = rowsOf(room);
  const isAtEnd = list.scrollTop > -2 && to === messages.length && !room.hasNewer;
  if (isAtEnd) Object.assign(place, { follows: true, range: null });
  else {
    place.follows = false;
    const isNear = (first - from < NEAR_ROWS && from > 0) || (to - 1 - last < NEAR_ROWS && to < messages.length);
    if (isNear || !place.range) {
      place.range = rangeAround(room, first, last);
      draw();
    }
  }
  count(room, first, last);
  return [first, last];
}

function load(room, page) {
  if (!room.loading) run(() => page(room.id));
}

function count(room, first, last) {
  const { unread_count } = room;
  const messages = unread_count > 0 ? room.messages : [];
  const loaded = unreadAmong(messages);
  const unloaded = Math.max(0, unread_count - loaded);
  const counts = {
    above: unreadAmong(messages.slice(0, first)) + (room.hasNewer ? 0 : unloaded),
    below: unreadAmong(messages.slice(last + 1)) + (room.hasNewer ? unloaded : 0),
    away: !place.follows,
  };
  if (Object.entries(counts).some(([name, value]) => place[name] !== value)) draw();
  Object.assign(place, counts);
}

/** The indices of the first and the last visible message. */
function visibleIndices(list, { messages }) {
  const rows = visibleRows(list);
  if (rows.length === 0) return [0, -1];
  return [rows[0], rows.at(-1)].map((row) => indexOf(messages, Number(row.dataset.seq)));
}

function visibleRows(list) {
  const { top, bottom } = list.getBoundingClientRect();
  return [...list.querySelectorAll('[data-seq]')].filter((row) => {
    const rect = row.getBoundingClientRect();
    return rect.bottom > top && rect.top < bottom;
  });
}

// The list of rooms

/** The height of a row, which style.css sets. */
export const ROOM_PX = 68;
const ROOM_MARGIN = 6;

/** The indices of the rows to render in a list of rooms with `count` rows. */
export function roomRows(count) {
  const first = Math.floor(ui.listTop / ROOM_PX);
  const visible = Math.ceil(innerHeight / ROOM_PX);
  const from = Math.max(0, Math.min(first, count - visible) - ROOM_MARGIN);
  return [from, Math.min(count, from + visible + 2 * ROOM_MARGIN)];
}
