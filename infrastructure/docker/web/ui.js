// The state of the interaction, drawing, focus and notices.

import { client } from './client.js';
import { composer } from './conversation.js';
import { morph } from './dom.js';
import * as pictures from './pictures.js';
import * as place from './place.js';
import { ApiError, ChatError } from './sdk/index.js';
import { state } from './store.js';
import { unreadTotal } from './values.js';
import { drawViewer } from './viewer.js';
import { page } from './views.js';

const NOTICE_MS = 6_000;

/** The state of the interaction: tab, open menu, drafts. The store holds the state of the chats. */
export const ui = {};

export function resetUi() {
  Object.assign(ui, {
    starting: false, signingUp: false, busy: false, notice: null, needsCode: false,
    fieldErrors: null, // of the last submitted form: { act, fields: [{ field, message }] }
    tab: 'chats', searchResults: null, filter: '', listTop: 0, view: null, jump: null,
    found: null, // the results of a search for messages
    mfa: null, newSecret: null, recoveryCodes: null, factorForm: null,
    sessions: null, accountForm: null,
    menu: null, confirming: null, reply: null, edit: null, editText: '', drafts: new Map(),
    chosen: new Set(), // the members of a new group
    dropping: false, // whether files are held above the conversation
  });
}
resetUi();

let drawScheduled = false;

/** Draws the page once for several changes. */
export function draw() {
  if (drawScheduled) return;
  drawScheduled = true;
  // A hidden tab has no animation frames, so this uses a timeout.
  setTimeout(() => {
    place.seeNewest();
    drawScheduled = false;
    const focused = document.activeElement;
    const keepPlace = place.hold();
    morph(document.getElementById('app'), page(ui));
    const unread = unreadTotal();
    document.title = unread ? `(${unread}) BigTech Chat` : 'BigTech Chat';
    if (focused === document.body) focus('[data-focus]');
    else if (!focused.isConnected) focus('.composer textarea, [data-focus]');
    keepPlace();
    place.settle();
    pictures.watch(document.querySelector('.messages'));
    drawViewer();
  });
}

/** Draws the composer alone, after a keystroke or a step of a transfer. */
export function drawComposer() {
  const form = document.querySelector('.composer');
  if (form) morph(form, composer(state.rooms.get(state.openRoomId), ui));
}

/** Does nothing on touch devices, where focus would open the on-screen keyboard. */
function focus(selector) {
  if (!matchMedia('(pointer: coarse)').matches) document.querySelector(selector)?.focus();
}

/** Draws, and moves the focus to the first field of a new form for example. */
export function drawAndFocus(selector) {
  draw();
  setTimeout(() => focus(selector));
}

export const focusComposer = () => drawAndFocus('.composer textarea');

/** Lets screen readers say a text when they have said the present one. */
export function announce(text) {
  document.getElementById('announcer').textContent = text;
}

let noticeTimer = null;
export function notify(notice) {
  ui.notice = notice;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => {
    ui.notice = null;
    draw();
  }, NOTICE_MS);
  draw();
}

/** Runs an action and shows its API error as a notice. */
export async function run(action) {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof ChatError)) throw error;
    if (client.isLoggedIn || !state.me) notify(error);
  } finally {
    ui.busy = false;
    draw();
  }
}

/** Runs the action of a form. An error is also shown at the fields that it concerns, in place of what was wrong before. */
export function submit(act, action) {
  Object.assign(ui, { fieldErrors: null, notice: null });
  return run(async () => {
    try {
      await action();
    } catch (error) {
      if (error instanceof ApiError) ui.fieldErrors = { act, fields: fieldsOf(error) };
      drawAndFocus(`[data-act=${act}] [aria-invalid]`);
      throw error;
    }
  });
}

/** The fields that an error concerns. A conflict names the value that is taken in its text only. */
function fieldsOf({ code, message, fields }) {
  if (code === 'wrong_password') return [{ field: 'current_password', message: code }];
  if (code !== 'resource_conflict') return fields;
  const field = ['email', 'display name', 'username'].find((name) => message.toLowerCase().startsWith(name));
  return field ? [{ field: field.replace(' ', '_'), message }] : [];
}
