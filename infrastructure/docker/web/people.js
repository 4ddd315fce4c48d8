// The views of people: friends, requests, blocked users, the search for users, and a new group.

import { avatar, button, field, h, icon } from './dom.js';
import { t } from './i18n.js';
import { state } from './store.js';
import { isOnline, nameOf, presenceOf } from './values.js';

/** A group has this many other members at least. With one, the API opens the direct room. */
const MIN_OTHERS = 2;

export function people(ui) {
  const query = { name: 'query', type: 'search', required: true, maxlength: 50 };
  const { searchResults } = ui;
  return [
    h('form', { class: 'search', role: 'search', 'data-act': 'search' },
      h('input', { ...query, 'aria-label': t('find_people'), placeholder: t('find_people') }),
      h('button', { class: 'quiet' }, t('search'))),
    searchResults
      && section('search_results', searchResults.map(({ id }) => person(id, ui, nextAction(id))), t('no_results')),
    section('received', state.received.map((received) => request(received, 'accept', 'reject'))),
    section('friends', state.friends.map((id) => person(id, ui, actionButton('chat', id))), t('no_friends')),
    section('sent', state.sent.map((sent) => request(sent, 'withdraw'))),
    section('blocked', state.blocked.map(blocked)),
  ];
}

function section(name, rows, empty) {
  if (rows.length === 0 && !empty) return null;
  return h('section', { 'data-key': name },
    h('h2', null, t(name)),
    rows.length ? h('ul', { class: 'rows' }, rows) : h('p', { class: 'hint' }, empty));
}

/** The button that fits the relationship with a user. */
export function nextAction(id) {
  const isIn = (requests) => requests.some((request) => request.user_id === id);
  if (state.friends.includes(id)) return actionButton('chat', id);
  return actionButton(isIn(state.received) ? 'accept' : isIn(state.sent) ? 'withdraw' : 'add_friend', id);
}

const PRIMARY = ['accept', 'add_friend'];
export const actionButton = (act, id) => button(PRIMARY.includes(act) ? 'primary' : 'quiet', act, id, t(act));

/** A button that asks for a second press. */
export const confirmed = (act, id, { confirming }) =>
  (confirming === `${act}-${id}` ? button('danger', act, id, t(`confirm_${act}`)) : actionButton(act, id));

/** The ways to end the relationship with a user. */
export const endings = (id, ui) => [
  state.friends.includes(id) && confirmed('unfriend', id, ui),
  confirmed('block', id, ui),
];

function person(id, ui, action) {
  const { username } = state.users.get(id);
  const key = `person-${id}`;
  const isOpen = ui.menu === key;
  return h('li', { class: 'entry', 'data-key': id },
    h('div', { class: 'row' },
      avatar(id, nameOf(id), isOnline(id)), personLines(nameOf(id), username, presenceOf(id)), action,
      button('round', 'menu', key, icon('more'), t('more_of', { name: nameOf(id) }), { 'aria-expanded': String(isOpen) })),
    isOpen && h('div', { class: 'line endings', 'data-key': 'endings' }, endings(id, ui)));
}

/** The lines of a user. The presence is never cut. */
export const personLines = (name, username, presence) => h('span', { class: 'grow' },
  h('strong', { class: 'ellipsis' }, name),
  h('small', { class: 'muted about' }, h('span', { class: 'ellipsis' }, `@${username}`),
    presence && h('span', { class: 'presence' }, presence)));

function request({ user_id, username, message }, ...acts) {
  const name = nameOf(user_id, username);
  return h('li', { class: 'row', 'data-key': user_id },
    avatar(user_id, name, isOnline(user_id)),
    h('span', { class: 'grow' }, personLines(name, username, presenceOf(user_id)), message && h('small', null, message)),
    h('span', { class: 'acts' }, acts.map((act) => actionButton(act, user_id))));
}

function blocked({ user_id, username }) {
  return h('li', { class: 'row', 'data-key': user_id },
    avatar(user_id, username), personLines(nameOf(user_id, username), username), actionButton('unblock', user_id));
}

// Groups

export function newGroup({ busy, chosen }) {
  const isTooSmall = chosen.size < MIN_OTHERS;
  return h('form', { class: 'group', 'data-act': 'createGroup' },
    h('h2', null, t('new_group')),
    field('name', { maxlength: 100, 'data-focus': true }),
    choices(state.friends),
    h('p', { class: 'muted', id: 'size-hint', role: 'status' }, isTooSmall && t('choose_two')),
    h('div', { class: 'line' },
      button('quiet', 'tab', 'chats', t('cancel')),
      h('button', { class: 'primary', disabled: busy || isTooSmall, 'aria-describedby': 'size-hint' }, t('create'))));
}

export function choices(ids) {
  return h('fieldset', null,
    h('legend', { class: 'visually-hidden' }, t('members')),
    ids.length < 1 && h('p', { class: 'hint' }, t('no_friends')),
    ids.map((id) => h('label', { class: 'row', 'data-key': id },
      h('input', { type: 'checkbox', name: 'member', value: id }),
      avatar(id, nameOf(id)), personLines(nameOf(id), state.users.get(id).username))));
}
