// The view of a room: its messages, grouped by sender and time, and the composer.

import { client } from './client.js';
import { avatar, button, h, icon } from './dom.js';
import { clock, day, dayKey, t } from './i18n.js';
import { isGroup, isSystem, nameOf, partner, presenceOf, state, textOf, titleOf, typingIn } from './store.js';

const EMOJI = ['👍', '❤️', '😂', '😮', '😢', '🙏'];
/** The composer shows the number of remaining characters from here on. */
const SHOW_REMAINING_FROM = 60;
/** A longer pause between two messages of one sender starts a new group. */
const MAX_GROUP_GAP_MS = 5 * 60_000;

export function conversation(room, ui) {
  return h('div', { class: 'conversation' }, header(room), messages(room, ui), composer(room, ui));
}

function header(room) {
  const other = partner(room);
  const subtitle = isGroup(room) ? t('members_of', { n: room.participants.length }) : presenceOf(other);
  const membersLink = { class: 'round', href: `#room/${room.id}/members`, 'aria-label': t('members') };
  return h('header', { class: 'bar' },
    h('a', { class: 'round only-narrow', href: '#', 'aria-label': t('back') }, icon('back')),
    avatar(other ?? room.id, titleOf(room), state.users.get(other)?.is_online),
    h('div', { class: 'grow' },
      h('h1', { class: 'ellipsis' }, titleOf(room)), h('small', { class: 'muted ellipsis', id: 'about' }, subtitle)),
    // A chat-service of the original has no settings of rooms.
    room.pinned !== undefined && [
      setting(room, 'pin', room.pinned, t(room.pinned ? 'unpin' : 'pin')),
      setting(room, 'mute', room.muted, t(room.muted ? 'unmute' : 'mute')),
    ],
    isGroup(room) && h('a', membersLink, icon('group')));
}

const setting = (room, act, on, label) => button('round', act, room.id, icon(act), label, { 'data-on': on });

function messages(room, ui) {
  const list = room.messages ?? [];
  const pending = client.outbox.entries.filter((entry) => entry.room === room.id);
  const typing = typingIn(room.id);
  return h('div', { class: 'scroll messages', tabindex: 0, role: 'group', 'aria-label': t('messages') }, h('div', null,
    room.hasMore && button('link', 'older', null, t('older')),
    room.messages?.length === 0 && pending.length === 0 && h('p', { class: 'hint' }, t('say_hello')),
    h('ol', null,
      list.flatMap((message, at) => [...separators(room, message, list[at - 1]), item(room, list, at, ui)]),
      pending.map(pendingItem)),
    typing.length > 0 && h('p', { class: 'typing' },
      t(typing.length > 1 ? 'typing_many' : 'typing', { names: typing.join(', ') }))));
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

function item(room, list, at, ui) {
  const message = list[at];
  if (isSystem(message)) return h('li', { class: 'day system', 'data-key': message.id }, textOf(message));
  const mine = message.user_id === state.me.id;
  const first = !sameGroup(list[at - 1], message);
  const last = !sameGroup(message, list[at + 1]);
  const name = nameOf(message.user_id, message.username);
  const classes = ['message', mine && 'mine', first && 'first', last && 'last'].filter(Boolean).join(' ');
  const menuIsOpen = ui.menu === message.id;
  return h('li', { class: classes, 'data-key': message.id },
    !mine && (last ? avatar(message.user_id, name) : h('span', { class: 'avatar blank' })),
    h('div', { class: 'body' },
      first && h('span', { class: mine || !isGroup(room) ? 'visually-hidden' : 'name' }, mine ? t('you') : name),
      h('div', { class: 'line' },
        h('div', { class: 'bubble' }, quote(room, message), h('span', { class: 'text' }, message.content)),
        details(room, message, last, list),
        button('round small', 'menu', message.id, icon('more'), t('more'), { 'aria-expanded': String(menuIsOpen) })),
      menuIsOpen && menu(message, mine, ui),
      reactions(message)));
}

function quote(room, { reply_to }) {
  if (!reply_to) return null;
  const original = room.messages.find((candidate) => candidate.id === reply_to);
  return h('span', { class: 'quote' },
    original && h('strong', null, nameOf(original.user_id, original.username)),
    h('span', { class: 'ellipsis' }, original?.content ?? t('earlier_message')));
}

/** The details beside a bubble: read state, edits, and time. */
function details(room, message, last, list) {
  const isMyLast = list.findLast((other) => other.user_id === state.me.id && !isSystem(other)) === message;
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
  return h('div', { class: 'menu', 'data-key': 'menu' },
    EMOJI.map(react),
    button('round', 'reply', id, icon('reply'), t('reply')),
    mine && button('round', 'edit', id, icon('edit'), t('edit')),
    mine && (confirming === `delete-${id}` ? button('danger', 'delete', id, t('confirm_delete'))
      : button('round', 'delete', id, icon('trash'), t('delete'))));
}

function reactions({ id, reactions: list = [] }) {
  const reaction = ({ emoji, count, user_ids }) => button('quiet', 'react', id, [emoji, h('span', null, count)],
    `${t('react', { emoji })}: ${user_ids.map((userId) => nameOf(userId)).join(', ')}`,
    { 'data-key': emoji, 'data-emoji': emoji, 'aria-pressed': String(user_ids.includes(state.me.id)) });
  return list.length > 0 && h('div', { class: 'reactions', 'data-key': 'reactions' }, list.map(reaction));
}

function pendingItem({ id, content, error }) {
  return h('li', { class: 'message mine first last waiting', 'data-key': id },
    h('div', { class: 'body' },
      h('div', { class: 'line' },
        h('div', { class: 'bubble' }, h('span', { class: 'text' }, content)),
        h('small', { class: 'aside muted' }, t(error ? 'not_sent' : 'waiting'))),
      error && h('div', { class: 'menu' },
        button('quiet', 'tryAgain', id, t('try_again')), button('quiet', 'discard', id, t('discard')))));
}

function composer(room, { reply, edit, editText, drafts }) {
  const draft = edit ? editText : drafts.get(room.id) ?? '';
  const remaining = state.maxLength - [...draft].length;
  const field = { name: 'content', rows: 1, 'aria-label': t('message'), placeholder: t('message'), value: draft };
  return h('form', { class: 'composer', 'data-act': 'send' },
    (edit || reply) && target(edit ? t('editing') : t('replying_to', { name: nameOf(reply.user_id) }), edit ?? reply),
    h('div', { class: 'line', 'data-key': `write-${edit?.id}` },
      h('textarea', field),
      remaining <= SHOW_REMAINING_FROM && counter(remaining),
      h('button', { class: 'primary round', disabled: remaining < 0, 'aria-label': t(edit ? 'save' : 'send') },
        icon('send'))));
}

function counter(remaining) {
  if (remaining >= 0) return h('small', { class: 'counter' }, t('remaining', { n: remaining }));
  return h('small', { class: 'counter over' }, t(remaining === -1 ? 'too_long_by_one' : 'too_long', { n: -remaining }));
}

/** The message that the composer edits or replies to. */
function target(label, { content }) {
  return h('div', { class: 'target' },
    h('span', { class: 'ellipsis' }, h('strong', null, label), ` ${content}`),
    button('round small', 'cancel', null, icon('close'), t('cancel')));
}
