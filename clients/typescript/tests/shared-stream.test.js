// One stream for several tabs. The tabs are clients of one process, with Web Locks of the test.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { shareStream } from '../src/shared-stream.js';

/** Exclusive locks by name, each held until its action ends. */
class Locks {
  #last = new Map();

  async request(name, { signal }, action) {
    const before = this.#last.get(name) ?? Promise.resolve();
    const aborted = new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')));
    });
    aborted.catch(() => {});
    const turn = Promise.race([before, aborted]).then(() => action());
    this.#last.set(name, Promise.allSettled([before, turn]));
    return turn;
  }
}

const navigator = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
beforeEach(() => {
  Object.defineProperty(globalThis, 'navigator', { value: { locks: new Locks() }, configurable: true });
});
afterEach(() => {
  if (navigator) Object.defineProperty(globalThis, 'navigator', navigator);
  else delete globalThis.navigator;
});

/** A source of numbered messages that counts its connections. */
function source() {
  const state = { opened: [], closed: 0, send: () => {} };
  state.open = async function* ({ lastEventId, signal, onStatus }) {
    state.opened.push(lastEventId);
    const queue = [{ name: 'connected', data: {}, id: lastEventId || '0' }];
    let wake = () => {};
    state.send = (id) => {
      queue.push({ name: 'new_message', data: { content: id }, id });
      wake();
    };
    signal.addEventListener('abort', () => wake());
    onStatus(true);
    while (!signal.aborted) {
      for (let event; (event = queue.shift());) yield event;
      await new Promise((resolve) => { wake = resolve; });
    }
    state.closed++;
  };
  return state;
}

function tab(open) {
  const taken = [];
  const close = shareStream(7, open, {
    onEvent: ({ name, id }) => taken.push(name === 'connected' ? name : id),
    onStatus: (isLive) => taken.push(isLive),
    onError: (error) => taken.push(error),
  });
  return { taken, close };
}

test('two tabs share one connection, and the second resumes when the first closes', async () => {
  const state = source();
  const first = tab(state.open);
  await pause(50);
  state.send('1');
  await pause(50);
  const second = tab(state.open);
  await pause(50);
  state.send('2');
  await pause(50);
  assert.deepEqual(first.taken, [true, 'connected', '1', '2']);
  assert.deepEqual(second.taken, [true, 'connected', '2']);
  assert.deepEqual(state.opened, ['']);

  first.close();
  await pause(50);
  assert.deepEqual([state.opened, state.closed], [['', '2'], 1]);
  state.send('3');
  await pause(50);
  assert.equal(first.taken.length, 4);
  assert.deepEqual(second.taken.slice(3), [true, 'connected', '3']);
  second.close();
});

test('a tab without an event of its own resumes at the place of the tab that it follows', async () => {
  const state = source();
  const first = tab(state.open);
  await pause(50);
  state.send('1');
  await pause(50);
  const second = tab(state.open);
  await pause(50);
  first.close();
  await pause(50);
  assert.deepEqual(state.opened, ['', '1']);
  second.close();
});

test('without Web Locks each tab has a connection', async () => {
  Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });
  const state = source();
  const tabs = [tab(state.open), tab(state.open)];
  await pause(50);
  assert.equal(state.opened.length, 2);
  tabs.forEach(({ close }) => close());
});

test('an error ends the stream in the tab that holds it', async () => {
  const failure = new Error('the membership has ended');
  const { taken, close } = tab(async function* () { throw failure; });
  await pause(50);
  assert.deepEqual(taken, [failure]);
  close();
});
