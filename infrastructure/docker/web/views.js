// What the page shows around a conversation: the way in, the lists, the members of a group. No view changes anything:
// what is pressed is named by `data-act`, and app.js acts.

import { conversation } from './conversation.js';
import { avatar, h, icon } from './dom.js';
import { day, refusalText, systemText, t, when } from './i18n.js';
import { isGroup, nameOf, partner, presenceOf, roomsByActivity, state, titleOf, typingIn, unreadTotal } from './store.js';

/** The whole page; `ui` is what the user is doing on it. */
export function page(ui) {
  return h('div', { id: 'app' }, state.me ? inside(ui) : ui.starting ? h('p', { class: 'nothing' }, t('connecting')) : welcome(ui), notice(ui));
}

function notice({ notice }) {
  return h('div', { class: 'notice', role: 'alert' }, notice && (notice.key ? t(notice.key) : refusalText(notice)));
}

// The way in

function welcome({ signingUp, busy }) {
  const act = signingUp ? 'signUp' : 'logIn';
  return h('main', { class: 'welcome' },
    h('form', { 'data-act': act, 'data-key': act, class: 'card' },
      h('img', { src: 'icon.svg', alt: '', class: 'mark' }),
      h('h1', null, 'BigTech Chat'),
      h('p', { class: 'muted' }, t('tagline')),
      field('email', { type: 'email', autocomplete: 'username', required: true, 'data-focus': true }),
      signingUp && field('username', {
        autocomplete: 'nickname', required: true, pattern: '[A-Za-z0-9][A-Za-z0-9_\\-]{2,49}', spellcheck: 'false',
        autocapitalize: 'none',
      }, t('username_hint')),
      signingUp && field('display_name', { maxlength: 100, autocomplete: 'name' }),
      field('password', {
        type: 'password', required: true, autocomplete: signingUp ? 'new-password' : 'current-password',
        minlength: signingUp && 8, maxlength: 128,
      }, signingUp && t('password_hint')),
      h('button', { class: 'primary', disabled: busy }, t(signingUp ? 'sign_up' : 'log_in')),
      h('button', { type: 'button', class: 'link', 'data-act': 'otherForm' }, t(signingUp ? 'to_log_in' : 'to_sign_up'))),
    language());
}

function field(name, attributes, hint) {
  const described = hint && { 'aria-describedby': `${name}-hint` };
  return h('label', { class: 'field', 'data-key': name }, h('span', null, t(name)),
    h('input', { name, ...attributes, ...described }),
    hint && h('small', { id: `${name}-hint`, class: 'muted' }, hint));
}

const language = () => h('button', { type: 'button', class: 'link', 'data-act': 'language' }, t('other_language'));

// Inside

function inside(ui) {
  const room = state.rooms.get(state.reading);
  return h('div', { class: 'shell', 'data-pane': room ? 'room' : 'list' },
    state.live === false && h('p', { class: 'banner', role: 'status', 'data-key': 'banner' }, t('is_offline')),
    h('aside', { class: 'side', 'data-key': 'side' }, top(), tabs(ui),
      h('div', { class: 'scroll', 'data-key': ui.tab }, ({ chats, people, group: newGroup })[ui.tab](ui))),
    h('main', { class: 'pane', 'data-key': `pane-${room?.id}` },
      !room ? nothing() : ui.members && isGroup(room) ? members(room, ui) : conversation(room, ui)));
}

function top() {
  return h('header', { class: 'top' },
    avatar(state.me.id, nameOf(state.me.id), state.live),
    h('div', { class: 'grow' }, h('strong', { class: 'cut' }, nameOf(state.me.id)),
      h('small', { class: 'muted cut' }, `@${state.me.username}`)),
    language(),
    h('button', { class: 'round', 'data-act': 'logOut', 'aria-label': t('log_out'), title: t('log_out') }, icon('leave')));
}

function tabs({ tab }) {
  const one = (name, count) => h('button', { 'data-act': 'tab', 'data-id': name, 'aria-current': tab === name && 'page' },
    t(name), badge(count));
  return h('nav', { class: 'tabs' }, one('chats', unreadTotal()), one('people', state.received.length));
}

const badge = (count) => count > 0 && h('span', { class: 'badge' },
  h('span', { 'aria-hidden': 'true' }, count > 99 ? '99+' : count),
  h('span', { class: 'unseen' }, t('unread', { n: count })));

function nothing() {
  return h('div', { class: 'nothing' }, h('img', { src: 'icon.svg', alt: '', class: 'mark' }), h('p', null, t('choose')));
}

function chats() {
  const rooms = roomsByActivity();
  return [
    h('button', { class: 'wide', 'data-act': 'tab', 'data-id': 'group' }, icon('group'), t('new_group')),
    rooms.length === 0 && h('p', { class: 'hint' }, t('no_chats')),
    h('ul', { class: 'rows', 'aria-label': t('chats') }, rooms.map(chat)),
  ];
}

function chat(room) {
  const title = titleOf(room);
  const other = state.people.get(partner(room));
  const last = room.last_message;
  const typing = typingIn(room.id);
  return h('li', { 'data-key': room.id },
    h('a', { class: 'row', href: `#room/${room.id}`, 'aria-current': state.reading === room.id && 'true' },
      avatar(other?.id ?? room.id, title, other?.is_online),
      h('span', { class: 'grow' },
        h('span', { class: 'line' }, h('strong', { class: 'cut' }, title),
          other?.is_online && h('span', { class: 'unseen' }, t('online')),
          last && h('time', { class: 'muted', datetime: last.created_at, title: day(last.created_at) }, when(last.created_at))),
        h('span', { class: 'line' },
          h('span', { class: typing.length ? 'cut typing' : 'muted cut' }, typing.length ? t('typing', { names: typing[0] }) : last ? (last.message_type === 'system' ? systemText(last.content) : last.content) : ''),
          badge(room.unread_count)))));
}

function people({ found }) {
  return [
    h('form', { class: 'find', role: 'search', 'data-act': 'search' },
      h('input', { name: 'query', type: 'search', required: true, maxlength: 50, 'aria-label': t('find_people'), placeholder: t('find_people') }),
      h('button', { class: 'quiet' }, t('search'))),
    found && section('found', found.map((person) => personRow(person.id, nextStep(person.id))), t('nobody_found')),
    section('received', state.received.map((one) => request(one, press('accept', one.user_id, 'primary'), press('reject', one.user_id)))),
    section('friends', state.friends.map((id) => personRow(id, press('chat', id))), t('no_friends')),
    section('sent', state.sent.map((one) => request(one, press('withdraw', one.user_id)))),
  ];
}

function section(name, rows, empty) {
  if (rows.length === 0 && !empty) return null;
  return h('section', { 'data-key': name }, h('h2', null, t(name)),
    rows.length ? h('ul', { class: 'rows' }, rows) : h('p', { class: 'hint' }, empty));
}

function nextStep(id) {
  if (state.friends.includes(id)) return press('chat', id);
  if (state.received.some((one) => one.user_id === id)) return press('accept', id, 'primary');
  if (state.sent.some((one) => one.user_id === id)) return press('withdraw', id);
  return press('add_friend', id, 'primary');
}

const press = (act, id, kind = 'quiet') => h('button', { class: kind, 'data-act': act, 'data-id': id }, t(act));

function personRow(id, ...presses) {
  const person = state.people.get(id);
  return h('li', { class: 'row', 'data-key': id },
    avatar(id, nameOf(id), person?.is_online),
    h('span', { class: 'grow' }, h('strong', { class: 'cut' }, nameOf(id)),
      h('small', { class: 'muted cut' }, `@${person?.username} · ${presenceOf(id)}`)),
    presses);
}

function request({ user_id, username, message }, ...presses) {
  return h('li', { class: 'row', 'data-key': user_id }, avatar(user_id, username),
    h('span', { class: 'grow' }, h('strong', { class: 'cut' }, username), message && h('small', { class: 'muted cut' }, message)),
    presses);
}

// Groups

function newGroup({ busy }) {
  return h('form', { class: 'group', 'data-act': 'createGroup' },
    h('h2', null, t('new_group')),
    h('label', { class: 'field' }, h('span', null, t('group_name')), h('input', { name: 'name', maxlength: 100, 'data-focus': true })),
    choices(state.friends),
    h('div', { class: 'line' }, h('button', { type: 'button', class: 'quiet', 'data-act': 'tab', 'data-id': 'chats' }, t('cancel')),
      h('button', { class: 'primary', disabled: busy || state.friends.length < 2 }, t('create'))));
}

function choices(ids) {
  return h('fieldset', null, h('legend', { class: 'unseen' }, t('members')),
    ids.length === 0 && h('p', { class: 'hint' }, t('no_friends')),
    ids.map((id) => h('label', { class: 'row', 'data-key': id },
      h('input', { type: 'checkbox', name: 'member', value: id }), avatar(id, nameOf(id)),
      h('span', { class: 'grow' }, h('strong', { class: 'cut' }, nameOf(id)),
        h('small', { class: 'muted cut' }, `@${state.people.get(id)?.username}`)))));
}

function members(room, { sure, busy }) {
  const inside = new Set(room.participants.map(({ id }) => id));
  const outside = state.friends.filter((id) => !inside.has(id));
  const isCreator = room.creator_id === undefined || room.creator_id === state.me.id;
  const twice = (act, id, label) => h('button', { class: sure === `${act}-${id}` ? 'danger' : 'quiet', 'data-act': act, 'data-id': id },
    t(sure === `${act}-${id}` ? 'sure' : label));
  return h('div', { class: 'members' },
    h('header', { class: 'bar' },
      h('a', { class: 'round', href: `#room/${room.id}`, 'aria-label': t('back') }, icon('back')),
      h('h1', { class: 'cut' }, titleOf(room))),
    h('div', { class: 'scroll' },
      h('h2', null, t('members_of', { n: room.participants.length })),
      h('ul', { class: 'rows' }, room.participants.map(({ id, username }) => h('li', { class: 'row', 'data-key': id },
        avatar(id, nameOf(id, username), state.people.get(id)?.is_online),
        h('span', { class: 'grow' }, h('strong', { class: 'cut' }, nameOf(id, username)),
          h('small', { class: 'muted cut' }, `@${username}`, id === state.me.id && ` · ${t('you')}`)),
        isCreator && id !== state.me.id && twice('remove', id, 'remove')))),
      isCreator && outside.length > 0 && h('form', { 'data-act': 'addMembers' },
        h('h2', null, t('add_members')), choices(outside), h('button', { class: 'primary', disabled: busy }, t('add'))),
      twice('leave', room.id, 'leave')));
}
