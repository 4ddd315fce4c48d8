// The page comes to life: what is pressed and typed, where one is, and when the page is drawn.

import { call, logIn, logOut, loggedIn, Refusal, whenSessionEnds } from './client.js';
import { LONGEST } from './conversation.js';
import { morph } from './dom.js';
import { switchLanguage, t } from './i18n.js';
import { clearOutbox, flush, post, settle, tryAgain, watchOutbox } from './outbox.js';
import * as store from './store.js';
import { listen } from './stream.js';
import { page } from './views.js';

const { state } = store;
const TELL_TYPING_EVERY_MS = 3_000;
const NOTICE_MS = 6_000;
const TRY_AGAIN_MS = 3_000;

/** What the user is doing. */
const ui = {};
function resetUi() {
  Object.assign(ui, {
    starting: false, signingUp: false, busy: false, notice: null,
    tab: 'chats', found: null, members: false,
    menu: null, sure: null, reply: null, edit: null, editText: '', drafts: new Map(),
  });
}
resetUi();

// Drawing

let drawing = false;
function draw() {
  if (drawing) return;
  drawing = true;
  // Once for all that changes together. No animation frame: there is none in a tab behind others.
  setTimeout(() => {
    drawing = false;
    const focused = document.activeElement;
    morph(document.getElementById('app'), page(ui));
    const unread = store.unreadTotal();
    document.title = unread ? `(${unread}) BigTech Chat` : 'BigTech Chat';
    if (focused === document.body) focus('[data-focus]');
    else if (!focused.isConnected) focus('.composer textarea, [data-focus]');
  });
}

/** Not where it would raise a keyboard over half of the screen. */
function focus(selector) {
  if (matchMedia('(pointer: fine)').matches) document.querySelector(selector)?.focus();
}

const focusComposer = () => setTimeout(() => focus('.composer textarea'));

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

/** Does what may be refused, and says so if it was. */
async function attempt(work) {
  try {
    return await work();
  } catch (refusal) {
    if (!(refusal instanceof Refusal)) throw refusal;
    if (loggedIn() || !state.me) notify(refusal);
  } finally {
    ui.busy = false;
    draw();
  }
}

/** Does in the background what has to be done, however long the server is away. Returns a refusal that stays. */
async function persist(work) {
  for (;;) {
    const refusal = await work().then(() => null, (refused) => refused);
    if (!refusal) return null;
    if (!(refusal instanceof Refusal)) throw refusal;
    if (!refusal.passes) return refusal;
    await new Promise((resume) => setTimeout(resume, Math.max(refusal.retryAfterMs || 0, TRY_AGAIN_MS)));
  }
}

// Coming and going

let stopListening = () => {};

async function enter() {
  ui.starting = true;
  if (await persist(store.loadMe)) return leave();
  resetUi();
  let first = true;
  stopListening = listen((name, data) => {
    store.hear(name, data);
    if (name === 'connected') arrive(first ? store.loadAnew : store.loadLists);
    if (name === 'connected') first = false;
    if (name === 'resync') arrive(store.loadAnew);
  }, (live) => {
    // Without a stream there is at least what there was.
    if (state.live === null && !live) arrive(store.loadLists);
    state.live = live;
    draw();
  });
  route();
}

/** The stream tells history; who is there and what was asked meanwhile it does not. */
async function arrive(load) {
  await persist(load);
  await openRoom();
  flush();
}

function leave() {
  stopListening();
  clearOutbox();
  store.reset();
  resetUi();
  history.replaceState(null, '', '#');
  draw();
}

whenSessionEnds(() => {
  leave();
  notify({ key: 'session_ended' });
});

/** `#room/5` and `#room/5/members`; whatever else is the list. */
function route() {
  const [, id, members] = location.hash.match(/^#room\/(\d+)(\/members)?$/) ?? [];
  if (Number(id) !== state.reading) Object.assign(ui, { reply: null, edit: null, menu: null });
  Object.assign(ui, { members: Boolean(members), sure: null });
  state.reading = state.me && id ? Number(id) : null;
  draw();
  focusComposer();
  // At the start the stream comes first, so that nothing falls between the two.
  if (state.live !== null) openRoom();
}

async function openRoom() {
  const id = state.reading;
  if (!id) return;
  await attempt(async () => {
    if (!state.rooms.has(id)) await store.loadRoom(id);
    const room = state.rooms.get(id);
    if (room && !room.messages) await store.loadMessages(id);
    if (room?.unread_count) store.readSoon(id);
  });
}

const goTo = (room) => { location.hash = `#room/${room}`; };

// Acts: by the names that the views give them

const reading = () => state.rooms.get(state.reading);
const messageOf = (id) => reading()?.messages?.find((message) => message.id === id);
const answerOf = (message) => store.change(reading(), message.id, message);

/** Asks once more before what cannot be taken back. */
function surely(what, act) {
  if (ui.sure !== what) {
    ui.sure = what;
    return null;
  }
  ui.sure = null;
  return act();
}

const presses = {
  otherForm: () => { ui.signingUp = !ui.signingUp; },
  language: switchLanguage,
  logOut: async () => {
    await logOut();
    leave();
  },
  tab: ({ id }) => {
    ui.tab = id;
    if (id === 'people') return store.loadPeople();
  },

  add_friend: async ({ id }) => {
    await call('POST', '/friends/request', { user_id_2: Number(id) });
    await store.loadPeople();
  },
  // With the room both know at once that they are friends: its stream tells the other.
  accept: async ({ id }) => {
    await call('PUT', `/friends/status/${id}`, { action: 'accept' });
    await store.loadPeople();
    await presses.chat({ id });
  },
  reject: async ({ id }) => {
    await call('PUT', `/friends/status/${id}`, { action: 'reject' });
    await store.loadPeople();
  },
  withdraw: async ({ id }) => {
    await call('DELETE', `/friends/request/${id}`);
    await store.loadPeople();
  },
  chat: async ({ id }) => {
    const room = await call('GET', `/chat-rooms/check/${id}`);
    await store.loadRoom(room.id);
    goTo(room.id);
  },

  older: () => store.loadOlder(state.reading),
  menu: ({ id }) => Object.assign(ui, { menu: ui.menu === id ? null : id, sure: null }),
  react: async ({ id, emoji }) => {
    ui.menu = null;
    const mine = messageOf(id).reactions?.some((one) => one.emoji === emoji && one.user_ids.includes(state.me.id));
    answerOf(await call(mine ? 'DELETE' : 'PUT', `/messages/${id}/reactions/${encodeURIComponent(emoji)}`));
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
  delete: ({ id }) => surely(`delete-${id}`, async () => {
    ui.menu = null;
    await call('DELETE', `/messages/${id}`);
    store.hear('message_deleted', { message_id: id, room_id: state.reading });
  }),
  cancel: () => {
    Object.assign(ui, { reply: null, edit: null });
    focusComposer();
  },
  tryAgain: ({ id }) => tryAgain(id),
  discard: ({ id }) => settle(id),

  remove: ({ id }) => surely(`remove-${id}`, async () => {
    await call('DELETE', `/chat-rooms/${state.reading}/members/${id}`);
    await store.loadRoom(state.reading);
  }),
  leave: ({ id }) => surely(`leave-${id}`, async () => {
    await call('DELETE', `/chat-rooms/${id}/members/${state.me.id}`);
    state.rooms.delete(Number(id));
    location.hash = '#';
  }),
};

const submits = {
  logIn: async ({ email, password }) => {
    await logIn(email, password);
    await enter();
  },
  signUp: async ({ email, username, display_name, password }) => {
    await call('POST', '/auth/register', { email, username, display_name, password });
    await submits.logIn({ email, password });
  },
  search: async ({ query }) => {
    const { users } = await call('GET', `/users/search?${new URLSearchParams({ query, limit: 20 })}`);
    store.meet(users);
    ui.found = users;
  },
  createGroup: async ({ name }, data) => {
    const members = data.getAll('member').map(Number);
    const room = await call('POST', '/chat-rooms', { name: name.trim() || null, participant_ids: members });
    await store.loadRoom(room.id);
    ui.tab = 'chats';
    goTo(room.id);
  },
  addMembers: async (_, data) => {
    const members = data.getAll('member').map(Number);
    if (members.length) await call('POST', `/chat-rooms/${state.reading}/members`, { user_ids: members });
    await store.loadRoom(state.reading);
  },
  send: async ({ content }) => {
    const text = content.trim();
    if (!text || [...text].length > LONGEST) return;
    const { edit, reply } = ui;
    if (edit) {
      answerOf(await call('PUT', `/messages/${edit.id}`, { content: text }));
      Object.assign(ui, { edit: null });
      focusComposer();
      return;
    }
    post(state.reading, text, reply?.id ?? null);
    ui.drafts.delete(state.reading);
    Object.assign(ui, { reply: null });
    document.querySelector('.composer textarea').value = '';
    document.querySelector('.talk').scrollTop = 0;
  },
};

addEventListener('click', (event) => {
  const pressed = event.target.closest('button[data-act]');
  if (pressed) attempt(async () => presses[pressed.dataset.act]({ ...pressed.dataset }));
});

addEventListener('submit', (event) => {
  event.preventDefault();
  const form = event.target;
  if (ui.busy) return;
  ui.busy = form.dataset.act !== 'send';
  draw();
  const data = new FormData(form);
  attempt(async () => submits[form.dataset.act](Object.fromEntries(data), data));
});

let toldTyping = 0;
addEventListener('input', ({ target }) => {
  if (target.name !== 'content') return;
  if (ui.edit) ui.editText = target.value;
  else ui.drafts.set(state.reading, target.value);
  draw();
  if (!ui.edit && state.live && target.value && Date.now() - toldTyping > TELL_TYPING_EVERY_MS) {
    toldTyping = Date.now();
    // Nobody misses it.
    call('POST', `/messages/${state.reading}/typing`).catch(() => {});
  }
});

addEventListener('keydown', (event) => {
  const { key, target } = event;
  // While a syllable of Korean is composed, Enter ends the syllable.
  if (event.isComposing) return;
  if (key === 'Escape') {
    Object.assign(ui, { menu: null, sure: null, reply: null, edit: null });
    draw();
  }
  if (target.name !== 'content') return;
  if (key === 'Enter' && !event.shiftKey) {
    event.preventDefault();
    target.form.requestSubmit();
  }
  if (key === 'ArrowUp' && !target.value) {
    const last = reading().messages?.findLast((message) => message.user_id === state.me.id && !store.isSystem(message));
    if (last) presses.edit(last);
    draw();
  }
});

addEventListener('hashchange', route);
addEventListener('visibilitychange', () => {
  if (reading()?.unread_count) store.readSoon(state.reading);
});

// Start

store.watchStore(draw, (message, room) => {
  const name = store.nameOf(message.user_id, message.username);
  const where = store.isGroup(room) ? `${store.titleOf(room)}, ${name}` : name;
  document.getElementById('announcer').textContent = t('says', { name: where, text: message.content });
});
watchOutbox({
  changed: draw,
  sent: (message) => store.add(state.rooms.get(message.room_id), message),
  // Perhaps one is no member any more.
  refused: ({ room }) => attempt(() => store.loadRoom(room)),
});

if (loggedIn()) enter();
draw();
