// The session of the user: its start and end, the stream, and the room that the address names.

import { client } from './client.js';
import * as pictures from './pictures.js';
import * as place from './place.js';
import { ChatError } from './sdk/index.js';
import * as store from './store.js';
import { draw, drawAndFocus, focusComposer, notify, resetUi, run, ui } from './ui.js';
import { cancelAll } from './uploads.js';

const { state } = store;
const RETRY_MS = 3_000;

let closeStream = () => {};

export async function startSession() {
  ui.starting = true;
  if (await retryWhileTransient(store.loadMe)) return endSession();
  resetUi();
  Object.assign(client.outbox, {
    onChange: draw,
    onSent: (message) => store.addMessage(state.rooms.get(message.room_id), message),
    // The caller may have lost the membership of the room.
    onRejected: ({ room }) => run(() => store.loadRoom(room)),
  });
  let first = true;
  closeStream = client.sharedStream({
    onEvent: ({ name, data }) => {
      store.applyEvent(name, data);
      const hasGap = name === 'resync' || (name === 'connected' && first);
      if (hasGap) store.forgetMessages();
      if (hasGap || name === 'connected') synchronize();
      if (name === 'connected') first = false;
    },
    onStatus: (live) => {
      // If the first connection attempt fails, the lists are loaded without a stream.
      if (state.live === null && !live) synchronize();
      state.live = live;
      draw();
    },
    onError: (error) => run(() => { throw error; }),
  });
  route();
}

/** Repeats an action while its error is transient. Returns a permanent error, or null. */
async function retryWhileTransient(action) {
  for (;;) {
    const error = await action().then(() => null, (rejection) => rejection);
    if (!error) return null;
    if (!(error instanceof ChatError)) throw error;
    if (!error.isTransient) return error;
    await new Promise((resolve) => setTimeout(resolve, Math.max(error.retryAfterMs || 0, RETRY_MS)));
  }
}

/** Loads what the stream does not replay, such as presence and friend requests, and sends the outbox. */
async function synchronize() {
  // The open room does not wait for the lists, which may be long.
  await Promise.all([loadOpenRoom, store.loadLists].map(retryWhileTransient));
  flush();
}

/** Sends the outbox. The end of the session ends it too, which `onSessionEnd` shows. */
export function flush() {
  client.outbox.flush().catch((error) => {
    if (!(error instanceof ChatError)) throw error;
  });
}

export function endSession() {
  closeStream();
  sessionStorage.clear();
  cancelAll();
  pictures.forgetAll();
  store.reset();
  place.leave();
  resetUi();
  history.replaceState(null, '', '#');
  draw();
}

export async function logOut() {
  closeStream();
  // Without an answer, the session ends in this browser alone.
  await client.logout().catch(() => {});
  endSession();
}

client.onSessionEnd = () => {
  endSession();
  notify({ key: 'session_ended' });
};

/** Shows the room of `#room/5`, its view of `#room/5/members`, or its message of `#room/5/at/…`; otherwise the lists. */
export function route() {
  const [, id, view, message] = location.hash.match(/^#room\/(\d+)(?:\/(members|search|at\/(\w+)))?$/) ?? [];
  if (Number(id) !== state.openRoomId) {
    Object.assign(ui, { reply: null, edit: null, menu: null });
    place.leave();
  }
  Object.assign(ui, { view: message ? null : view ?? null, jump: message ?? null, confirming: null });
  state.openRoomId = state.me && id ? Number(id) : null;
  if (ui.view) drawAndFocus('.pane [data-focus]');
  else focusComposer();
  // The first load waits for the stream, so that no message is missed between them.
  if (state.live !== null) run(loadOpenRoom);
}

/** Loads what the open room lacks, and shows its place: the message of a jump, or where the user left off. */
async function loadOpenRoom() {
  const id = state.openRoomId;
  if (!id) return;
  if (!state.rooms.has(id)) await store.loadRoom(id);
  const room = state.rooms.get(id);
  if (!room) return;
  if (ui.jump) return jump(room);
  if (!room.messages) await store.loadMessages(id);
  if (room.messages) await place.enter(room);
  if (ui.view === 'members') await store.loadMembers(room);
}

async function jump(room) {
  const message = ui.jump;
  ui.jump = null;
  await place.jumpTo(room, message);
}

export const goTo = (room) => { location.hash = `#room/${room}`; };
