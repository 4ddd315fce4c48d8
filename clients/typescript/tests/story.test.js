// The first conversation of the README, and the rest of the API, against a running stack.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as errors from '../src/errors.js';
import { ChatClient } from '../src/index.js';
import { api, collect, contentsIn, PASSWORD, signUp, twoInARoom, withoutStack } from './stack.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

describe('story', { skip: withoutStack }, () => {
  test('the conversation of the README runs as it is written', async () => {
    const readme = await readFile(`${ROOT}/README.md`, 'utf8');
    const blocks = [...readme.matchAll(/```js\n(.*?)```/gs)].map(([, block]) => block);
    // A package can import itself by its name, from its own folder.
    const program = blocks.join('').replace('http://localhost:8000/api', api);
    const args = ['--input-type=module', '--eval', program];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT, timeout: 60_000 });
    assert.equal(stdout, 'minjun: 안녕하세요 👋\n거기 있어요?\n');
  });

  test('friends find each other and change messages', async () => {
    const { ann: { chat: ann }, bob: { chat: bob, username }, room } = await twoInARoom();
    assert.deepEqual((await ann.findUsers(username)).map(({ id }) => id), [bob.userId]);
    await ann.requestFriendship(bob.userId, '안녕');
    assert.equal((await bob.friendRequests()).received_requests[0].user_id, ann.userId);
    await bob.acceptFriendship(ann.userId);
    assert.deepEqual((await collect(ann.friends())).map(({ user_id }) => user_id), [bob.userId]);

    const message = await ann.send(room, 'Half a thought');
    assert.deepEqual(await ann.send(room, 'again', { clientMessageId: message.client_message_id }), message);
    assert.equal((await bob.markRead(room)).read_count, 1);
    assert.equal((await bob.react(message.id, '👍')).reactions[0].count, 1);
    assert.deepEqual((await bob.react(message.id, '👍', { add: false })).reactions, []);
    assert.equal((await ann.edit(message.id, 'A thought')).is_edited, true);
    const reply = await bob.send(room, 'Indeed', { replyTo: message.id });
    assert.deepEqual((await collect(ann.searchMessages('inDEED', room))).map(({ id }) => id), [reply.id]);
    await ann.delete(message.id);
    assert.deepEqual(await contentsIn(bob, room), ['Indeed']);
    const unread = await bob.request('GET', '/messages/room/{room_id}/unread-count', { path: { room_id: room } });
    assert.deepEqual(unread, { unread_count: 0 });
  });

  test('iterators read all pages', async () => {
    const { ann: { chat: ann }, bob: { chat: bob }, room } = await twoInARoom();
    const contents = Array.from({ length: 120 }, (_, number) => String(number));
    for (const content of contents) ann.outbox.enqueue(room, content);
    await ann.outbox.flush();
    assert.deepEqual(await contentsIn(bob, room), contents);
    assert.deepEqual((await collect(ann.rooms())).map(({ id }) => id), [room]);
  });

  test('each refusal has its class', async () => {
    const { ann: { chat: ann, email }, room } = await twoInARoom();
    const stranger = new ChatClient({ baseUrl: api });
    await assert.rejects(stranger.me(), errors.NotLoggedInError);
    await assert.rejects(stranger.login(email, 'Wrong1234!@'), errors.AuthenticationError);
    const taken = { email, username: 'another_name', password: PASSWORD };
    await assert.rejects(stranger.register(taken), errors.ConflictError);
    await assert.rejects(ann.send(room, ''), (error) =>
      error instanceof errors.ValidationError && error.fields[0].field === 'content' && Boolean(error.requestId));
    await assert.rejects(ann.edit('0'.repeat(24), 'x'), errors.NotFoundError);
    const { chat: eve } = await signUp('eve');
    await assert.rejects(eve.send(room, 'x'), errors.PermissionDeniedError);
    await assert.rejects(eve.stream(room).next(), errors.PermissionDeniedError);
  });

  test('a second factor is asked for at the login', async () => {
    const { chat, email } = await signUp('careful');
    const { secret } = await chat.request('POST', '/auth/mfa', { body: { current_password: PASSWORD } });
    const { recovery_codes } = await chat.request('POST', '/auth/mfa/confirm', { body: { code: totp(secret) } });
    await chat.logout();
    assert.equal(chat.isLoggedIn, false);
    await assert.rejects(chat.login(email, PASSWORD), errors.SecondFactorError);
    await chat.login(email, PASSWORD, () => recovery_codes[0]);
    assert.equal((await chat.me()).email, email);
  });
});

/** The code of an authenticator app (RFC 6238). */
function totp(secret) {
  const bits = [...secret].map((digit) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(digit).toString(2).padStart(5, '0'));
  const key = Buffer.from(bits.join('').match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)));
  const digest = createHmac('sha1', key).update(counter).digest();
  const offset = digest[19] & 15;
  return String((digest.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}
