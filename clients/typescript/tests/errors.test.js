// The classes of errors, and the delays between attempts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff } from '../src/backoff.js';
import * as errors from '../src/errors.js';

const answer = (status, body, headers) => new Response(body && JSON.stringify(body), { status, headers });

test('each status has a class', async () => {
  const kinds = {
    400: errors.InvalidRequestError, 401: errors.AuthenticationError, 403: errors.PermissionDeniedError,
    404: errors.NotFoundError, 409: errors.ConflictError, 422: errors.ValidationError, 429: errors.RateLimitError,
    500: errors.ServerError, 503: errors.UnavailableError,
  };
  for (const [status, kind] of Object.entries(kinds)) {
    const error = await errors.errorOf(answer(Number(status)));
    assert.equal(error.constructor, kind);
    assert.equal(error.name, kind.name);
    assert.equal(error.isTransient, ['429', '500', '503'].includes(status));
  }
  assert.ok((await errors.errorOf(answer(401, { error: 'MFA_REQUIRED' }))) instanceof errors.SecondFactorError);
});

test('an error has the fields of the answer', async () => {
  const field = { field: 'email', message: 'Not an e-mail address', value: 'x' };
  const body = { error: 'validation_error', message: 'Invalid', request_id: 'r', validation_errors: [field] };
  const error = await errors.errorOf(answer(422, body, { 'Retry-After': '3' }));
  const { code, message, requestId, retryAfterMs, fields } = error;
  assert.deepEqual([code, message, requestId, retryAfterMs, fields], ['validation_error', 'Invalid', 'r', 3000, [field]]);
});

test('Retry-After is a number or a date', () => {
  const inAMinute = errors.retryAfterMs(new Date(Date.now() + 60_000).toUTCString());
  assert.ok(Math.abs(inAMinute - 60_000) < 2_000);
  assert.equal(errors.retryAfterMs('7'), 7_000);
  assert.equal(errors.retryAfterMs('Thu, 01 Jan 1970 00:00:00 GMT'), 0);
  assert.equal(errors.retryAfterMs('soon'), null);
});

test('a long Retry-After is cut to what a timer can wait', () => {
  for (const value of [String(30 * 86_400), '9'.repeat(400), 'Fri, 31 Dec 9999 23:59:59 GMT']) {
    assert.equal(errors.retryAfterMs(value), 3_600_000);
  }
});

test('delays double, have jitter and a limit', () => {
  const backoff = new Backoff(1000, 4000);
  for (const step of [1000, 2000, 4000, 4000]) {
    const delay = backoff.next();
    assert.ok(step / 2 <= delay && delay <= step);
  }
  backoff.reset();
  assert.ok(backoff.next() <= 1000);
  assert.equal(backoff.next(9000), 9000);
});
