// The entry point of the page: what the user does reaches the actions from here.

import { attachFiles, buttonActions, currentRoom, formActions } from './actions.js';
import { client, onSessionOfOtherTab } from './client.js';
import { takeDroppedAndPastedFiles } from './drop.js';
import { t } from './i18n.js';
import * as pictures from './pictures.js';
import * as place from './place.js';
import { route, startSession } from './session.js';
import * as store from './store.js';
import { announce, draw, drawComposer, run, submit, ui } from './ui.js';
import { isSending } from './uploads.js';
import { isGroup, isSystem, nameOf, textOf, titleOf } from './values.js';

const { state } = store;
const TYPING_INTERVAL_MS = 3_000;

addEventListener('click', (event) => {
  const button = event.target.closest('button[data-act]');
  if (button) run(async () => buttonActions[button.dataset.act]({ ...button.dataset }));
  // A second press of a link, such as that of a message which was left in the meantime, changes no address.
  const link = event.target.closest('a[href^="#"]');
  if (link?.hash === location.hash) route();
});

addEventListener('submit', (event) => {
  event.preventDefault();
  const form = event.target;
  if (ui.busy) return;
  const { act } = form.dataset;
  ui.busy = act !== 'send';
  draw();
  const data = new FormData(form);
  submit(act, async () => formActions[act](Object.fromEntries(data), data));
});

const inputs = {
  content: ({ value }) => {
    if (ui.edit) ui.editText = value;
    else ui.drafts.set(state.openRoomId, value);
    drawComposer();
    if (!ui.edit && value) announceTyping();
  },
  filter: ({ value }) => {
    Object.assign(ui, { filter: value, listTop: 0 });
    document.querySelector('[data-list=chats]').scrollTop = 0;
    draw();
  },
  member: ({ value, checked }) => {
    if (checked) ui.chosen.add(value);
    else ui.chosen.delete(value);
    draw();
  },
  files: (input) => {
    attachFiles(input.files);
    // The same file can be chosen again.
    input.value = '';
  },
};

addEventListener('input', ({ target }) => inputs[target.name]?.(target));

let typingSentAt = 0;
function announceTyping() {
  if (!state.live || Date.now() - typingSentAt < TYPING_INTERVAL_MS) return;
  typingSentAt = Date.now();
  // A lost typing notification has no effect.
  client.request('POST', `/messages/${state.openRoomId}/typing`).catch(() => {});
}

addEventListener('keydown', (event) => {
  const { key, target } = event;
  // While an input method composes a syllable, as in Korean, Enter ends the composition. A dialog has keys of its own.
  if (event.isComposing || document.querySelector('dialog')) return;
  if (key === 'Escape') {
    Object.assign(ui, { menu: null, confirming: null, reply: null, edit: null });
    draw();
  }
  if (target.name !== 'content') return;
  if (key === 'Enter' && !event.shiftKey) {
    event.preventDefault();
    target.form.requestSubmit();
  }
  if (key === 'ArrowUp' && !target.value) {
    const isMine = (message) => message.user_id === state.me.id && !isSystem(message);
    const last = currentRoom().messages?.findLast(isMine);
    if (last) buttonActions.edit(last);
  }
});

// Scroll events do not bubble, but they can be captured.
addEventListener('scroll', ({ target }) => {
  if (target.matches?.('.messages')) place.onScroll(target);
  if (target.dataset?.list === 'chats') {
    ui.listTop = Math.max(0, target.scrollTop - target.querySelector('.rooms').offsetTop);
    draw();
  }
}, { capture: true, passive: true });

addEventListener('resize', draw);
addEventListener('hashchange', route);
addEventListener('visibilitychange', place.see);
addEventListener('beforeunload', (event) => isSending() && event.preventDefault());
takeDroppedAndPastedFiles();

// Start

store.setStoreListeners(draw, (message, room) => {
  const name = nameOf(message.user_id, message.username);
  const source = isGroup(room) ? `${titleOf(room)}, ${name}` : name;
  announce(t('announcement', { name: source, text: textOf(message) }));
}, pictures.forget);

// The tabs of a browser have one session, so a login or logout in one of them concerns the others.
onSessionOfOtherTab(() => location.reload());

if (client.isLoggedIn) startSession();
draw();
