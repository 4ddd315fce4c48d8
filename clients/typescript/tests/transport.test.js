// Requests to a server that the tests make up.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { UnexpectedAnswerError } from '../src/index.js';
import { Transport } from '../src/transport.js';

/** The address of a server until the test ends. */
async function serve(t, answer) {
  const server = createServer(answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

test('a redirect is not followed', async (t) => {
  const paths = [];
  const transport = new Transport(await serve(t, (request, response) => {
    paths.push(request.url);
    response.writeHead(307, { Location: '/elsewhere' }).end();
  }));
  await assert.rejects(transport.send('POST', '/auth/refresh', { body: {} }), (error) =>
    error instanceof UnexpectedAnswerError && error.status === 307);
  assert.deepEqual(paths, ['/auth/refresh']);
});

test('a download is redirected to another server, which gets no token', async (t) => {
  const tokens = [];
  const store = await serve(t, (request, response) => {
    tokens.push(request.headers.authorization);
    response.end('bytes');
  });
  const transport = new Transport(await serve(t, (request, response) => {
    tokens.push(request.headers.authorization);
    response.writeHead(302, { Location: `${store}${request.url}` }).end();
  }));
  const file = await transport.download('/messages/1/thumbnail', { token: 'secret', query: { width: 320 } });
  assert.equal(await file.text(), 'bytes');
  assert.deepEqual(tokens, ['Bearer secret', undefined]);
});

test('the url of a file has the prefix of the base url', async (t) => {
  const paths = [];
  const base = await serve(t, (request, response) => {
    paths.push(request.url);
    response.end('bytes');
  });
  await new Transport(`${base}/api`).download('/api/messages/1/file');
  await new Transport(base).download('/api/messages/1/file');
  assert.deepEqual(paths, ['/api/messages/1/file', '/api/messages/1/file']);
});
