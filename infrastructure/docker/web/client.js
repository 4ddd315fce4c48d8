// The API behind the gateway: requests, the session's tokens, and what a refusal means.

const STORED = 'session';
/** An access token that ends so soon is renewed first. */
const RENEW_BEFORE_MS = 60_000;
const PATIENCE_MS = 15_000;

let session = JSON.parse(sessionStorage.getItem(STORED));
let renewing = null;
let onEnd = () => {};

/** A tab that was duplicated has the same session: who renews tells, for a refresh token may be used only once. */
const tabs = new BroadcastChannel(STORED);
tabs.onmessage = ({ data }) => {
  if (session?.refresh_token === data.used) keep(data.session);
};

/** What the server said instead of an answer; status 0 where it said nothing. */
export class Refusal extends Error {
  constructor(status, body = {}, retryAfter = null) {
    super(body.message ?? 'unreachable');
    this.status = status;
    this.code = body.error ?? '';
    this.fields = body.validation_errors ?? [];
    this.retryAfterMs = Number(retryAfter) * 1000;
  }

  /** The same request may succeed later. */
  get passes() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

export const loggedIn = () => session !== null;

export function whenSessionEnds(listener) {
  onEnd = listener;
}

export async function logIn(email, password) {
  keep(await answered(await ask('POST', '/auth/login/json', { email, password })));
}

export async function logOut() {
  await call('POST', '/auth/logout').catch(() => {});
  forget();
}

/** Asks as whoever is logged in; renews the access token when its time comes. */
export async function call(method, path, body) {
  if (session && session.ends - Date.now() < RENEW_BEFORE_MS) await renew();
  let answer = await ask(method, path, body);
  if (answer.status === 401 && session) {
    await renew();
    answer = await ask(method, path, body);
  }
  return answered(answer);
}

async function ask(method, path, body) {
  const headers = {};
  if (session) headers.Authorization = `Bearer ${session.access_token}`;
  if (body) headers['Content-Type'] = 'application/json';
  try {
    return await fetch(`/api${path}`, {
      method, headers, body: body && JSON.stringify(body), cache: 'no-store', signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch {
    throw new Refusal(0);
  }
}

async function answered(answer) {
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refusal(answer.status, body, answer.headers.get('Retry-After'));
  return body;
}

function renew() {
  renewing ??= rotate().finally(() => { renewing = null; });
  return renewing;
}

async function rotate() {
  const used = session.refresh_token;
  try {
    keep(await answered(await ask('POST', '/auth/refresh', { refresh_token: used })));
    tabs.postMessage({ used, session });
  } catch (refusal) {
    const elsewhere = session && session.refresh_token !== used;
    if (elsewhere) return;
    if (refusal.status === 401) {
      forget();
      onEnd();
    }
    throw refusal;
  }
}

function keep(tokens) {
  session = { ...tokens, ends: tokens.ends ?? Date.now() + tokens.expires_in * 1000 };
  sessionStorage.setItem(STORED, JSON.stringify(session));
}

function forget() {
  session = null;
  sessionStorage.clear();
}
