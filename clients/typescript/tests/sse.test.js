// The parser of server-sent events.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventParser, MAX_EVENT_LENGTH } from '../src/sse.js';

const bytes = (text) => new TextEncoder().encode(text);

function parse(...chunks) {
  const parser = new EventParser();
  return chunks.flatMap((chunk) => [...parser.feed(typeof chunk === 'string' ? bytes(chunk) : chunk)]);
}

test('all line ends and all cuts give the same events', () => {
  const lines = ['event: new_message', 'retry: 3968', 'data: {"content":"안녕 👋"}', 'id: 7.1', '', ': keep-alive', ''];
  const expected = [{ name: 'new_message', data: '{"content":"안녕 👋"}', id: '7.1', retryMs: 3968 }];
  for (const end of ['\n', '\r\n', '\r']) {
    // A last CR could be the first half of a CR LF, so the text goes on after it.
    const text = bytes([...lines, ': next', ''].join(end));
    for (let cut = 0; cut <= text.length; cut++) {
      assert.deepEqual(parse(text.slice(0, cut), text.slice(cut)), expected, `${JSON.stringify(end)} at ${cut}`);
    }
    assert.deepEqual(parse(...[...text].map((byte) => Uint8Array.of(byte))), expected);
  }
});

test('a byte order mark is dropped at the start only', () => {
  const event = { name: 'message', data: 'a', id: '', retryMs: null };
  assert.deepEqual(parse(Uint8Array.of(0xef), Uint8Array.of(0xbb, 0xbf), 'data: a\n\n'), [event]);
  assert.deepEqual(parse('data: a\n\n\ufeffdata: b\n\n'), [event]);
});

test('data lines are joined and one space is dropped', () => {
  assert.equal(parse('data:a\ndata:  b\ndata\n\n')[0].data, 'a\n b\n');
});

test('comments, unknown fields and events without data give no event', () => {
  assert.deepEqual(parse(': hello\n\nevent: typing\n\nother: x\n\n'), []);
});

test('an id lasts, and an event without data sets it', () => {
  const events = parse('id: 5\n\ndata: a\n\ndata: b\nid\n\ndata: c\nid: x\0y\n\n');
  assert.deepEqual(events.map(({ id }) => id), ['5', '', '']);
});

test('a retry that is no number is ignored', () => {
  assert.equal(parse('retry: 1s\ndata: a\n\n')[0].retryMs, null);
});

test('line separators of Unicode are part of the data', () => {
  assert.equal(parse('data: a\u2028b\x85c\x0bd\n\n')[0].data, 'a\u2028b\x85c\x0bd');
});

test('an event has a greatest length', () => {
  for (const field of ['data: ', ': ']) assert.throws(() => parse(field + 'x'.repeat(MAX_EVENT_LENGTH)), RangeError);
});
