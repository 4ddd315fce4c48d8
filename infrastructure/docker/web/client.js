// The client of the API. Its files are those of clients/typescript/src.

import { ChatClient, WebStorage } from './sdk/index.js';

const SESSION = 'session';
const ofBrowser = new WebStorage(localStorage);
const ofTab = new WebStorage(sessionStorage);
const storageOf = (key) => (key === SESSION ? ofBrowser : ofTab);

/** All tabs of the browser have one session. Each tab has an outbox of its own, which no other tab overwrites. */
export const client = new ChatClient({
  baseUrl: '/api',
  storage: {
    load: (key) => storageOf(key).load(key),
    save: (key, text) => storageOf(key).save(key, text),
  },
});

/** Calls `onChange()` when another tab logs in or out. A renewal of the tokens is no change. */
export function onSessionOfOtherTab(onChange) {
  const userOf = (session) => session && JSON.parse(session).userId;
  addEventListener('storage', ({ key, oldValue, newValue }) => {
    const isCleared = key === null;
    if (isCleared || (key === SESSION && userOf(oldValue) !== userOf(newValue))) onChange();
  });
}
