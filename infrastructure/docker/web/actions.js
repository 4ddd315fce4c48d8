// The actions behind buttons and forms, by the value of `data-act`.

import { client } from './client.js';
import { h } from './dom.js';
import { switchLanguage } from './i18n.js';
import * as place from './place.js';
import { flush, goTo, logOut, startSession } from './session.js';
import * as store from './store.js';
import { draw, drawAndFocus, focusComposer, notify, ui } from './ui.js';
import * as uploads from './uploads.js';
import { isPicture } from './values.js';
import * as viewer from './viewer.js';

const { state } = store;
/** A search asks for this many pages at once, because a page may be empty. */
const SEARCH_PAGES = 10;

export const currentRoom = () => state.rooms.get(state.openRoomId);
const messageOf = (id) => currentRoom()?.messages?.find((message) => message.id === id);
const updateMessage = (message) => store.updateMessage(currentRoom(), message.id, message);

/** Runs an irreversible action on the second press; the first press shows a confirmation. */
function confirmFirst(key, action) {
  if (ui.confirming !== key) {
    ui.confirming = key;
    return null;
  }
  ui.confirming = null;
  return action();
}

// The account

/** Shows the state of the second factor, in place of a secret or of recovery codes. */
async function loadSecurity() {
  forgetForms();
  ui.mfa = await client.request('GET', '/auth/mfa');
  drawAndFocus('.security input');
}

/** Changes the second factor. Of these operations, only a wrong password is a violation of a rule. */
async function changeFactor(path, body) {
  try {
    return await withPassword(() => client.request('POST', path, { body }));
  } catch (error) {
    if (error.code !== 'resource_conflict' && error.code !== 'resource_not_found') throw error;
    await loadSecurity();
    error.code = 'factor_changed';
    throw error;
  }
}

/** Runs a request with the current password and perhaps a code. Of its rules, only the password can be broken. */
async function withPassword(request) {
  try {
    return await request();
  } catch (error) {
    if (error.code === 'MFA_REQUIRED') ui.needsCode = true;
    if (error.code === 'MFA_INVALID') clearCode();
    if (error.code === 'business_logic_error') error.code = 'wrong_password';
    throw error;
  }
}

/** A secret and recovery codes stay on the page only while it shows them. */
function forgetForms() {
  Object.assign(ui, { mfa: null, newSecret: null, recoveryCodes: null, factorForm: null, accountForm: null,
    fieldErrors: null, needsCode: false });
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

async function loadSessions() {
  ui.sessions = await client.request('GET', '/auth/sessions');
}

async function endOtherSession(sid, proof) {
  try {
    await withPassword(() => client.request('DELETE', `/auth/sessions/${sid}`, { body: proof }));
  } catch (error) {
    if (error.code !== 'REAUTHENTICATION_REQUIRED') throw error;
    ui.accountForm = sid;
    return drawAndFocus('[data-act=proveAndEnd] [name=current_password]');
  }
  ui.accountForm = null;
  await loadSessions();
}

// Rooms and messages

/** Turns the pin or the mute of a room on or off. Other windows receive it on their streams. */
async function changeSetting(room, setting, on) {
  store.applyEvent('chat_room_settings', await client.request(on ? 'PUT' : 'DELETE', `/chat-rooms/${room}/${setting}`));
}

function find(query, room) {
  ui.found = { query, room, messages: [], cursor: null, busy: false };
  return findMore();
}

/** Reads pages of the search until there are further results, or none are left. */
async function findMore() {
  const { found } = ui;
  found.busy = true;
  draw();
  try {
    const before = found.messages.length;
    for (let pages = 0; pages < SEARCH_PAGES; pages++) {
      const query = { q: found.query, room_id: found.room, cursor: found.cursor };
      const { messages, next_cursor } = await client.request('GET', '/messages/search', { query });
      found.messages.push(...messages);
      found.cursor = next_cursor;
      if (!next_cursor || found.messages.length > before) break;
    }
  } finally {
    found.busy = false;
  }
}

// Files

/** Whether files can be attached to the message in the composer. */
export const canAttach = () => Boolean(state.fileLimits && currentRoom() && !ui.view && !ui.edit);

export function attachFiles(files) {
  if (!uploads.attach(state.openRoomId, [...files])) notify({ key: 'too_many_files', n: uploads.MAX_FILES });
  focusComposer();
}

/** Takes a file away. Its text is a draft again. */
function cancelFile(id) {
  const text = uploads.cancel(state.openRoomId, id);
  const input = document.querySelector('.composer textarea');
  if (text && !input.value) {
    input.value = text;
    ui.drafts.set(state.openRoomId, text);
  }
  focusComposer();
}

/** Opens a picture in a tab of its own, and saves another file. A link sends no access token, so it has a ticket. */
async function openFile(message) {
  // A tab that opens later, after the answer, is blocked as a pop-up.
  const tab = isPicture(message) ? open('', '_blank') : null;
  try {
    const { ticket } = await client.request('POST', '/messages/stream/ticket');
    const url = `/api/messages/${message.id}/file?ticket=${ticket}`;
    if (tab) Object.assign(tab, { opener: null, location: url });
    else h('a', { href: url, download: message.file_name }).click();
  } catch (error) {
    tab?.close();
    throw error;
  }
}

// People

async function changeFriendship(method, path, body) {
  await client.request(method, path, { body });
  ui.menu = null;
  await store.loadFriends();
}

export const buttonActions = {
  otherForm: () => Object.assign(ui, { signingUp: !ui.signingUp, needsCode: false, fieldErrors: null }),
  language: switchLanguage,
  logOut,
  tab: ({ id }) => {
    forgetForms();
    Object.assign(ui, { tab: id, listTop: 0 });
    ui.chosen.clear();
    if (id === 'people') return store.loadFriends();
    if (id === 'security') return loadSecurity();
    if (id === 'account') return loadSessions();
  },
  factorForm: ({ id }) => {
    ui.factorForm = id;
    drawAndFocus('.security input');
  },
  accountForm: ({ id }) => {
    ui.accountForm = id;
    drawAndFocus('[name=current_password]');
  },
  endSession: ({ id }) => endOtherSession(id),
  refuseStrangers: async () => {
    state.me = await client.request('PUT', '/profile/me', { body: { refuse_stranger_groups: !state.me.refuse_stranger_groups } });
  },
  copy: async ({ id }) => {
    // Browsers have no clipboard for a page without TLS, and may refuse it. The text can be selected instead.
    await navigator.clipboard?.writeText(id).then(() => notify({ key: 'copied' }), () => {});
  },

  add_friend: ({ id }) => changeFriendship('POST', '/friends/request', { user_id_2: Number(id) }),
  // Opening the room announces the friendship: its event reaches both users at once.
  accept: async ({ id }) => {
    await changeFriendship('PUT', `/friends/status/${id}`, { action: 'accept' });
    await buttonActions.chat({ id });
  },
  reject: ({ id }) => changeFriendship('PUT', `/friends/status/${id}`, { action: 'reject' }),
  withdraw: ({ id }) => changeFriendship('DELETE', `/friends/request/${id}`),
  unfriend: ({ id }) => confirmFirst(`unfriend-${id}`, () => changeFriendship('DELETE', `/friends/${id}`)),
  block: ({ id }) => confirmFirst(`block-${id}`, () => changeFriendship('POST', `/friends/block/${id}`)),
  unblock: ({ id }) => changeFriendship('DELETE', `/friends/block/${id}`),
  chat: async ({ id }) => {
    const room = await client.roomWith(Number(id));
    await store.loadRoom(room.id);
    goTo(room.id);
  },

  pin: ({ id }) => changeSetting(id, 'pin', !currentRoom().pinned),
  mute: ({ id }) => changeSetting(id, 'mute', !currentRoom().muted),

  older: () => store.loadOlder(state.openRoomId),
  jump: ({ id }) => place.jumpTo(currentRoom(), id),
  jumpToUnread: () => place.jumpToUnread(currentRoom()),
  jumpToEnd: async () => {
    await place.jumpToEnd(currentRoom());
    focusComposer();
  },
  markAllRead: async () => {
    await store.markAllRead(currentRoom());
    focusComposer();
  },
  findMore,
  closeSearch: () => Object.assign(ui, { found: null }),

  menu: ({ id }) => Object.assign(ui, { menu: ui.menu === id ? null : id, confirming: null }),
  react: async ({ id, emoji }) => {
    ui.menu = null;
    const reaction = messageOf(id).reactions?.find((candidate) => candidate.emoji === emoji);
    const mine = reaction?.user_ids.includes(state.me.id);
    updateMessage(await client.react(id, emoji, { add: !mine }));
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
    await client.delete(id);
    store.applyEvent('message_deleted', { message_id: id, room_id: state.openRoomId });
    focusComposer();
  }),
  cancel: () => {
    Object.assign(ui, { reply: null, edit: null });
    focusComposer();
  },
  pick: ({ id }) => document.getElementById(id).click(),
  cancelFile: ({ id }) => cancelFile(id),
  retryFile: ({ id }) => uploads.retry(state.openRoomId, id),
  openFile: ({ id }) => openFile(messageOf(id)),
  showPicture: ({ id }) => viewer.show(id),
  stepPicture: ({ id }) => viewer.step(Number(id)),
  closePicture: viewer.close,
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

export const formActions = {
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
  renew: async (body) => showCodes(await changeFactor('/auth/mfa/recovery-codes', body)),
  disable: async ({ current_password, mfa_code }) => {
    await changeFactor('/auth/mfa/disable', { current_password, code: mfa_code });
    await loadSecurity();
  },

  saveProfile: async ({ display_name, status_message }) => {
    state.me = await client.request('PUT', '/profile/me', { body: { display_name, status_message } });
    notify({ key: 'saved' });
  },
  changePassword: async ({ current_password, new_password, mfa_code }) => {
    const body = { current_password, new_password, code: mfa_code };
    await withPassword(() => client.request('PUT', '/auth/password', { body }));
    forgetForms();
    notify({ key: 'password_changed' });
    await loadSessions();
  },
  proveAndEnd: ({ sid, current_password, mfa_code }) => endOtherSession(sid, { current_password, code: mfa_code }),

  search: async ({ query }) => {
    ui.searchResults = await client.findUsers(query, 20);
    store.addUsers(ui.searchResults);
  },
  findMessages: ({ filter }) => filter.trim() && find(filter.trim(), null),
  findInRoom: ({ text }) => text.trim() && find(text.trim(), state.openRoomId),

  createGroup: async ({ name }, data) => {
    const room = await client.createRoom(data.getAll('member').map(Number), name.trim() || null);
    await store.loadRoom(room.id);
    ui.tab = 'chats';
    ui.chosen.clear();
    goTo(room.id);
  },
  addMembers: async (_, data) => {
    const members = data.getAll('member').map(Number);
    if (members.length) await client.request('POST', `/chat-rooms/${state.openRoomId}/members`, { body: { user_ids: members } });
    await store.loadRoom(state.openRoomId);
  },
  send: async ({ content }) => {
    const text = content.trim();
    const { edit, reply } = ui;
    const hasFiles = !edit && uploads.hasAttached(state.openRoomId);
    if ((!text && !hasFiles) || [...text].length > state.maxLength) return;
    Object.assign(ui, { reply: null });
    focusComposer();
    if (edit) {
      updateMessage(await client.edit(edit.id, text));
      Object.assign(ui, { edit: null });
      return focusComposer();
    }
    if (hasFiles) uploads.send(state.openRoomId, text, reply?.id);
    else {
      client.outbox.enqueue(state.openRoomId, text, reply?.id);
      flush();
    }
    ui.drafts.delete(state.openRoomId);
    document.querySelector('.composer textarea').value = '';
    await place.jumpToEnd(currentRoom());
  },
};
