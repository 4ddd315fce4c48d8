// The errors of the client: one class for each kind, under `ChatError`.

/**
 * @import { FieldError } from './types.js'
 *
 * @typedef {object} Envelope The body of an error answer, as far as it is one of the API.
 * @property {string} [error]
 * @property {string} [message]
 * @property {string | null} [request_id]
 * @property {FieldError[] | null} [validation_errors]
 */

/** The API asks for no longer wait. A timer for more than 24 days would end at once. */
const LONGEST_RETRY_AFTER_MS = 3_600_000;

/** The base of all errors of this package. */
export class ChatError extends Error {
  /**
   * @param {string} message
   * @param {ErrorOptions} [options]
   */
  constructor(message, options) {
    super(message, options);
    this.name = new.target.name;
  }

  /** Whether the same request may succeed later. */
  get isTransient() {
    return false;
  }
}

/** No answer arrived. The server may have carried out the request. */
export class NetworkError extends ChatError {
  get isTransient() {
    return true;
  }
}

/**
 * An answer that is not the API's arrived: a redirect, whose status is 0 in a browser, or the page of a proxy. The
 * network may need a login.
 */
export class UnexpectedAnswerError extends NetworkError {
  /** @param {number} status */
  constructor(status) {
    super(`an answer with status ${status} is not the API's`);
    this.status = status;
  }
}

/** The operation needs a session, and the client has none. */
export class NotLoggedInError extends ChatError {}

/** The outbox holds as many messages as it can. */
export class OutboxFullError extends ChatError {}

/** An error answer of the API. */
export class ApiError extends ChatError {
  /**
   * @param {number} status
   * @param {Envelope} body
   * @param {Headers} headers
   */
  constructor(status, body, headers) {
    super(body.message ?? `The server answered with status ${status}`);
    this.status = status;
    /** The code of the error, for programs. Empty if the answer comes from a proxy. */
    this.code = body.error ?? '';
    this.requestId = headers.get('X-Request-ID') ?? body.request_id ?? null;
    /** Milliseconds after which the server accepts the request, an hour at most; null if it does not say. */
    this.retryAfterMs = retryAfterMs(headers.get('Retry-After'));
    /** One entry for each invalid field. */
    this.fields = body.validation_errors ?? [];
  }
}

/** 400 and other client errors without a class of their own: the request breaks a rule that `code` names. */
export class InvalidRequestError extends ApiError {}

/** 422: the input is invalid. `fields` names each invalid field. */
export class ValidationError extends ApiError {}

/** 401: the credentials or the access token are not valid. */
export class AuthenticationError extends ApiError {}

/** 401 `MFA_REQUIRED` or `MFA_INVALID`: the code of the second factor is missing or wrong. */
export class SecondFactorError extends AuthenticationError {}

/** The refresh token is no longer valid. The user has to log in again. */
export class SessionEndedError extends AuthenticationError {}

/** 403: the caller may not do this, `BLOCKED` for example. */
export class PermissionDeniedError extends ApiError {}

/** 404: the resource does not exist, or the caller may not see it. */
export class NotFoundError extends ApiError {}

/** 409: the resource exists already. */
export class ConflictError extends ApiError {}

/** 429: too many requests. `retryAfterMs` is the time to wait. */
export class RateLimitError extends ApiError {
  get isTransient() {
    return true;
  }
}

/** 408, 502, 503 or 504: the server cannot answer now. */
export class UnavailableError extends ApiError {
  get isTransient() {
    return true;
  }
}

/** 500 or another server error. */
export class ServerError extends ApiError {
  get isTransient() {
    return true;
  }
}

/** @type {Map<number, typeof ApiError>} */
const BY_STATUS = new Map([
  [401, AuthenticationError],
  [403, PermissionDeniedError],
  [404, NotFoundError],
  [408, UnavailableError],
  [409, ConflictError],
  [422, ValidationError],
  [429, RateLimitError],
  [502, UnavailableError],
  [503, UnavailableError],
  [504, UnavailableError],
]);

/**
 * The error of an answer, whose body is read.
 *
 * @param {Response} response
 */
export async function errorOf(response) {
  const body = (await response.json().catch(() => null)) ?? {};
  const { status } = response;
  if (status < 400) return new UnexpectedAnswerError(status);
  let kind = BY_STATUS.get(status) ?? (status >= 500 ? ServerError : InvalidRequestError);
  if (status === 401 && (body.error === 'MFA_REQUIRED' || body.error === 'MFA_INVALID')) kind = SecondFactorError;
  return new kind(status, body, response.headers);
}

/**
 * The time of a `Retry-After`, which is a number of seconds or a date; an hour if it is longer. Null if there is none
 * that can be read.
 *
 * @param {string | null} value
 */
export function retryAfterMs(value) {
  if (value === null) return null;
  const wait = /^\d+$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(wait) ? null : Math.min(Math.max(0, wait), LONGEST_RETRY_AFTER_MS);
}
