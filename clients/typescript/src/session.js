// The login of a user and the renewal of its tokens.

import { AuthenticationError, ChatError, NotLoggedInError, SecondFactorError, SessionEndedError } from './errors.js';
import { Transport } from './transport.js';

/** @import { Storage, TokenAnswer, Tokens } from './types.js' */

const KEY = 'session';
/** An access token that expires sooner than this is renewed before a request. */
const RENEW_BEFORE_MS = 60_000;

/**
 * The tokens of one user, in a storage that several tabs or processes can share. A refresh token is valid once. Its
 * predecessor can be exchanged for 30 s more and gives the same successor, so a renewal whose answer was lost is
 * repeated with the same token.
 */
export class Session {
  #transport;
  #storage;
  /** @type {Tokens | null} */ #tokens;
  /** @type {Promise<void> | null} */ #renewing = null;
  /** @type {BroadcastChannel | null} */ #tabs = null;
  #isLoggingOut = false;
  /** Called when the server has ended the session, but not in a logout. */
  onEnd = () => {};

  /**
   * @param {Transport} transport
   * @param {Storage} storage
   */
  constructor(transport, storage) {
    this.#transport = transport;
    this.#storage = storage;
    this.#tokens = tokensFrom(storage.load(KEY));
    // A duplicated tab has a copy of the session in its `sessionStorage`. The tab that renews it sends the new tokens.
    if (typeof document === 'object') {
      this.#tabs = new BroadcastChannel(KEY);
      this.#tabs.onmessage = ({ data }) => {
        if (this.#tokens?.refreshToken === data.used) this.#replace(data.tokens);
      };
    }
  }

  get isLoggedIn() {
    return this.#tokens !== null;
  }

  /** The id of the user. Throws a `NotLoggedInError` without a session. */
  get userId() {
    return this.#current().userId;
  }

  /**
   * Opens a session. A function as `code` is called only if a code is needed.
   *
   * @param {string} email
   * @param {string} password
   * @param {string | (() => string | Promise<string>)} [code]
   */
  async login(email, password, code) {
    const send = (/** @type {string | undefined} */ mfa_code) =>
      this.#transport.send('POST', '/auth/login/json', { body: { email, password, mfa_code } });
    let answer;
    try {
      answer = await send(typeof code === 'string' ? code : undefined);
    } catch (error) {
      const asks = error instanceof SecondFactorError && error.code === 'MFA_REQUIRED' && typeof code === 'function';
      if (!asks) throw error;
      answer = await send(await code());
    }
    this.#save(tokensOf(answer.body));
  }

  /** Ends the session. The tokens are forgotten even if the server cannot be reached. */
  async logout() {
    const user = this.userId;
    this.#isLoggingOut = true;
    try {
      await this.authorized((token) => this.#transport.send('POST', '/auth/logout', { token, idempotent: true }));
    } catch (error) {
      // The session had ended before, or the answer of the first attempt was lost.
      if (!(error instanceof SessionEndedError)) throw error;
    } finally {
      this.#isLoggingOut = false;
      // Another user may have logged in meanwhile.
      if (this.#tokens?.userId === user) this.#replace(null);
    }
  }

  /**
   * Runs a request of a user with an access token, and once more with a new one if the server refuses the first. Throws
   * a `NotLoggedInError` if another user has logged in since.
   *
   * @template T
   * @param {(token: string) => Promise<T>} request
   * @param {number} [user] By default the user who is logged in now.
   */
  async authorized(request, user = this.userId) {
    const token = await this.#tokenOf(user);
    try {
      return await request(token);
    } catch (error) {
      if (!(error instanceof AuthenticationError)) throw error;
    }
    await this.renew(token);
    return request(await this.#tokenOf(user));
  }

  /** @param {number} user */
  async #tokenOf(user) {
    const token = await this.accessToken();
    if (this.userId !== user) throw new NotLoggedInError('another user has logged in');
    return token;
  }

  /** A token that is valid for some time. Throws a `NotLoggedInError` or a `SessionEndedError`. */
  async accessToken() {
    const tokens = this.#current();
    if (Date.now() < tokens.renewAt) return tokens.accessToken;
    try {
      await this.renew(tokens.accessToken);
    } catch (error) {
      const canWait = error instanceof ChatError && error.isTransient && Date.now() < tokens.expiresAt;
      if (!canWait) throw error;
    }
    return this.#current().accessToken;
  }

  /**
   * Replaces the access token. Concurrent callers share one request.
   *
   * @param {string} replaced
   */
  async renew(replaced) {
    if (this.#current().accessToken !== replaced) return;
    this.#renewing ??= this.#rotate(replaced).finally(() => { this.#renewing = null; });
    await this.#renewing;
  }

  /** @param {string} replaced */
  async #rotate(replaced) {
    // Another tab or process that shares the storage may have renewed the tokens.
    const used = this.#adoptStored();
    if (used.accessToken !== replaced) return;
    const body = { refresh_token: used.refreshToken };
    try {
      const answer = await this.#transport.send('POST', '/auth/refresh', { body, idempotent: true });
      const tokens = tokensOf(answer.body);
      // A logout or a login in the meantime stays one.
      if (this.#tokens?.refreshToken !== used.refreshToken) return;
      this.#replace(tokens);
      this.#tabs?.postMessage({ used: used.refreshToken, tokens });
    } catch (error) {
      if (!(error instanceof AuthenticationError)) throw error;
      if (this.#adoptStored().refreshToken !== used.refreshToken) return;
      this.#replace(null);
      if (!this.#isLoggingOut) this.onEnd();
      throw new SessionEndedError(error.status, { error: error.code, message: error.message }, new Headers());
    }
  }

  /** Takes newer tokens of the same user. A login of another user elsewhere does not change this session. */
  #adoptStored() {
    const stored = tokensFrom(this.#storage.load(KEY));
    if (stored && stored.userId === this.#tokens?.userId) this.#tokens = stored;
    return this.#current();
  }

  #current() {
    if (!this.#tokens) throw new NotLoggedInError('log in first');
    return this.#tokens;
  }

  /**
   * Replaces the tokens, in the storage too unless another user has logged in there.
   *
   * @param {Tokens | null} tokens
   */
  #replace(tokens) {
    const stored = tokensFrom(this.#storage.load(KEY));
    if (!stored || stored.userId === this.#tokens?.userId) this.#save(tokens);
    else this.#tokens = tokens;
  }

  /** @param {Tokens | null} tokens */
  #save(tokens) {
    this.#tokens = tokens;
    this.#storage.save(KEY, tokens && JSON.stringify(tokens));
  }
}

/**
 * The tokens of an answer that has just arrived.
 *
 * @param {TokenAnswer} answer
 * @returns {Tokens}
 */
function tokensOf(answer) {
  const lifetime = answer.expires_in * 1000;
  const now = Date.now();
  return {
    accessToken: answer.access_token,
    refreshToken: answer.refresh_token,
    userId: answer.user_id,
    expiresAt: now + lifetime,
    // A lifetime of seconds, as in a test, leaves most of it between two renewals.
    renewAt: now + lifetime - Math.min(RENEW_BEFORE_MS, lifetime / 4),
  };
}

/**
 * The stored tokens. Null if there are none, or if another version of this package stored them.
 *
 * @param {string | null} text
 * @returns {Tokens | null}
 */
function tokensFrom(text) {
  try {
    const tokens = text && JSON.parse(text);
    return tokens?.refreshToken ? tokens : null;
  } catch {
    return null;
  }
}
