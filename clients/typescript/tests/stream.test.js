// Streams from a server that the tests make up.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { afterEach, beforeEach, test } from 'node:test';
import { ChatClient, PermissionDeniedError } from '../src/index.js';
import { EventSource } from './event-source.js';

const TIMEOUT_MS = 30_000;
const originals = { EventSource: globalThis.EventSource, setTimeout };

beforeEach(() => {
  globalThis.EventSource = EventSource;
  // Delays pass faster, but not the longer timeouts of Node's own `fetch`, which uses this function too.
  globalThis.setTimeout = (action, ms, ...values) => originals.setTimeout(action, ms < 10_000 ? ms / 20 : ms, ...values);
});
afterEach(() => { Object.assign(globalThis, originals); });

/**
 * A client of a server that answers each request for a stream by `answer(response, lastEventId, number)`, and the
 * requests for streams so far. Those of an EventSource have a ticket.
 */
async function clientOf(t, answer) {
  const requests = [];
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://chat');
    const json = (body) => response.setHeader('Content-Type', 'application/json').end(JSON.stringify(body));
    if (pathname === '/auth/login/json') {
      json({ access_token: 'a', refresh_token: 'r', user_id: 1, expires_in: 7200 });
    } else if (pathname === '/messages/stream/ticket') {
      json({ ticket: 't' });
    } else {
      requests.push(searchParams.has('ticket') ? 'eventsource' : 'fetch');
      const lastEventId = searchParams.get('last_event_id') ?? request.headers['last-event-id'] ?? '';
      answer(response, lastEventId, requests.length);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const chat = new ChatClient({ baseUrl: `http://127.0.0.1:${server.address().port}` });
  await chat.login('a@example.com', 'secret');
  return { chat, requests };
}

const openStream = (response) => response.writeHead(200, { 'Content-Type': 'text/event-stream' });
const writeEvent = (response, name, id, data) =>
  response.write(`event: ${name}\nid: ${id}\ndata: ${JSON.stringify(data)}\n\n`);

test('a final answer to an EventSource ends the stream with its error', { timeout: TIMEOUT_MS }, async (t) => {
  const { chat, requests } = await clientOf(t, (response) =>
    response.writeHead(403, { 'Content-Type': 'application/json' }).end('{"error":"ACCESS_DENIED"}'));
  await assert.rejects(chat.stream(5, { transport: 'eventsource', signal: t.signal }).next(), (error) =>
    error instanceof PermissionDeniedError && error.code === 'ACCESS_DENIED');
  assert.deepEqual(requests, ['eventsource', 'fetch']);
});

test('an EventSource goes on after a transient answer and after the end of a connection', { timeout: TIMEOUT_MS }, async (t) => {
  const { chat, requests } = await clientOf(t, (response, lastEventId, number) => {
    if (number <= 2) return response.writeHead(503).end();
    openStream(response);
    writeEvent(response, 'connected', lastEventId || '7', {});
    if (number === 3) response.end();
  });
  const events = chat.stream(5, { transport: 'eventsource', signal: t.signal });
  const ids = [(await events.next()).value.id, (await events.next()).value.id];
  await events.return();
  assert.deepEqual(ids, ['7', '7']);
  assert.deepEqual(requests, ['eventsource', 'fetch', 'eventsource', 'eventsource']);
});

test('a slow program loses its EventSource and no event', { timeout: TIMEOUT_MS }, async (t) => {
  const messages = 2_500;
  let closed;
  const { chat, requests } = await clientOf(t, (response, lastEventId) => {
    closed = once(response, 'close');
    openStream(response);
    for (let seq = Number(lastEventId) + 1; seq <= messages; seq++) {
      writeEvent(response, 'new_message', seq, { room_id: 5, seq });
    }
  });
  const events = chat.stream(5, { transport: 'eventsource', signal: t.signal });
  const received = [(await events.next()).value.data.seq];
  await closed;
  while (received.length < messages) received.push((await events.next()).value.data.seq);
  await events.return();
  assert.deepEqual(received, Array.from({ length: messages }, (_, index) => index + 1));
  assert.ok(requests.length > 1);
});

test('an infinite silence is watched by a timer that can wait', { timeout: TIMEOUT_MS }, async (t) => {
  const { chat } = await clientOf(t, (response) => {
    openStream(response);
    writeEvent(response, 'connected', '7', {});
  });
  const timer = t.mock.method(globalThis, 'setInterval');
  const events = chat.stream(5, { silenceTimeoutMs: Infinity, signal: t.signal });
  await events.next();
  await events.return();
  assert.ok(timer.mock.calls[0].arguments[1] < 2 ** 31);
});
