// The view of the details of a room: the members of a group, or the other user of a direct room.

import { settings } from './conversation.js';
import { avatar, button, h, icon } from './dom.js';
import { t } from './i18n.js';
import { actionButton, choices, confirmed, endings, nextAction, personLines } from './people.js';
import { state } from './store.js';
import { isGroup, isOnline, nameOf, partner, presenceOf, titleOf } from './values.js';

export function details(room, ui) {
  return h('div', { class: 'members' }, bar(room),
    h('div', { class: 'scroll' }, isGroup(room) ? members(room, ui) : user(partner(room), ui)));
}

export function bar(room) {
  return h('div', { class: 'bar' },
    h('a', { class: 'round', href: `#room/${room.id}`, 'aria-label': t('back') }, icon('back')),
    h('h1', { class: 'ellipsis grow' }, titleOf(room)),
    settings(room, 'only-narrow'));
}

function user(id, ui) {
  const { username, status_message } = state.users.get(id) ?? {};
  if (!username) return h('p', { class: 'hint' }, t('unknown_user'));
  const isBlocked = state.blocked.some((blocked) => blocked.user_id === id);
  return h('section', { class: 'card' },
    avatar(id, nameOf(id), isOnline(id)),
    h('h2', null, nameOf(id)),
    h('p', { class: 'muted' }, `@${username} · ${presenceOf(id)}`),
    status_message && h('p', null, status_message),
    h('div', { class: 'line acts' },
      isBlocked ? actionButton('unblock', id)
        : [!state.friends.includes(id) && nextAction(id), endings(id, ui)].flat()));
}

function members(room, ui) {
  const memberIds = new Set(room.participants.map(({ id }) => id));
  const candidates = state.friends.filter((id) => !memberIds.has(id));
  const isCreator = room.creator_id === state.me.id;
  const member = ({ id, username }) => h('li', { class: 'row', 'data-key': id },
    avatar(id, nameOf(id, username), isOnline(id)),
    personLines(nameOf(id, username), username, id === state.me.id ? t('you') : presenceOf(id)),
    isCreator && id !== state.me.id && confirmed('remove', id, ui));
  return [
    h('h2', null, t('members_of', { n: room.participants.length })),
    h('ul', { class: 'rows' }, room.participants.map(member)),
    isCreator && candidates.length > 0 && h('form', { 'data-act': 'addMembers' },
      h('h2', null, t('add_members')), choices(candidates),
      h('button', { class: 'primary', disabled: ui.busy }, t('add'))),
    confirmed('leave', room.id, ui),
  ];
}
