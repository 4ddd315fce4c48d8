// A room: its messages, grouped by who speaks and when, and where one writes.

import { avatar, button, h, icon } from './dom.js';
import { clock, day, dayKey, t } from './i18n.js';
import { unsent } from './outbox.js';
import { isGroup, isSystem, nameOf, partner, presenceOf, state, textOf, titleOf, typingIn } from './store.js';

const EMOJI = ['👍', '❤️', '😂', '😮', '😢', '🙏'];
/** Code points, as the API counts. */
export const LONGEST = 300;
const TELL_WHEN_LEFT = 60;
/** Who pauses for longer begins anew. */
const TOGETHER_MS = 5 * 60_000;

export function conversation(room, ui) {
  return h('div', { class: 'conversation' }, bar(room), messages(room, ui), composer(room, ui));
}

function bar(room) {
  const other = partner(room);
  const about = isGroup(room) ? t('members_of', { n: room.participants.length }) : presenceOf(other);
  const toMembers = { class: 'round', href: `#room/${room.id}/members`, 'aria-label': t('members') };
  return h('header', { class: 'bar' },
    h('a', { class: 'round only-narrow', href: '#', 'aria-label': t('back') }, icon('back')),
    avatar(other ?? room.id, titleOf(room), state.people.get(other)?.is_online),
    h('div', { class: 'grow' },
      h('h1', { class: 'cut' }, titleOf(room)), h('small', { class: 'muted cut', id: 'about' }, about)),
    isGroup(room) && h('a', toMembers, icon('group')));
}

function messages(room, ui) {
  const list = room.messages ?? [];
  const waiting = unsent.filter((one) => one.room === room.id);
  const typing = typingIn(room.id);
  return h('div', { class: 'scroll talk', tabindex: 0, role: 'group', 'aria-label': t('messages') }, h('div', null,
    room.more && button('link', 'older', null, t('older')),
    room.messages?.length === 0 && waiting.length === 0 && h('p', { class: 'hint' }, t('say_hello')),
    h('ol', null,
      list.flatMap((message, at) => [...before(room, message, list[at - 1]), item(room, list, at, ui)]),
      waiting.map(pending)),
    typing.length > 0 && h('p', { class: 'typing' },
      t(typing.length > 1 ? 'typing_many' : 'typing', { names: typing.join(', ') }))));
}

function before(room, message, previous) {
  const line = (kind, key, text) => h('li', { class: `day ${kind}`, 'data-key': key }, text);
  const date = dayKey(message.created_at);
  return [
    (!previous || dayKey(previous.created_at) !== date) && line('', date, day(message.created_at)),
    room.newFrom === message.id && line('new', 'new', t('new_messages')),
  ];
}

function together(a, b) {
  return a && b && a.user_id === b.user_id && !isSystem(a) && !isSystem(b)
    && Date.parse(b.created_at) - Date.parse(a.created_at) < TOGETHER_MS
    && dayKey(a.created_at) === dayKey(b.created_at);
}

function item(room, list, at, ui) {
  const message = list[at];
  if (isSystem(message)) return h('li', { class: 'day system', 'data-key': message.id }, textOf(message));
  const mine = message.user_id === state.me.id;
  const first = !together(list[at - 1], message);
  const last = !together(message, list[at + 1]);
  const name = nameOf(message.user_id, message.username);
  const classes = ['message', mine && 'mine', first && 'first', last && 'last'].filter(Boolean).join(' ');
  const menuIsOpen = ui.menu === message.id;
  return h('li', { class: classes, 'data-key': message.id },
    !mine && (last ? avatar(message.user_id, name) : h('span', { class: 'avatar none' })),
    h('div', { class: 'body' },
      first && h('span', { class: mine || !isGroup(room) ? 'unseen' : 'name' }, mine ? t('you') : name),
      h('div', { class: 'line' },
        h('div', { class: 'bubble' }, quote(room, message), h('span', { class: 'text' }, message.content)),
        aside(room, message, last, list),
        button('round small', 'menu', message.id, icon('more'), t('more'), { 'aria-expanded': String(menuIsOpen) })),
      menuIsOpen && menu(message, mine, ui),
      reactions(message)));
}

function quote(room, { reply_to }) {
  if (!reply_to) return null;
  const original = room.messages.find((one) => one.id === reply_to);
  return h('span', { class: 'quote' },
    original && h('strong', null, nameOf(original.user_id, original.username)),
    h('span', { class: 'cut' }, original?.content ?? t('reply_gone')));
}

/** What stands beside a bubble: the time, and how far it got. */
function aside(room, message, last, list) {
  const newestOfMine = list.findLast((one) => one.user_id === state.me.id && !isSystem(one)) === message;
  const readers = newestOfMine ? (message.read_by ?? []).filter((id) => id !== state.me.id).length : 0;
  return h('small', { class: 'aside muted' },
    readers > 0 && h('span', { class: 'read' }, isGroup(room) ? t('read_by', { n: readers }) : t('read')),
    message.is_edited && h('span', null, t('edited')),
    last && h('time', { datetime: message.created_at }, clock(message.created_at)));
}

function menu({ id }, mine, { sure }) {
  const react = (emoji) => button('round', 'react', id, emoji, t('react', { emoji }), { 'data-emoji': emoji });
  return h('div', { class: 'menu', 'data-key': 'menu' },
    EMOJI.map(react),
    button('round', 'reply', id, icon('reply'), t('reply')),
    mine && button('round', 'edit', id, icon('edit'), t('edit')),
    mine && (sure === `delete-${id}` ? button('danger', 'delete', id, t('sure'))
      : button('round', 'delete', id, icon('trash'), t('delete'))));
}

function reactions({ id, reactions: given = [] }) {
  const one = ({ emoji, count, user_ids }) => button('quiet', 'react', id, [emoji, h('span', null, count)],
    `${t('react', { emoji })}: ${user_ids.map((user) => nameOf(user)).join(', ')}`,
    { 'data-key': emoji, 'data-emoji': emoji, 'aria-pressed': String(user_ids.includes(state.me.id)) });
  return given.length > 0 && h('div', { class: 'reactions', 'data-key': 'reactions' }, given.map(one));
}

function pending({ id, content, refused }) {
  return h('li', { class: 'message mine first last waiting', 'data-key': id },
    h('div', { class: 'body' },
      h('div', { class: 'line' },
        h('div', { class: 'bubble' }, h('span', { class: 'text' }, content)),
        h('small', { class: 'aside muted' }, t(refused ? 'not_sent' : 'waiting'))),
      refused && h('div', { class: 'menu' },
        button('quiet', 'tryAgain', id, t('try_again')), button('quiet', 'discard', id, t('discard')))));
}

function composer(room, { reply, edit, editText, drafts }) {
  const draft = edit ? editText : drafts.get(room.id) ?? '';
  const left = LONGEST - [...draft].length;
  const field = { name: 'content', rows: 1, 'aria-label': t('message'), placeholder: t('message'), value: draft };
  return h('form', { class: 'composer', 'data-act': 'send' },
    (edit || reply) && subject(edit ? t('editing') : t('replying_to', { name: nameOf(reply.user_id) }), edit ?? reply),
    h('div', { class: 'line', 'data-key': `write-${edit?.id}` },
      h('textarea', field),
      left <= TELL_WHEN_LEFT && h('small', { class: left < 0 ? 'left over' : 'left' }, t('left', { n: left })),
      h('button', { class: 'primary round', disabled: left < 0, 'aria-label': t(edit ? 'save' : 'send') },
        icon('send'))));
}

function subject(what, { content }) {
  return h('div', { class: 'subject' },
    h('span', { class: 'cut' }, h('strong', null, what), ` ${content}`),
    button('round small', 'cancel', null, icon('close'), t('cancel')));
}
