// Streams and sends while the wire breaks and replicas are killed: nothing is lost, nothing comes twice.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { ChatClient } from '../src/index.js';
import { EventSource } from './event-source.js';
import { api, chatServiceIsReady, contentsIn, control, Link, twoInARoom, withoutControl, withoutStack } from './stack.js';

/** Divisible by the number of replicas. */
const MESSAGES = 60;
const TIMEOUT_MS = 90_000;
const expected = Array.from({ length: MESSAGES }, (_, number) => String(number));

/** Reads a stream to the last expected message. `isOpen` resolves after the first event, `all` with the contents. */
function readAll(events) {
  const { promise: isOpen, resolve } = withResolvers();
  const all = (async () => {
    const contents = [];
    for await (const { name, data } of events) {
      resolve();
      if (name === 'new_message') contents.push(data.content);
      if (contents.at(-1) === expected.at(-1)) return contents;
    }
    throw new Error('a stream does not end');
  })();
  return { isOpen, all };
}

/** Node 20 has no `Promise.withResolvers`. */
function withResolvers() {
  let resolve;
  return { promise: new Promise((done) => { resolve = done; }), resolve };
}

describe('a broken wire', { skip: withoutStack, timeout: TIMEOUT_MS }, () => {
  for (const transport of ['fetch', 'eventsource']) {
    test(`a stream by ${transport} that is cut, and sends whose answers are lost`, async (t) => {
      globalThis.EventSource = EventSource;
      const { ann, bob, room } = await twoInARoom();
      const [toAnn, toBob] = [await Link.open(), await Link.open()];
      t.after(() => [toAnn, toBob].forEach((link) => link.close()));
      const sender = new ChatClient({ baseUrl: toAnn.url, storage: ann.storage });
      const reader = new ChatClient({ baseUrl: toBob.url, storage: bob.storage });
      const statuses = [];
      const onStatus = (isLive) => statuses.push(isLive);
      const events = reader.stream(transport === 'fetch' ? room : null, { transport, onStatus, silenceTimeoutMs: 10_000 });
      const { isOpen, all } = readAll(events);
      await isOpen;
      for (const content of expected) sender.outbox.enqueue(room, content);
      const flushing = sender.outbox.flush();
      for (let round = 0; round < 4; round++) {
        await pause(300);
        toAnn.losesAnswers = toBob.isSilent = round % 2 === 0;
        toBob.cut();
        await pause(300);
        toAnn.losesAnswers = toBob.isSilent = false;
        toAnn.cut();
        toBob.cut();
      }
      await flushing;
      assert.deepEqual(await all, expected);
      assert.deepEqual(sender.outbox.entries, []);
      assert.deepEqual(await contentsIn(bob.chat, room), expected);
      assert.deepEqual(statuses.slice(0, 3), [true, false, true]);
    });
  }

  test('a silent connection is given up', async (t) => {
    const { ann, bob, room } = await twoInARoom();
    const link = await Link.open();
    t.after(() => link.close());
    const reader = new ChatClient({ baseUrl: link.url, storage: bob.storage });
    const events = reader.stream(room, { silenceTimeoutMs: 1_000 });
    const name = async () => (await events.next()).value.name;
    assert.equal(await name(), 'connected');
    link.isSilent = true;
    await ann.chat.send(room, 'into the silence');
    setTimeout(() => { link.isSilent = false; }, 2_000);
    assert.deepEqual([await name(), await name()], ['connected', 'new_message']);
    await events.return();
  });

  test('a slow program does not lose its connection', async () => {
    const { ann, bob, room } = await twoInARoom();
    const statuses = [];
    const events = bob.chat.stream(room, { silenceTimeoutMs: 500, onStatus: (isLive) => statuses.push(isLive) });
    await events.next();
    await ann.chat.send(room, 'one');
    await pause(1_500);
    assert.equal((await events.next()).value.data.content, 'one');
    assert.deepEqual(statuses, [true]);
    await events.return();
  });

  test('a signal ends a stream', async () => {
    const { bob, room } = await twoInARoom();
    const closing = new AbortController();
    const events = bob.chat.stream(room, { signal: closing.signal });
    await events.next();
    setTimeout(() => closing.abort(), 100);
    assert.deepEqual(await events.next(), { done: true, value: undefined });
  });
});

describe('a killed replica', { skip: withoutControl, timeout: TIMEOUT_MS }, () => {
  test('all rooms go on while every replica of chat-service is killed', async () => {
    const { ann, bob, room } = await twoInARoom();
    const replicas = process.env.CHAT_URLS.split(',').length;
    const reader = new ChatClient({ baseUrl: api, storage: bob.storage });
    const { isOpen, all } = readAll(reader.stream(null, { silenceTimeoutMs: 10_000 }));
    await isOpen;
    const { outbox } = ann.chat;
    for (let replica = 1; replica <= replicas; replica++) {
      const share = MESSAGES / replicas;
      for (const content of expected.slice((replica - 1) * share, replica * share)) outbox.enqueue(room, content);
      const flushing = outbox.flush();
      await pause(100);
      await control('kill', `chat-service-${replica}`);
      await flushing;
    }
    assert.deepEqual(await all, expected);
    await chatServiceIsReady();
    assert.deepEqual(await contentsIn(bob.chat, room), expected);
  });
});
