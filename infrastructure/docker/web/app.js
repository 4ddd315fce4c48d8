// The entry point of the page: drawing, session, routing, and the actions behind buttons, forms and keys.

import { client } from './client.js';
import { morph } from './dom.js';
import { switchLanguage, t } from './i18n.js';
import { ChatError } from './sdk/index.js';
import * as store from './store.js';
import { page } from './views.js';

const { state } = store;
const TYPING_INTERVAL_MS = 3_000;
const NOTICE_MS = 6_000;
const RETRY_MS = 3_000;

/** The state of the interaction: tab, open menu, drafts. The store holds the state of the chats. */
const ui = {};
function resetUi() {
  Object.assign(ui, {
    starting: false, signingUp: false, busy: false, notice: null, needsCode: false,
    tab: 'chats', searchResults: null, members: false,
    mfa: null, newSecret: null, recoveryCodes: null, factorForm: null,
    menu: null, confirming: null, reply: null, edit: null, editText: '', drafts: new Map(),
  });
}
resetUi();

// Drawing

let drawScheduled = false;
function draw() {
  if (drawScheduled) return;
  drawScheduled = true;
  // Draws once for several changes. A hidden tab has no animation frames, so this uses a timeout.
  setTimeout(() => {
    drawScheduled = false;
    const focused = document.activeElement;
    morph(document.getElementById('app'), page(ui));
    const unread = store.unreadTotal();
    document.title = unread ? `(${unread}) BigTech Chat` : 'BigTech Chat';
    if (focused === document.body) focus('[data-focus]');
    else if (!focused.isConnected) focus('.composer textarea, [data-focus]');
  });
}

/** Does nothing on touch devices, where focus would open the on-screen keyboard. */
function focus(selector) {
  if (matchMedia('(pointer: fine)').matches) document.querySelector(selector)?.focus();
}

const focusComposer = () => setTimeout(() => focus('.composer textarea'));

/** Draws a new form and moves the focus to its first field. */
function drawAndFocus(selector) {
  draw();
  setTimeout(() => focus(selector));
}

let noticeTimer = null;
function notify(notice) {
  ui.notice = notice;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => {
    ui.notice = null;
    draw();
  }, NOTICE_MS);
  draw();
}

/** Runs an action and shows its API error as a notice. */
async function run(action) {
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

// Session and routing

let closeStream = () => {};

async function startSession() {
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
      if (name === 'connected') synchronize(first ? store.reloadAll : store.loadLists);
      if (name === 'connected') first = false;
      if (name === 'resync') synchronize(store.reloadAll);
    },
    onStatus: (live) => {
      // If the first connection attempt fails, the lists are loaded without a stream.
      if (state.live === null && !live) synchronize(store.loadLists);
      state.live = live;
      draw();
    },
    onError: (error) => run(() => { throw error; }),
  });
  route();
}

/** Loads what the stream does not replay, such as presence and friend requests, and sends the outbox. */
async function synchronize(load) {
  await retryWhileTransient(load);
  await openRoom();
  flush();
}

/** Sends the outbox. The end of the session ends it too, which `onSessionEnd` shows. */
function flush() {
  client.outbox.flush().catch((error) => {
    if (!(error instanceof ChatError)) throw error;
  });
}

function endSession() {
  closeStream();
  sessionStorage.clear();
  store.reset();
  resetUi();
  history.replaceState(null, '', '#');
  draw();
}

client.onSessionEnd = () => {
  endSession();
  notify({ key: 'session_ended' });
};

/** Shows the room of `#room/5` or `#room/5/members`; any other hash shows only the lists. */
function route() {
  const [, id, members] = location.hash.match(/^#room\/(\d+)(\/members)?$/) ?? [];
  if (Number(id) !== state.openRoomId) Object.assign(ui, { reply: null, edit: null, menu: null });
  Object.assign(ui, { members: Boolean(members), confirming: null });
  state.openRoomId = state.me && id ? Number(id) : null;
  draw();
  focusComposer();
  // The first load waits for the stream, so that no message is missed between them.
  if (state.live !== null) openRoom();
}

async function openRoom() {
  const id = state.openRoomId;
  if (!id) return;
  await run(async () => {
    if (!state.rooms.has(id)) await store.loadRoom(id);
    const room = state.rooms.get(id);
    if (room && !room.messages) await store.loadMessages(id);
    if (room?.unread_count) store.scheduleMarkRead(id);
  });
}

const goTo = (room) => { location.hash = `#room/${room}`; };

// Actions, by the value of `data-act`

/** Shows the state of the second factor, in place of a secret or of recovery codes. */
async function loadSecurity() {
  forgetFactor();
  ui.mfa = await client.request('GET', '/auth/mfa');
  drawAndFocus('.security input');
}

/** Changes the second factor. Of these operations, only a wrong password is a violation of a rule. */
async function changeFactor(path, body) {
  try {
    return await client.request('POST', path, { body });
  } catch (error) {
    if (error.code === 'MFA_INVALID') clearCode();
    if (error.code === 'business_logic_error') error.code = 'wrong_password';
    if (error.code !== 'resource_conflict' && error.code !== 'resource_not_found') throw error;
    await loadSecurity();
    error.code = 'factor_changed';
    throw error;
  }
}

/** A secret and recovery codes stay on the page only while it shows them. */
function forgetFactor() {
  Object.assign(ui, { mfa: null, newSecret: null, recoveryCodes: null, factorForm: null });
}

function showCodes({ recovery_codes }) {
  Object.assign(ui, { recoveryCodes: recovery_codes, newSecret: null, factorForm: null });
  drawAndFocus('.security h3');
}

/** A code is accepted once, so a refused one is of no further use. */
function clearCode() {
  const input = document.querySelector('[autocomplete=one-time-code]');
  if (input) input.value = '';
}

const currentRoom = () => state.rooms.get(state.openRoomId);
const messageOf = (id) => currentRoom()?.messages?.find((message) => message.id === id);
const updateMessage = (message) => store.updateMessage(currentRoom(), message.id, message);

/** Turns the pin or the mute of a room on or off. Other windows receive it on their streams. */
async function changeSetting(room, setting, on) {
  store.applyEvent('chat_room_settings', await client.request(on ? 'PUT' : 'DELETE', `/chat-rooms/${room}/${setting}`));
}

/** Runs an irreversible action on the second press; the first press shows a confirmation. */
function confirmFirst(key, action) {
  if (ui.confirming !== key) {
    ui.confirming = key;
    return null;
  }
  ui.confirming = null;
  return action();
}

const buttonActions = {
  otherForm: () => Object.assign(ui, { signingUp: !ui.signingUp, needsCode: false }),
  language: switchLanguage,
  logOut: async () => {
    closeStream();
    // Without an answer, the session ends in this tab alone.
    await client.logout().catch(() => {});
    endSession();
  },
  tab: ({ id }) => {
    forgetFactor();
    ui.tab = id;
    if (id === 'people') return store.loadFriends();
    if (id === 'security') return loadSecurity();
  },
  factorForm: ({ id }) => {
    ui.factorForm = id;
    drawAndFocus('.security input');
  },
  refuseStrangers: async () => {
    state.me = await client.request('PUT', '/profile/me', { body: { refuse_stranger_groups: !state.me.refuse_stranger_groups } });
  },
  copy: async ({ id }) => {
    // Browsers have no clipboard for a page without TLS, and may refuse it. The text can be selected instead.
    await navigator.clipboard?.writeText(id).then(() => notify({ key: 'copied' }), () => {});
  },

  add_friend: async ({ id }) => {
    await client.request('POST', '/friends/request', { body: { user_id_2: Number(id) } });
    await store.loadFriends();
  },
  // Opening the room announces the friendship: its event reaches both users at once.
  accept: async ({ id }) => {
    await client.request('PUT', `/friends/status/${id}`, { body: { action: 'accept' } });
    await store.loadFriends();
    await buttonActions.chat({ id });
  },
  reject: async ({ id }) => {
    await client.request('PUT', `/friends/status/${id}`, { body: { action: 'reject' } });
    await store.loadFriends();
  },
  withdraw: async ({ id }) => {
    await client.request('DELETE', `/friends/request/${id}`);
    await store.loadFriends();
  },
  chat: async ({ id }) => {
    const room = await client.request('GET', `/chat-rooms/check/${id}`);
    await store.loadRoom(room.id);
    goTo(room.id);
  },

  pin: ({ id }) => changeSetting(id, 'pin', !currentRoom().pinned),
  mute: ({ id }) => changeSetting(id, 'mute', !currentRoom().muted),

  older: () => store.loadOlder(state.openRoomId),
  menu: ({ id }) => Object.assign(ui, { menu: ui.menu === id ? null : id, confirming: null }),
  react: async ({ id, emoji }) => {
    ui.menu = null;
    const reaction = messageOf(id).reactions?.find((candidate) => candidate.emoji === emoji);
    const mine = reaction?.user_ids.includes(state.me.id);
    updateMessage(await client.request(mine ? 'DELETE' : 'PUT', `/messages/${id}/reactions/${encodeURIComponent(emoji)}`));
  },
  reply: ({ id }) => {
    Object.assign(ui, { reply: messageOf(id), edit: null, menu: null });
    focusComposer();
  },
  edit: ({ id }) => {
    const message = messageOf(id);
    Object.assign(ui, { edit: message, editText: message.content, reply: null, menu: null });
    focusComposer();
  },
  delete: ({ id }) => confirmFirst(`delete-${id}`, async () => {
    ui.menu = null;
    await client.request('DELETE', `/messages/${id}`);
    store.applyEvent('message_deleted', { message_id: id, room_id: state.openRoomId });
  }),
  cancel: () => {
    Object.assign(ui, { reply: null, edit: null });
    focusComposer();
  },
  tryAgain: ({ id }) => {
    client.outbox.retry(id);
    flush();
  },
  discard: ({ id }) => client.outbox.discard(id),

  remove: ({ id }) => confirmFirst(`remove-${id}`, async () => {
    await client.request('DELETE', `/chat-rooms/${state.openRoomId}/members/${id}`);
    await store.loadRoom(state.openRoomId);
  }),
  leave: ({ id }) => confirmFirst(`leave-${id}`, async () => {
    await client.request('DELETE', `/chat-rooms/${id}/members/${state.me.id}`);
    state.rooms.delete(Number(id));
    location.hash = '#';
  }),
};

const formActions = {
  logIn: async ({ email, password, mfa_code }) => {
    try {
      await client.login(email, password, mfa_code || undefined);
    } catch (error) {
      if (error.code === 'MFA_REQUIRED' || error.code === 'MFA_INVALID') {
        clearCode();
        ui.needsCode = true;
        drawAndFocus('[name=mfa_code]');
      }
      throw error;
    }
    await startSession();
  },
  signUp: async ({ email, username, display_name, password }) => {
    await client.register({ email, username, display_name, password });
    await formActions.logIn({ email, password });
  },
  enroll: async (body) => {
    ui.newSecret = await changeFactor('/auth/mfa', body);
    drawAndFocus('.security [name=code]');
  },
  confirm: async (body) => showCodes(await changeFactor('/auth/mfa/confirm', body)),
  renew: async ({ current_password, mfa_code }) => {
    showCodes(await changeFactor('/auth/mfa/recovery-codes', { current_password, code: mfa_code }));
  },
  disable: async ({ current_password, mfa_code }) => {
    await changeFactor('/auth/mfa/disable', { current_password, code: mfa_code });
    await loadSecurity();
  },
  search: async ({ query }) => {
    const { users } = await client.request('GET', `/users/search?${new URLSearchParams({ query, limit: 20 })}`);
    store.addUsers(users);
    ui.searchResults = users;
  },
  createGroup: async ({ name }, data) => {
    const members = data.getAll('member').map(Number);
    const room = await client.request('POST', '/chat-rooms', { body: { name: name.trim() || null, participant_ids: members } });
    await store.loadRoom(room.id);
    ui.tab = 'chats';
    goTo(room.id);
  },
  addMembers: async (_, data) => {
    const members = data.getAll('member').map(Number);
    if (members.length) await client.request('POST', `/chat-rooms/${state.openRoomId}/members`, { body: { user_ids: members } });
    await store.loadRoom(state.openRoomId);
  },
  send: async ({ content }) => {
    const text = content.trim();
    if (!text || [...text].length > state.maxLength) return;
    const { edit, reply } = ui;
    if (edit) {
      updateMessage(await client.request('PUT', `/messages/${edit.id}`, { body: { content: text } }));
      Object.assign(ui, { edit: null });
      focusComposer();
      return;
    }
    client.outbox.enqueue(state.openRoomId, text, reply?.id);
    flush();
    ui.drafts.delete(state.openRoomId);
    Object.assign(ui, { reply: null });
    document.querySelector('.composer textarea').value = '';
    document.querySelector('.messages').scrollTop = 0;
  },
};

addEventListener('click', (event) => {
  const button = event.target.closest('button[data-act]');
  if (button) run(async () => buttonActions[button.dataset.act]({ ...button.dataset }));
});

addEventListener('submit', (event) => {
  event.preventDefault();
  const form = event.target;
  if (ui.busy) return;
  ui.busy = form.dataset.act !== 'send';
  draw();
  const data = new FormData(form);
  run(async () => formActions[form.dataset.act](Object.fromEntries(data), data));
});

let typingSentAt = 0;
addEventListener('input', ({ target }) => {
  if (target.name !== 'content') return;
  if (ui.edit) ui.editText = target.value;
  else ui.drafts.set(state.openRoomId, target.value);
  draw();
  if (!ui.edit && state.live && target.value && Date.now() - typingSentAt > TYPING_INTERVAL_MS) {
    typingSentAt = Date.now();
    // A lost typing notification has no effect.
    client.request('POST', `/messages/${state.openRoomId}/typing`).catch(() => {});
  }
});

addEventListener('keydown', (event) => {
  const { key, target } = event;
  // While an input method composes a syllable, as in Korean, Enter ends the composition.
  if (event.isComposing) return;
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
    const isMine = (message) => message.user_id === state.me.id && !store.isSystem(message);
    const last = currentRoom().messages?.findLast(isMine);
    if (last) buttonActions.edit(last);
    draw();
  }
});

addEventListener('hashchange', route);
addEventListener('visibilitychange', () => {
  if (currentRoom()?.unread_count) store.scheduleMarkRead(state.openRoomId);
});

// Start

store.setStoreListeners(draw, (message, room) => {
  const name = store.nameOf(message.user_id, message.username);
  const source = store.isGroup(room) ? `${store.titleOf(room)}, ${name}` : name;
  document.getElementById('announcer').textContent = t('announcement', { name: source, text: message.content });
});

if (client.isLoggedIn) startSession();
draw();
