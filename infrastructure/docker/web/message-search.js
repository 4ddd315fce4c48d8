// The views of the search for messages, in one room or in all rooms.

import { bar } from './details.js';
import { button, h } from './dom.js';
import { day, t, when } from './i18n.js';
import { state } from './store.js';
import { nameOf, textOf, titleOf } from './values.js';

/** The search in one room, in place of its messages. */
export function roomSearch(room, { found }) {
  const input = { name: 'text', type: 'search', required: true, maxlength: 100, 'data-focus': true };
  return h('div', { class: 'members' }, bar(room),
    h('form', { class: 'search', role: 'search', 'data-act': 'findInRoom' },
      h('input', { ...input, 'aria-label': t('search_here'), placeholder: t('search_here') }),
      h('button', { class: 'primary' }, t('search'))),
    h('div', { class: 'scroll' }, found && found.room === room.id && messageResults(found)));
}

/** The messages that a search has found so far. */
export function messageResults({ query, messages, cursor, busy }) {
  return h('section', { class: 'results', 'data-key': 'found', 'aria-busy': String(busy) },
    h('div', { class: 'line' },
      h('h2', { role: 'status' }, t('found', { query, n: `${messages.length}${cursor ? '+' : ''}` })),
      button('link', 'closeSearch', null, t('close'))),
    h('ul', { class: 'rows' }, messages.map(result)),
    cursor && button('link', 'findMore', null, t('find_more'), null, { disabled: busy }));
}

function result(message) {
  const room = state.rooms.get(message.room_id);
  const time = { class: 'muted', datetime: message.created_at, title: day(message.created_at) };
  return h('li', { 'data-key': message.id },
    h('a', { class: 'row', href: `#room/${message.room_id}/at/${message.id}` },
      h('span', { class: 'grow' },
        h('span', { class: 'line' },
          h('strong', { class: 'ellipsis' }, nameOf(message.user_id, message.username)),
          room && h('small', { class: 'muted ellipsis' }, titleOf(room)),
          h('time', time, when(message.created_at))),
        h('span', { class: 'found-text' }, textOf(message)))));
}
