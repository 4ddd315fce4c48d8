// The client of the API. Its files are those of clients/typescript/src.

import { ChatClient, WebStorage } from './sdk/index.js';

/** Each tab has a session and an outbox of its own. */
export const client = new ChatClient({ baseUrl: '/api', storage: new WebStorage(sessionStorage) });
