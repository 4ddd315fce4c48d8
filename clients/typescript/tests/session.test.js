// The session and the outbox, against answers that the tests make up.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import {
  AuthenticationError, ChatClient, MemoryStorage, NetworkError, NotLoggedInError, SecondFactorError, SessionEndedError,
  UnavailableError, UnexpectedAnswerError,
} from '../src/index.js';
import { FileStorage } from '../src/node.js';

const originals = { fetch, setTimeout };

// Delays pass at once.
beforeEach(() => { globalThis.setTimeout = (action) => originals.setTimeout(action); });
afterEach(() => { Object.assign(globalThis, originals); });

const json = (status, body, headers) => new Response(JSON.stringify(body), { status, headers });
const token = (number) =>
  json(200, { access_token: `a${number}`, refresh_token: `r${number}`, user_id: 1, expires_in: 7200 });

/** A client whose requests `answer(path, body, headers)` answers. */
function client(answer, storage) {
  globalThis.fetch = async (url, { body, headers }) =>
    answer(new URL(url).pathname, body && JSON.parse(body), headers);
  return new ChatClient({ baseUrl: 'http://chat', ...(storage && { storage }) });
}

/** Accepts the newest access token, and exchanges the newest refresh token and its predecessor. */
function server() {
  const state = { newest: 1, refreshes: 0, losesNextAnswer: false };
  state.answer = (path, body, headers) => {
    if (path === '/auth/login/json') return token(state.newest);
    if (path === '/auth/refresh') {
      state.refreshes++;
      if (body.refresh_token === `r${state.newest}`) state.newest++;
      else if (body.refresh_token !== `r${state.newest - 1}`) return json(401, { error: 'authentication_error' });
      if (!state.losesNextAnswer) return token(state.newest);
      state.losesNextAnswer = false;
      throw new TypeError('cut');
    }
    const isValid = headers.get('Authorization') === `Bearer a${state.newest}`;
    return isValid ? json(200, { id: 1 }) : json(401, { error: 'authentication_error' });
  };
  return state;
}

test('concurrent requests with an old token share one renewal', async () => {
  const state = server();
  const chat = client(state.answer);
  await chat.login('a@example.com', 'secret');
  // Another client of the session has renewed it: a1 is refused, and r1 is the predecessor.
  state.newest = 2;
  await Promise.all(Array.from({ length: 20 }, () => chat.me()));
  assert.equal(state.refreshes, 1);
});

test('a renewal whose answer is lost is repeated with the same token', async () => {
  const state = server();
  const chat = client(state.answer);
  await chat.login('a@example.com', 'secret');
  state.newest = 2;
  state.losesNextAnswer = true;
  await chat.me();
  assert.equal(state.refreshes, 2);
});

test('a token is renewed before it expires', async (t) => {
  const state = server();
  const chat = client(state.answer);
  await chat.login('a@example.com', 'secret');
  const now = Date.now();
  t.mock.method(Date, 'now', () => now + 7_150_000);
  await chat.me();
  assert.equal(state.refreshes, 1);
});

test('a refused refresh token ends the session', async () => {
  const chat = client((path) => (path.includes('login') ? token(1) : json(401, {})));
  let ends = 0;
  chat.onSessionEnd = () => ends++;
  await chat.login('a@example.com', 'secret');
  await assert.rejects(chat.me(), SessionEndedError);
  assert.deepEqual([chat.isLoggedIn, ends], [false, 1]);
});

test('a logout whose access token is refused ends the session with a new one', async () => {
  const state = server();
  const paths = [];
  const chat = client((path, ...rest) => {
    paths.push(path);
    return state.answer(path, ...rest);
  });
  await chat.login('a@example.com', 'secret');
  state.newest = 2;
  await chat.logout();
  assert.deepEqual(paths.slice(1), ['/auth/logout', '/auth/refresh', '/auth/logout']);
  assert.equal(chat.isLoggedIn, false);
});

test('a logout of a session that the server has ended succeeds, and is no end to tell', async () => {
  const chat = client((path) => (path.includes('login') ? token(1) : json(401, {})));
  chat.onSessionEnd = () => assert.fail('the user has ended the session');
  await chat.login('a@example.com', 'secret');
  await chat.logout();
  assert.equal(chat.isLoggedIn, false);
});

test('a logout that the server refuses for good is an error, and the tokens are forgotten', async () => {
  const chat = client((path) => (path.includes('logout') ? json(401, {}) : token(1)));
  await chat.login('a@example.com', 'secret');
  await assert.rejects(chat.logout(), AuthenticationError);
  assert.equal(chat.isLoggedIn, false);
});

test('a logout leaves the session of the next user alone', async () => {
  const { chat, state } = twoUsers();
  await chat.login('ann@example.com', 'secret');
  let release;
  state.hold = new Promise((resolve) => { release = resolve; });
  const logout = chat.logout();
  state.login = 2;
  await chat.login('bob@example.com', 'secret');
  release();
  await logout;
  assert.equal(chat.userId, 2);
});

test('a stored session goes on and adopts the tokens of another process', async () => {
  const state = server();
  const storage = new MemoryStorage();
  await client(state.answer, storage).login('a@example.com', 'secret');
  const [first, second] = [client(state.answer, storage), client(state.answer, storage)];
  state.newest = 2;
  await first.me();
  await second.me();
  assert.deepEqual([state.refreshes, second.userId], [1, 1]);
});

test('a code is asked for only if it is needed', async () => {
  const answer = (_, { mfa_code }) => (mfa_code ? token(1) : json(401, { error: 'MFA_REQUIRED' }));
  await assert.rejects(client(answer).login('a@example.com', 'secret'), SecondFactorError);
  const chat = client(answer);
  await chat.login('a@example.com', 'secret', async () => '123456');
  assert.equal(chat.userId, 1);
});

test('only idempotent requests are repeated', async () => {
  let attempts;
  const chat = client((path) => {
    attempts++;
    return path.includes('login') ? token(1) : json(503, {}, { 'Retry-After': '1' });
  });
  await chat.login('a@example.com', 'secret');
  for (const [call, expected] of [
    [() => chat.me(), 4],
    [() => chat.send(1, 'x'), 4],
    [() => chat.createRoom([2, 3]), 1],
  ]) {
    attempts = 0;
    await assert.rejects(call(), UnavailableError);
    assert.equal(attempts, expected);
  }
});

test('messages of the outbox survive a restart, keep their order and are rejected alone', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'outbox-'));
  const sent = [];
  let isOnline = false;
  const answer = (path, { content, client_message_id }) => {
    if (path.includes('login')) return token(1);
    if (!isOnline) throw new TypeError('offline');
    if (content === 'refused') return json(403, { error: 'BLOCKED' });
    sent.push([content, client_message_id]);
    return json(201, { id: 'm' });
  };
  const chat = client(answer, new FileStorage(folder));
  await chat.login('a@example.com', 'secret');
  const entries = ['one', 'refused', 'two'].map((text) => chat.outbox.enqueue(5, text));
  const flushing = chat.outbox.flush();
  chat.outbox.close();
  await flushing;

  const { outbox } = client(answer, new FileStorage(folder));
  assert.deepEqual(outbox.entries, entries);
  const rejected = [];
  outbox.onRejected = ({ content }, { code }) => rejected.push([content, code]);
  isOnline = true;
  await outbox.flush();
  assert.deepEqual(sent, [['one', entries[0].id], ['two', entries[2].id]]);
  assert.deepEqual(rejected, [['refused', 'BLOCKED']]);
  assert.deepEqual(outbox.entries.map(({ error }) => error), ['BLOCKED']);
  await rm(folder, { recursive: true });
});

/** Ann's requests are cut or held back until bob has logged in. Returns the client and what bob's token has sent. */
function twoUsers() {
  const sent = [];
  const state = { login: 1, hold: null };
  const chat = client(async (path, body, headers) => {
    if (path === '/auth/login/json') return json(200, { ...(await token(state.login).json()), user_id: state.login });
    const bearer = headers.get('Authorization')?.slice(7);
    if (bearer === 'a2') sent.push(body?.content ?? path);
    else await state.hold;
    if (path === '/auth/logout') return json(200, {});
    if (path === '/auth/refresh') return token(9);
    return bearer === 'a2' ? json(201, { id: 'm' }) : json(401, { error: 'authentication_error' });
  });
  return { chat, sent, state };
}

for (const [act, request] of [
  ['send', (chat) => chat.send(1, 'secret of ann')],
  ['outbox', (chat) => { chat.outbox.enqueue(1, 'secret of ann'); return chat.outbox.flush(); }],
]) {
  test(`a request of one user is not repeated as the next: ${act}`, async () => {
    const { chat, sent, state } = twoUsers();
    await chat.login('ann@example.com', 'secret');
    let release;
    state.hold = new Promise((resolve) => { release = resolve; });
    const request1 = request(chat);
    state.login = 2;
    await chat.login('bob@example.com', 'secret');
    release();
    await assert.rejects(request1, NotLoggedInError);
    await chat.send(1, 'of bob');
    assert.deepEqual([sent, chat.userId], [['of bob'], 2]);
  });
}

test('tokens of another user in a shared storage are not taken over', async () => {
  const storage = new MemoryStorage();
  const answer = (path, body, headers) => {
    if (path === '/auth/login/json') return token(1);
    if (path === '/auth/refresh') return json(401, { error: 'authentication_error' });
    return headers.get('Authorization') === 'Bearer a1' ? json(401, { error: 'authentication_error' }) : json(200, {});
  };
  const chat = client(answer, storage);
  await chat.login('ann@example.com', 'secret');
  storage.save('session', JSON.stringify({ ...JSON.parse(storage.load('session')), accessToken: 'b', refreshToken: 'b', userId: 2 }));
  await assert.rejects(chat.me(), SessionEndedError);
  assert.equal(JSON.parse(storage.load('session')).userId, 2, 'the session of the other user remains');
});

test('a closed outbox leaves the storage to the next', async () => {
  const storage = new MemoryStorage();
  const chat = client(() => token(1), storage);
  await chat.login('a@example.com', 'secret');
  const closed = chat.outbox;
  closed.enqueue(1, 'one');
  await chat.login('a@example.com', 'secret');
  chat.outbox.enqueue(1, 'two');
  closed.discard(closed.entries[0].id);
  assert.deepEqual(JSON.parse(storage.load('outbox-1')).map(({ content }) => content), ['one', 'two']);
});

test('a lost connection is a network error', async () => {
  const chat = client(() => { throw new TypeError('refused'); });
  await assert.rejects(chat.login('a@example.com', 'secret'), NetworkError);
});

test('a page of a proxy is no answer', async () => {
  const pages = [new Response('<html>Log in to the network</html>'), new Response(null, { status: 302 })];
  const chat = client(() => pages.pop());
  for (const status of [302, 200]) {
    await assert.rejects(chat.login('a@example.com', 'secret'), (error) => {
      assert.ok(error instanceof UnexpectedAnswerError && error instanceof NetworkError);
      assert.deepEqual([error.status, error.isTransient], [status, true]);
      return true;
    });
  }
});

test('a read whose answer breaks off is repeated', async () => {
  let attempts = 0;
  const cut = { pull: (controller) => controller.error(new TypeError('cut')) };
  const chat = client((path) => {
    if (path.includes('login')) return token(1);
    return ++attempts === 1 ? new Response(new ReadableStream(cut)) : json(200, { id: 1 });
  });
  await chat.login('a@example.com', 'secret');
  assert.deepEqual(await chat.me(), { id: 1 });
});

test('a stored session that cannot be read is none', () => {
  for (const text of ['{"refreshToken":', '"text"', '5']) {
    const storage = new MemoryStorage();
    storage.save('session', text);
    assert.equal(new ChatClient({ storage }).isLoggedIn, false);
  }
});
