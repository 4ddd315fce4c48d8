// The views around a conversation: login, lists, members of a group. Views change no state: `data-act` names the action
// of a button or form, and app.js runs it.

import { conversation } from './conversation.js';
import { avatar, button, field, h, icon } from './dom.js';
import { day, errorText, t, when } from './i18n.js';
import { CODE, security } from './security.js';
import { isGroup, nameOf, partner, presenceOf, roomsInOrder, state, textOf, titleOf, typingIn, unreadTotal }
  from './store.js';

/** The whole page. `ui` is the state of the interaction, see app.js. */
export function page(ui) {
  const connecting = () => h('p', { class: 'placeholder' }, t('connecting'));
  return h('div', { id: 'app' },
    state.me ? shell(ui) : ui.starting ? connecting() : welcome(ui),
    h('div', { class: 'notice', role: 'alert' },
      ui.notice && (ui.notice.key ? t(ui.notice.key) : errorText(ui.notice))));
}

// Login and sign-up

function welcome({ signingUp, busy, needsCode }) {
  const act = signingUp ? 'signUp' : 'logIn';
  const email = { type: 'email', autocomplete: signingUp ? 'email' : 'username', required: true, 'data-focus': true };
  const username = { required: true, pattern: '[A-Za-z0-9][A-Za-z0-9_\\-]{2,49}', autocomplete: 'username' };
  const password = { type: 'password', required: true, maxlength: 128, autocomplete: 'current-password' };
  return h('main', { class: 'welcome' },
    h('form', { 'data-act': act, 'data-key': act, class: 'card' },
      h('img', { src: 'icon.svg', alt: '', class: 'logo' }),
      h('h1', null, 'BigTech Chat'),
      h('p', { class: 'muted' }, t('tagline')),
      field('email', email),
      signingUp && field('username', username, t('username_hint')),
      signingUp && field('display_name', { maxlength: 100, autocomplete: 'name' }),
      signingUp ? field('password', { ...password, minlength: 8, autocomplete: 'new-password' }, t('password_hint'))
        : field('password', password),
      needsCode && field('mfa_code', CODE, t('mfa_code_hint')),
      h('button', { class: 'primary', disabled: busy }, t(signingUp ? 'sign_up' : 'log_in')),
      button('link', 'otherForm', null, t(signingUp ? 'to_log_in' : 'to_sign_up'))),
    button('link', 'language', null, t('other_language')));
}

// After login

function shell(ui) {
  const room = state.rooms.get(state.openRoomId);
  const list = { chats, people, group: newGroup, security }[ui.tab];
  return h('div', { class: 'shell', 'data-pane': room ? 'room' : 'list' },
    state.live === false && h('p', { class: 'banner', role: 'status', 'data-key': 'banner' }, t('is_offline')),
    h('aside', { class: 'side', 'data-key': 'side' }, top(ui), tabs(ui),
      h('div', { class: 'scroll', 'data-key': ui.tab }, list(ui))),
    h('main', { class: 'pane', 'data-key': `pane-${room?.id}` },
      !room ? noRoom() : ui.members && isGroup(room) ? members(room, ui) : conversation(room, ui)));
}

function top({ tab }) {
  return h('header', { class: 'top' },
    avatar(state.me.id, nameOf(state.me.id), state.live),
    nameLines(nameOf(state.me.id), `@${state.me.username}`),
    button('link', 'language', null, t('other_language')),
    button('round', 'tab', 'security', icon('shield'), t('security'),
      { 'aria-current': tab === 'security' && 'page' }),
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

function chats() {
  const rooms = roomsInOrder();
  return [
    button('wide', 'tab', 'group', [icon('group'), t('new_group')]),
    rooms.length === 0 && h('p', { class: 'hint' }, t('no_chats')),
    h('ul', { class: 'rows', 'aria-label': t('chats') }, rooms.map(chat)),
  ];
}

function chat(room) {
  const title = titleOf(room);
  const other = state.users.get(partner(room));
  const last = room.last_message;
  const [typing] = typingIn(room.id);
  const time = { class: 'muted', datetime: last?.created_at, title: last && day(last.created_at) };
  return h('li', { 'data-key': room.id },
    h('a', { class: 'row', href: `#room/${room.id}`, 'aria-current': state.openRoomId === room.id && 'true' },
      avatar(other?.id ?? room.id, title, other?.is_online),
      h('span', { class: 'grow' },
        h('span', { class: 'line' },
          h('strong', { class: 'ellipsis' }, title),
          other?.is_online && h('span', { class: 'visually-hidden' }, t('online')),
          room.pinned && mark('pin', t('pinned')),
          room.muted && mark('mute', t('muted')),
          last && h('time', time, when(last.created_at))),
        h('span', { class: 'line' },
          typing ? h('span', { class: 'ellipsis typing' }, t('typing', { names: typing }))
            : h('span', { class: 'ellipsis muted' }, last && textOf(last)),
          badge(room.unread_count, room.muted)))));
}

const mark = (name, text) => [icon(name), h('span', { class: 'visually-hidden' }, text)];

function people({ searchResults }) {
  const query = { name: 'query', type: 'search', required: true, maxlength: 50 };
  return [
    h('form', { class: 'search', role: 'search', 'data-act': 'search' },
      h('input', { ...query, 'aria-label': t('find_people'), placeholder: t('find_people') }),
      h('button', { class: 'quiet' }, t('search'))),
    searchResults
      && section('search_results', searchResults.map(({ id }) => person(id, nextAction(id))), t('no_results')),
    section('received', state.received.map((received) => request(received, 'accept', 'reject'))),
    section('friends', state.friends.map((id) => person(id, actionButton('chat', id))), t('no_friends')),
    section('sent', state.sent.map((sent) => request(sent, 'withdraw'))),
  ];
}

function section(name, rows, empty) {
  if (rows.length === 0 && !empty) return null;
  return h('section', { 'data-key': name },
    h('h2', null, t(name)),
    rows.length ? h('ul', { class: 'rows' }, rows) : h('p', { class: 'hint' }, empty));
}

/** The button that fits the relationship with a user. */
function nextAction(id) {
  const isIn = (requests) => requests.some((request) => request.user_id === id);
  if (state.friends.includes(id)) return actionButton('chat', id);
  return actionButton(isIn(state.received) ? 'accept' : isIn(state.sent) ? 'withdraw' : 'add_friend', id);
}

const PRIMARY = ['accept', 'add_friend'];
const actionButton = (act, id) => button(PRIMARY.includes(act) ? 'primary' : 'quiet', act, id, t(act));

function person(id, action) {
  const { username, is_online } = state.users.get(id);
  return h('li', { class: 'row', 'data-key': id },
    avatar(id, nameOf(id), is_online), nameLines(nameOf(id), `@${username} · ${presenceOf(id)}`), action);
}

function request({ user_id, username, message }, ...acts) {
  return h('li', { class: 'row', 'data-key': user_id },
    avatar(user_id, username), nameLines(username, message), acts.map((act) => actionButton(act, user_id)));
}

// Groups

function newGroup({ busy }) {
  return h('form', { class: 'group', 'data-act': 'createGroup' },
    h('h2', null, t('new_group')),
    field('name', { maxlength: 100, 'data-focus': true }),
    choices(state.friends),
    h('div', { class: 'line' },
      button('quiet', 'tab', 'chats', t('cancel')),
      h('button', { class: 'primary', disabled: busy || state.friends.length < 2 }, t('create'))));
}

function choices(ids) {
  return h('fieldset', null,
    h('legend', { class: 'visually-hidden' }, t('members')),
    ids.length < 1 && h('p', { class: 'hint' }, t('no_friends')),
    ids.map((id) => h('label', { class: 'row', 'data-key': id },
      h('input', { type: 'checkbox', name: 'member', value: id }),
      avatar(id, nameOf(id)), nameLines(nameOf(id), `@${state.users.get(id).username}`))));
}

function members(room, { confirming, busy }) {
  const memberIds = new Set(room.participants.map(({ id }) => id));
  const candidates = state.friends.filter((id) => !memberIds.has(id));
  const isCreator = room.creator_id === state.me.id;
  const confirmed = (act, id) => (confirming === `${act}-${id}` ? button('danger', act, id, t(`confirm_${act}`))
    : actionButton(act, id));
  const member = ({ id, username }) => h('li', { class: 'row', 'data-key': id },
    avatar(id, nameOf(id, username), state.users.get(id)?.is_online),
    nameLines(nameOf(id, username), `@${username}${id === state.me.id ? ` · ${t('you')}` : ''}`),
    isCreator && id !== state.me.id && confirmed('remove', id));
  return h('div', { class: 'members' },
    h('header', { class: 'bar' },
      h('a', { class: 'round', href: `#room/${room.id}`, 'aria-label': t('back') }, icon('back')),
      h('h1', { class: 'ellipsis' }, titleOf(room))),
    h('div', { class: 'scroll' },
      h('h2', null, t('members_of', { n: room.participants.length })),
      h('ul', { class: 'rows' }, room.participants.map(member)),
      isCreator && candidates.length > 0 && h('form', { 'data-act': 'addMembers' },
        h('h2', null, t('add_members')), choices(candidates),
        h('button', { class: 'primary', disabled: busy }, t('add'))),
      confirmed('leave', room.id)));
}
