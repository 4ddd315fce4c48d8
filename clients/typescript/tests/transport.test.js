// Requests to a server that the tests make up.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { UnexpectedAnswerError } from '../src/index.js';
import { Transport } from '../src/transport.js';

test('a redirect is not followed', async (t) => {
  const paths = [];
  const server = createServer((request, response) => {
    paths.push(request.url);
    response.writeHead(307, { Location: '/elsewhere' }).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const transport = new Transport(`http://127.0.0.1:${server.address().port}`);
  await assert.rejects(transport.send('POST', '/auth/refresh', { body: {} }), (error) =>
    error instanceof UnexpectedAnswerError && error.status === 307);
  assert.deepEqual(paths, ['/auth/refresh']);
});
