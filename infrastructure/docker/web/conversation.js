// The view of a room: its messages, grouped by sender and time, and the composer.

import { attachment, pickers, waitingFiles } from './attachments.js';
import { client } from './client.js';
import { avatar, button, h, icon, withLinks } from './dom.js';
import { clock, day, dayKey, t } from './i18n.js';
import * as place from './place.js';
import { state } from './store.js';
import { isGroup, isOnline, isSystem, nameOf, partner, presenceOf, textOf, titleOf, typingIn } from './values.js';

const EMOJI = ['👍', '❤️', '😂', '😮', '😢', '🙏'];
/** The composer shows the number of remaining characters from here on. */
const SHOW_REMAINING_FROM = 60;
/** A longer pause between two messages of one sender starts a new group. */
const MAX_GROUP_GAP_MS = 5 * 60_000;

export function conversation(room, ui) {
  return h('div', { class: 'conversation' }, header(room), messages(room, ui), composer(room, ui),
    ui.dropping && h('p', { class: 'drop-target', 'data-key': 'drop' }, t('drop_here')));
}

function header(room) {
  const other = partner(room);
  const subtitle = isGroup(room) ? t('members_of', { n: room.participants.length }) : presenceOf(other);
  const link = (view, name, label) =>
    h('a', { class: 'round', href: `#room/${room.id}/${view}`, 'aria-label': t(label), title: t(label) }, icon(name));
  return h('div', { class: 'bar' },
    h('a', { class: 'round only-narrow', href: '#', 'aria-label': t('back') }, icon('back')),
    avatar(other ?? room.id, titleOf(room), isOnline(other)),
    h('div', { class: 'grow' },
      h('h1', { class: 'ellipsis' }, titleOf(room)), h('small', { class: 'muted', id: 'about' }, subtitle)),
    settings(room, 'only-wide'),
    link('search', 'search', 'search_here'),
    link('members', isGroup(room) ? 'group' : 'info', isGroup(room) ? 'members' : 'about_user'));
}

/** The pin and the mute. A chat-service of the original has no settings of rooms. */
export function settings(room, kind) {
  const setting = (act, on, label) =>
    button(`round ${kind}`, act, room.id, icon(act), t(label), { 'data-on': on, 'aria-pressed': String(on) });
  return room.pinned !== undefined && [
    setting('pin', room.pinned, room.pinned ? 'unpin' : 'pin'),
    setting('mute', room.muted, room.muted ? 'unmute' : 'mute'),
  ];
}

function messages(room, ui) {
  const list = room.messages ?? [];
  const pending = client.outbox.entries.filter((entry) => entry.room === room.id);
  const typing = typingIn(room.id);
  const [from, to] = room.messages ? place.rowsOf(room) : [0, 0];
  const isEnd = to === list.length && !room.hasNewer;
  const context = { myLast: list.findLast((message) => message.user_id === state.me.id && !isSystem(message)),
    originals: originals(list, list.slice(from, to)) };
  const rows = list.slice(from, to).flatMap((message, at) =>
    [...separators(room, message, list[from + at - 1]), item(room, list, from + at, ui, context)]);
  return h('div', { class: 'messages-frame', 'data-key': 'messages' },
    unreadAbove(),
    h('div', { class: 'scroll messages', tabindex: 0, role: 'group', 'aria-label': t('messages') }, h('div', null,
      from === 0 && room.hasMore && button('link', 'older', null, t('older')),
      room.messages?.length === 0 && pending.length === 0 && h('p', { class: 'hint' }, t('say_hello')),
      h('ol', null, rows, isEnd && pending.map(pendingItem)),
      isEnd && typing.length > 0 && h('p', { class: 'typing' },
        t(typing.length > 1 ? 'typing_many' : 'typing', { names: typing.join(', ') })))),
    toEnd());
}

/** The way to unread messages above the view. */
function unreadAbove() {
  const { above } = place.around();
  return above > 0 && h('div', { class: 'floating above', 'data-key': 'above' },
    button('quiet', 'jumpToUnread', null, [icon('up'), t('unread_above', { n: above })]),
    button('quiet', 'markAllRead', null, t('mark_read')));
}

/** The way to the newest message, with the number of unread ones below the view. */
function toEnd() {
  const { away, below } = place.around();
  return away && h('div', { class: 'floating below', 'data-key': 'below' },
    button('primary', 'jumpToEnd', null, [icon('down'), t(below > 0 ? 'new_below' : 'to_end', { n: below })]));
}

/** The lines above a message: a new day, and the first unread message. */
function separators(room, message, previous) {
  const line = (kind, key, text) => h('li', { class: `day ${kind}`, 'data-key': key }, text);
  const date = dayKey(message.created_at);
  return [
    (!previous || dayKey(previous.created_at) !== date) && line('', date, day(message.created_at)),
    room.firstUnreadId === message.id && line('new', 'new', t('new_messages')),
  ];
}

function sameGroup(a, b) {
  return a && b && a.user_id === b.user_id && !isSystem(a) && !isSystem(b)
    && Date.parse(b.created_at) - Date.parse(a.created_at) < MAX_GROUP_GAP_MS
    && dayKey(a.created_at) === dayKey(b.created_at);
}

/** The loaded messages to which some of these reply, by id. */
function originals(list, replies) {
  const ids = new Set(replies.map((message) => message.reply_to));
  return new Map(list.filter(({ id }) => ids.has(id)).map((message) => [message.id, message]));
}

function item(room, list, at, ui, { myLast, originals }) {
  const message = list[at];
  const row = { 'data-key': message.id, 'data-seq': message.seq, tabindex: place.isHit(message) ? -1 : null };
  if (isSystem(message)) return h('li', { ...row, class: 'day system' }, textOf(message));
  const mine = message.user_id === state.me.id;
  const first = !sameGroup(list[at - 1], message);
  const last = !sameGroup(message, list[at + 1]);
  const name = nameOf(message.user_id, message.username);
  const kinds = { mine, first, last, hit: place.isHit(message) };
  const classes = ['message', ...Object.keys(kinds).filter((kind) => kinds[kind])].join(' ');
  const menuIsOpen = ui.menu === message.id;
  return h('li', { ...row, class: classes },
    !mine && (last ? avatar(message.user_id, name) : h('span', { class: 'avatar blank' })),
    h('div', { class: 'body' },
      first && h('span', { class: mine || !isGroup(room) ? 'visually-hidden' : 'name' }, mine ? t('you') : name),
      h('div', { class: 'line' },
        h('div', { class: 'bubble' }, quote(message, originals), attachment(message),
          message.content && h('span', { class: 'text' }, withLinks(message.content))),
        details(room, message, last, message === myLast),
        button('round small', 'menu', message.id, icon('more'), t('more'), { 'aria-expanded': String(menuIsOpen) })),
      menuIsOpen && menu(message, mine, ui),
      reactions(message)));
}

function quote({ reply_to }, originals) {
  if (!reply_to) return null;
  const original = originals.get(reply_to);
  return button('quote', 'jump', reply_to, [
    original && h('strong', null, nameOf(original.user_id, original.username)),
    h('span', { class: 'ellipsis' }, original ? textOf(original) : t('earlier_message')),
  ]);
}

/** The details beside a bubble: read state, edits, and time. */
function details(room, message, last, isMyLast) {
  // `read_by` names the first 20 readers. The streams add later ones.
  const named = (message.read_by ?? []).filter((id) => id !== state.me.id).length;
  const readers = isMyLast ? Math.max(named, message.read_by_count ?? 0) : 0;
  return h('small', { class: 'aside muted' },
    readers > 0 && h('span', { class: 'read' }, isGroup(room) ? t('read_by', { n: readers }) : t('read')),
    message.is_edited && h('span', null, t('edited')),
    last && h('time', { datetime: message.created_at }, clock(message.created_at)));
}

function menu({ id }, mine, { confirming }) {
  const react = (emoji) => button('round', 'react', id, emoji, t('react', { emoji }), { 'data-emoji': emoji });
  const isConfirming = confirming === `delete-${id}`;
  return h('div', { class: 'menu', 'data-key': 'menu' },
    h('div', { class: 'line' }, EMOJI.map(react)),
    h('div', { class: 'line' },
      button('round', 'reply', id, icon('reply'), t('reply')),
      mine && button('round', 'edit', id, icon('edit'), t('edit')),
      mine && (isConfirming ? button('danger', 'delete', id, t('confirm_delete'))
        : button('round', 'delete', id, icon('trash'), t('delete')))));
}

function reactions({ id, reactions: list = [] }) {
  const reaction = ({ emoji, count, user_ids }) => button('quiet', 'react', id, [`${emoji} `, h('span', null, count)],
    null, { title: user_ids.map((userId) => nameOf(userId)).join(', '), 'data-key': emoji, 'data-emoji': emoji,
      'aria-pressed': String(user_ids.includes(state.me.id)) });
  return list.length > 0 && h('div', { class: 'reactions', 'data-key': 'reactions' }, list.map(reaction));
}

function pendingItem({ id, content, error }) {
  return h('li', { class: 'message mine first last waiting', 'data-key': id },
    h('div', { class: 'body' },
      h('div', { class: 'line' },
        h('div', { class: 'bubble' }, h('span', { class: 'text' }, withLinks(content))),
        h('small', { class: 'aside muted' }, t(error ? 'not_sent' : 'waiting'))),
      error && h('div', { class: 'menu' },
        button('quiet', 'tryAgain', id, t('try_again')), button('quiet', 'discard', id, t('discard')))));
}

export function composer(room, { reply, edit, editText, drafts }) {
  const draft = edit ? editText : drafts.get(room.id) ?? '';
  const remaining = state.maxLength - [...draft].length;
  const field = { name: 'content', rows: 1, 'aria-label': t('message'), placeholder: t('message'), value: draft };
  return h('form', { class: 'composer', 'data-act': 'send', 'data-key': 'composer' },
    waitingFiles(room.id),
    (edit || reply) && target(edit ? t('editing') : t('replying_to', { name: nameOf(reply.user_id) }), edit ?? reply),
    h('div', { class: 'line', 'data-key': `write-${edit?.id}` },
      !edit && pickers(),
      h('textarea', field),
      remaining <= SHOW_REMAINING_FROM && counter(remaining),
      h('button', { class: 'primary round', disabled: remaining < 0, 'aria-label': t(edit ? 'save' : 'send') },
        icon('send'))));
}

function counter(remaining) {
  if (remaining >= 0) return h('small', { class: 'counter' }, t('remaining', { n: remaining }));
  const text = t(remaining === -1 ? 'too_long_by_one' : 'too_long', { n: -remaining });
  return h('small', { class: 'counter over', role: 'status' }, text);
}

/** The message that the composer edits or replies to. */
function target(label, message) {
  return h('div', { class: 'target', 'data-key': 'target' },
    h('span', { class: 'ellipsis' }, h('strong', null, label), ` ${textOf(message)}`),
    button('round small', 'cancel', null, icon('close'), t('cancel')));
}
