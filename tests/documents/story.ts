// A conversation by the client that openapi-typescript and openapi-fetch make from the API document. `GATEWAY_URL` names a running
// stack. Ends with an error if an answer is another one than expected.

import createClient from 'openapi-fetch';
import type { paths } from './api.js';

const PASSWORD = 'Test1234!@';
const baseUrl = `${process.env.GATEWAY_URL}/api`;

/** The data of an answer. */
function dataOf<Data>({ data, error }: { data?: Data; error?: unknown }): Data {
  if (data === undefined) throw new Error(JSON.stringify(error));
  return data;
}

function equal(actual: unknown, expected: unknown): void {
  if (actual !== expected) throw new Error(`${actual} instead of ${expected}`);
}

async function signUp(name: string) {
  const api = createClient<paths>({ baseUrl });
  const username = `${name}_${crypto.randomUUID().slice(0, 8)}`;
  const email = `${username}@example.com`;
  const user = dataOf(await api.POST('/auth/register', { body: { email, username, password: PASSWORD } }));
  const tokens = dataOf(await api.POST('/auth/login/json', { body: { email, password: PASSWORD } }));
  api.use({
    onRequest({ request }) {
      request.headers.set('Authorization', `Bearer ${tokens.access_token}`);
    },
  });
  return { api, id: user.id };
}

const [ann, bob] = [await signUp('ann'), await signUp('bob')];

const request = dataOf(await ann.api.POST('/friends/request', { body: { user_id_2: bob.id, message: 'Hello' } }));
equal(request.status, 'pending');
const accepted = dataOf(
  await bob.api.PUT('/friends/status/{requester_user_id}', {
    params: { path: { requester_user_id: ann.id } },
    body: { action: 'accept' },
  }),
);
equal('status' in accepted && accepted.status, 'accepted');

const room = dataOf(await ann.api.POST('/chat-rooms', { body: { participant_ids: [bob.id] } }));
const path = { id: room.id };
const sent = dataOf(await ann.api.POST('/messages/{id}', { params: { path }, body: { content: '안녕하세요 👋' } }));

const page = dataOf(await bob.api.GET('/messages/{id}', { params: { path, query: { limit: 10 } } }));
equal(page.messages.length, 1);
equal(page.messages[0]?.id, sent.id);
equal(page.messages[0]?.content, '안녕하세요 👋');

const refused = await ann.api.GET('/messages/{id}', { params: { path: { id: 2_000_000_000 } } });
equal(refused.error?.error, 'resource_not_found');
