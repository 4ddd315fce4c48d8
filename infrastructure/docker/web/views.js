// What the page shows around a conversation: the way in, the lists, the members of a group. No view changes anything:
// what is pressed is named by `data-act`, and app.js acts.

import { conversation } from './conversation.js';
import { avatar, button, h, icon } from './dom.js';
import { day, refusalText, t, when } from './i18n.js';
import { isGroup, nameOf, partner, presenceOf, roomsByActivity, state, textOf, titleOf, typingIn, unreadTotal }
  from './store.js';

/** The whole page; `ui` is what the user is doing on it. */
export function page(ui) {
  const starting = () => h('p', { class: 'nothing' }, t('connecting'));
  return h('div', { id: 'app' },
    state.me ? inside(ui) : ui.starting ? starting() : welcome(ui),
    h('div', { class: 'notice', role: 'alert' },
      ui.notice && (ui.notice.key ? t(ui.notice.key) : refusalText(ui.notice))));
}

// The way in

function welcome({ signingUp, busy }) {
  const act = signingUp ? 'signUp' : 'logIn';
  const username = { required: true, pattern: '[A-Za-z0-9][A-Za-z0-9_\\-]{2,49}', autocomplete: 'username' };
  const old = { type: 'password', required: true, maxlength: 128, autocomplete: 'current-password' };
  return h('main', { class: 'welcome' },
    h('form', { 'data-act': act, 'data-key': act, class: 'card' },
      h('img', { src: 'icon.svg', alt: '', class: 'mark' }),
      h('h1', null, 'BigTech Chat'),
      h('p', { class: 'muted' }, t('tagline')),
      field('email', { type: 'email', autocomplete: signingUp ? 'email' : 'username', required: true, 'data-focus': true }),
      signingUp && field('username', username, t('username_hint')),
      signingUp && field('display_name', { maxlength: 100, autocomplete: 'name' }),
      signingUp ? field('password', { ...old, minlength: 8, autocomplete: 'new-password' }, t('password_hint'))
        : field('password', old),
      h('button', { class: 'primary', disabled: busy }, t(signingUp ? 'sign_up' : 'log_in')),
      button('link', 'otherForm', null, t(signingUp ? 'to_log_in' : 'to_sign_up'))),
    button('link', 'language', null, t('other_language')));
}

function field(name, attributes, hint) {
  return h('label', { class: 'field', 'data-key': name },
    h('span', null, t(name)),
    h('input', { name, ...attributes, 'aria-describedby': hint && `${name}-hint` }),
    hint && h('small', { id: `${name}-hint`, class: 'muted' }, hint));
}

// Inside

function inside(ui) {
  const room = state.rooms.get(state.reading);
  const list = { chats, people, group: newGroup }[ui.tab];
  return h('div', { class: 'shell', 'data-pane': room ? 'room' : 'list' },
    state.live === false && h('p', { class: 'banner', role: 'status', 'data-key': 'banner' }, t('is_offline')),
    h('aside', { class: 'side', 'data-key': 'side' }, top(), tabs(ui),
      h('div', { class: 'scroll', 'data-key': ui.tab }, list(ui))),
    h('main', { class: 'pane', 'data-key': `pane-${room?.id}` },
      !room ? nothing() : ui.members && isGroup(room) ? members(room, ui) : conversation(room, ui)));
}

function top() {
  return h('header', { class: 'top' },
    avatar(state.me.id, nameOf(state.me.id), state.live),
    who(nameOf(state.me.id), `@${state.me.username}`),
    button('link', 'language', null, t('other_language')),
    button('round', 'logOut', null, icon('leave'), t('log_out')));
}

function tabs({ tab }) {
  const current = (name) => ({ 'aria-current': tab === name && 'page' });
  const one = (name, count) => button(null, 'tab', name, [t(name), badge(count)], null, current(name));
  return h('nav', { class: 'tabs' }, one('chats', unreadTotal()), one('people', state.received.length));
}

function badge(count) {
  return count > 0 && h('span', { class: 'badge' },
    h('span', { 'aria-hidden': 'true' }, count > 99 ? '99+' : count),
    h('span', { class: 'unseen' }, t('unread', { n: count })));
}

function nothing() {
  return h('div', { class: 'nothing' },
    h('img', { src: 'icon.svg', alt: '', class: 'mark' }), h('p', null, t('choose')));
}

const who = (name, about) => h('span', { class: 'grow' },
  h('strong', { class: 'cut' }, name), about && h('small', { class: 'muted cut' }, about));

function chats() {
  const rooms = roomsByActivity();
  return [
    button('wide', 'tab', 'group', [icon('group'), t('new_group')]),
    rooms.length === 0 && h('p', { class: 'hint' }, t('no_chats')),
    h('ul', { class: 'rows', 'aria-label': t('chats') }, rooms.map(chat)),
  ];
}

function chat(room) {
  const title = titleOf(room);
  const other = state.people.get(partner(room));
  const last = room.last_message;
  const [typing] = typingIn(room.id);
  const time = { class: 'muted', datetime: last?.created_at, title: last && day(last.created_at) };
  return h('li', { 'data-key': room.id },
    h('a', { class: 'row', href: `#room/${room.id}`, 'aria-current': state.reading === room.id && 'true' },
      avatar(other?.id ?? room.id, title, other?.is_online),
      h('span', { class: 'grow' },
        h('span', { class: 'line' },
          h('strong', { class: 'cut' }, title),
          other?.is_online && h('span', { class: 'unseen' }, t('online')),
          last && h('time', time, when(last.created_at))),
        h('span', { class: 'line' },
          typing ? h('span', { class: 'cut typing' }, t('typing', { names: typing }))
            : h('span', { class: 'cut muted' }, last && textOf(last)),
          badge(room.unread_count)))));
}

function people({ found }) {
  const query = { name: 'query', type: 'search', required: true, maxlength: 50 };
  return [
    h('form', { class: 'find', role: 'search', 'data-act': 'search' },
      h('input', { ...query, 'aria-label': t('find_people'), placeholder: t('find_people') }),
      h('button', { class: 'quiet' }, t('search'))),
    found && section('found', found.map(({ id }) => person(id, nextStep(id))), t('nobody_found')),
    section('received', state.received.map((one) => request(one, 'accept', 'reject'))),
    section('friends', state.friends.map((id) => person(id, press('chat', id))), t('no_friends')),
    section('sent', state.sent.map((one) => request(one, 'withdraw'))),
  ];
}

function section(name, rows, empty) {
  if (rows.length === 0 && !empty) return null;
  return h('section', { 'data-key': name },
    h('h2', null, t(name)),
    rows.length ? h('ul', { class: 'rows' }, rows) : h('p', { class: 'hint' }, empty));
}

function nextStep(id) {
  const asked = (requests) => requests.some((one) => one.user_id === id);
  if (state.friends.includes(id)) return press('chat', id);
  return press(asked(state.received) ? 'accept' : asked(state.sent) ? 'withdraw' : 'add_friend', id);
}

const GREEN = ['accept', 'add_friend'];
const press = (act, id) => button(GREEN.includes(act) ? 'primary' : 'quiet', act, id, t(act));

function person(id, ...presses) {
  const { username, is_online } = state.people.get(id);
  return h('li', { class: 'row', 'data-key': id },
    avatar(id, nameOf(id), is_online), who(nameOf(id), `@${username} · ${presenceOf(id)}`), presses);
}

function request({ user_id, username, message }, ...acts) {
  return h('li', { class: 'row', 'data-key': user_id },
    avatar(user_id, username), who(username, message), acts.map((act) => press(act, user_id)));
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
    h('legend', { class: 'unseen' }, t('members')),
    ids.length < 1 && h('p', { class: 'hint' }, t('no_friends')),
    ids.map((id) => h('label', { class: 'row', 'data-key': id },
      h('input', { type: 'checkbox', name: 'member', value: id }),
      avatar(id, nameOf(id)), who(nameOf(id), `@${state.people.get(id).username}`))));
}

function members(room, { sure, busy }) {
  const inside = new Set(room.participants.map(({ id }) => id));
  const outside = state.friends.filter((id) => !inside.has(id));
  const isCreator = room.creator_id === state.me.id;
  const twice = (act, id) => (sure === `${act}-${id}` ? button('danger', act, id, t('sure')) : press(act, id));
  const member = ({ id, username }) => h('li', { class: 'row', 'data-key': id },
    avatar(id, nameOf(id, username), state.people.get(id)?.is_online),
    who(nameOf(id, username), `@${username}${id === state.me.id ? ` · ${t('you')}` : ''}`),
    isCreator && id !== state.me.id && twice('remove', id));
  return h('div', { class: 'members' },
    h('header', { class: 'bar' },
      h('a', { class: 'round', href: `#room/${room.id}`, 'aria-label': t('back') }, icon('back')),
      h('h1', { class: 'cut' }, titleOf(room))),
    h('div', { class: 'scroll' },
      h('h2', null, t('members_of', { n: room.participants.length })),
      h('ul', { class: 'rows' }, room.participants.map(member)),
      isCreator && outside.length > 0 && h('form', { 'data-act': 'addMembers' },
        h('h2', null, t('add_members')), choices(outside),
        h('button', { class: 'primary', disabled: busy }, t('add'))),
      twice('leave', room.id)));
}
