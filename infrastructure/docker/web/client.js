// HTTP client of the API behind the gateway: requests, the session's tokens, and errors.

const STORAGE_KEY = 'session';
/** An access token that expires sooner than this is refreshed before a request. */
const REFRESH_BEFORE_MS = 60_000;
const TIMEOUT_MS = 15_000;

let session = JSON.parse(sessionStorage.getItem(STORAGE_KEY));
let refreshing = null;
let sessionEnded = () => {};

/** A duplicated tab shares the session. A refresh token is valid once, so a tab that uses it sends the new tokens. */
const tabs = new BroadcastChannel(STORAGE_KEY);
tabs.onmessage = ({ data }) => {
  if (session?.refresh_token === data.used) saveSession(data.session);
};

/** An error response of the API. The status is 0 if there was no response. */
export class ApiError extends Error {
  constructor(status, body = {}, retryAfter = null) {
    super(body.message ?? 'unreachable');
    this.status = status;
    this.code = body.error ?? '';
    this.fields = body.validation_errors ?? [];
    this.retryAfterMs = Number(retryAfter) * 1000;
  }

  /** The same request may succeed later. */
  get isTransient() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

export const loggedIn = () => session !== null;

export function onSessionEnd(listener) {
  sessionEnded = listener;
}

/** `mfa_code` is the code of a second factor; undefined if the account needs none. */
export async function logIn(email, password, mfa_code) {
  saveSession(await parse(await request('POST', '/auth/login/json', { email, password, mfa_code })));
}

export async function logOut() {
  await call('POST', '/auth/logout').catch(() => {});
  clearSession();
}

/** Calls the API with the access token of the session, which is refreshed when it is about to expire or rejected. */
export async function call(method, path, body) {
  if (session && session.ends - Date.now() < REFRESH_BEFORE_MS) await refresh();
  let response = await request(method, path, body);
  if (response.status === 401 && session) {
    await refresh();
    response = await request(method, path, body);
  }
  return parse(response);
}

async function request(method, path, body) {
  const headers = {};
  if (session) headers.Authorization = `Bearer ${session.access_token}`;
  if (body) headers['Content-Type'] = 'application/json';
  try {
    return await fetch(`/api${path}`, {
      method, headers, body: body && JSON.stringify(body), cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    throw new ApiError(0);
  }
}

async function parse(response) {
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(response.status, body, response.headers.get('Retry-After'));
  return body;
}

/** Concurrent callers share one refresh. */
function refresh() {
  refreshing ??= rotateTokens().finally(() => { refreshing = null; });
  return refreshing;
}

async function rotateTokens() {
  const used = session.refresh_token;
  try {
    saveSession(await parse(await request('POST', '/auth/refresh', { refresh_token: used })));
    tabs.postMessage({ used, session });
  } catch (error) {
    const refreshedByOtherTab = session && session.refresh_token !== used;
    if (refreshedByOtherTab) return;
    if (error.status === 401) {
      clearSession();
      sessionEnded();
    }
    throw error;
  }
}

function saveSession(tokens) {
  session = { ...tokens, ends: tokens.ends ?? Date.now() + tokens.expires_in * 1000 };
  sessionStorage.setItem(STORAGE_KEY, JSON.stringify(session));
}

function clearSession() {
  session = null;
  sessionStorage.clear();
}
