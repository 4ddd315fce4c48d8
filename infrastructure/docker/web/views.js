// The views around a conversation: login, and the frame with the list of rooms. Views change no state: `data-act` names
// the action of a button or form, and actions.js has it.

import { account } from './account.js';
import { conversation } from './conversation.js';
import { details } from './details.js';
import { avatar, button, field, h, icon } from './dom.js';
import { day, fieldError, noticeText, t, when } from './i18n.js';
import { messageResults, roomSearch } from './message-search.js';
import { newGroup, people } from './people.js';
import { ROOM_PX, roomRows } from './place.js';
import { CODE, security } from './security.js';
import { state } from './store.js';
import { isOnline, nameOf, partner, roomsInOrder, textOf, titleOf, typingIn, unreadTotal } from './values.js';

/** The whole page. `ui` is the state of the interaction, see ui.js. */
export function page(ui) {
  const connecting = () => h('p', { class: 'placeholder' }, t('connecting'));
  return h('div', { id: 'app' },
    state.me ? shell(ui) : ui.starting ? connecting() : welcome(ui),
    h('div', { class: 'notice', role: 'alert' },
      ui.notice && noticeText(ui.notice)));
}

// Login and sign-up

function welcome({ signingUp, busy, needsCode, fieldErrors }) {
  const act = signingUp ? 'signUp' : 'logIn';
  const input = (name, attributes, hint) => field(name, attributes, hint, fieldError(fieldErrors, act, name));
  const email = { type: 'email', autocomplete: signingUp ? 'email' : 'username', required: true, 'data-focus': true };
  const username = { required: true, minlength: 3, maxlength: 50, autocomplete: 'username', autocapitalize: 'none' };
  const password = { type: 'password', required: true, maxlength: 128, autocomplete: 'current-password' };
  return h('main', { class: 'welcome' },
    h('form', { 'data-act': act, 'data-key': act, class: 'card' },
      h('img', { src: 'icon.svg', alt: '', class: 'logo' }),
      h('h1', null, 'BigTech Chat'),
      h('p', { class: 'muted' }, t('tagline')),
      input('email', email),
      signingUp && input('username', username, t('username_hint')),
      signingUp && input('display_name', { maxlength: 100, autocomplete: 'name' }),
      signingUp ? input('password', { ...password, minlength: 8, autocomplete: 'new-password' }, t('password_hint'))
        : input('password', password),
      needsCode && field('mfa_code', CODE, t('mfa_code_hint')),
      h('button', { class: 'primary', disabled: busy }, t(signingUp ? 'sign_up' : 'log_in')),
      button('link', 'otherForm', null, t(signingUp ? 'to_log_in' : 'to_sign_up'))),
    button('link', 'language', null, t('other_language')));
}

// After login

/** The main landmark is the open room, or else the list: on a small screen, only one of them is shown. */
function shell(ui) {
  const room = state.rooms.get(state.openRoomId);
  const list = { chats, people, group: newGroup, security, account }[ui.tab];
  return h('div', { class: 'shell', 'data-pane': room ? 'room' : 'list' },
    state.live === false && h('p', { class: 'banner', role: 'status', 'data-key': 'banner' }, t('is_offline')),
    h('div', { class: 'side', role: room ? 'complementary' : 'main', 'data-key': 'side' }, top(ui), tabs(ui),
      !room && h('h1', { class: 'visually-hidden', 'data-key': 'title' }, 'BigTech Chat'),
      h('div', { class: 'scroll', 'data-key': ui.tab, 'data-list': ui.tab, tabindex: -1 }, list(ui))),
    h('div', { class: 'pane', role: room ? 'main' : 'complementary', 'data-key': `pane-${room?.id}-${ui.view}` },
      !room ? noRoom() : (PANES[ui.view] ?? conversation)(room, ui)));
}

const PANES = { members: details, search: roomSearch };

function top({ tab }) {
  const current = (name) => ({ 'aria-current': tab === name && 'page' });
  return h('div', { class: 'top' },
    button('own', 'tab', 'account',
      [avatar(state.me.id, nameOf(state.me.id), state.live), nameLines(nameOf(state.me.id), `@${state.me.username}`)],
      null, { ...current('account'), title: t('account') }),
    button('link', 'language', null, t('other_language')),
    button('round', 'tab', 'security', icon('shield'), t('security'), current('security')),
    button('round', 'logOut', null, icon('leave'), t('log_out')));
}

function tabs({ tab }) {
  const current = (name) => ({ 'aria-current': tab === name && 'page' });
  const item = (name, count) => button(null, 'tab', name, [t(name), badge(count)], null, current(name));
  return h('nav', { class: 'tabs' }, item('chats', unreadTotal()), item('people', state.received.length));
}

/** `silent` marks a number that is not part of the total. */
function badge(count, silent) {
  return count > 0 && h('span', { class: silent ? 'badge silent' : 'badge' },
    h('span', { 'aria-hidden': 'true' }, count > 99 ? '99+' : count),
    h('span', { class: 'visually-hidden' }, t('unread', { n: count })));
}

function noRoom() {
  return h('div', { class: 'placeholder' },
    h('img', { src: 'icon.svg', alt: '', class: 'logo' }), h('p', null, t('choose')));
}

const nameLines = (name, details) => h('span', { class: 'grow' },
  h('strong', { class: 'ellipsis' }, name), details && h('small', { class: 'muted ellipsis' }, details));

function chats({ filter, found }) {
  const matches = (room) => titleOf(room).toLowerCase().includes(filter.trim().toLowerCase());
  const rooms = filter ? roomsInOrder().filter(matches) : roomsInOrder();
  const search = { name: 'filter', type: 'search', maxlength: 100, 'aria-label': t('find_chats') };
  return [
    h('form', { class: 'search', role: 'search', 'data-act': 'findMessages', 'data-key': 'search' },
      h('input', { ...search, placeholder: t('find_chats') }),
      filter.trim() && h('button', { class: 'quiet', 'data-key': 'submit' }, t('in_messages'))),
    found && found.room === null && messageResults(found),
    button('wide', 'tab', 'group', [icon('group'), t('new_group')], null, { 'data-key': 'group' }),
    rooms.length === 0 && h('p', { class: 'hint' }, t(filter ? 'no_matching_chats' : 'no_chats')),
    roomList(rooms),
  ];
}

/** Renders only the rows around the view. The others are empty space. */
function roomList(rooms) {
  const [from, to] = roomRows(rooms.length);
  const space = `padding-block: ${from * ROOM_PX}px ${(rooms.length - to) * ROOM_PX}px`;
  return h('ul', { class: 'rows rooms', 'aria-label': t('chats'), 'data-key': 'rooms', style: space },
    rooms.slice(from, to).map((room, at) => chat(room, from + at, rooms.length)));
}

function chat(room, at, count) {
  const title = titleOf(room);
  const other = partner(room);
  const last = room.last_message;
  const [typing] = typingIn(room.id);
  const time = { class: 'muted', datetime: last?.created_at, title: last && day(last.created_at) };
  return h('li', { 'data-key': room.id, 'aria-posinset': at + 1, 'aria-setsize': count },
    h('a', { class: 'row', href: `#room/${room.id}`, 'aria-current': state.openRoomId === room.id && 'true' },
      avatar(other ?? room.id, title, isOnline(other)),
      h('span', { class: 'grow' },
        h('span', { class: 'line' },
          h('strong', { class: 'ellipsis' }, title),
          isOnline(other) && h('span', { class: 'visually-hidden' }, t('online')),
          room.pinned && mark('pin', t('pinned')),
          room.muted && mark('mute', t('muted')),
          last && h('time', time, when(last.created_at))),
        h('span', { class: 'line' },
          typing ? h('span', { class: 'ellipsis typing' }, t('typing', { names: typing }))
            : h('span', { class: 'ellipsis muted' }, last && textOf(last)),
          badge(room.unread_count, room.muted)))));
}

const mark = (name, text) => [icon(name), h('span', { class: 'visually-hidden' }, text)];
