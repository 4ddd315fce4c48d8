// The public face of the package.

export { ChatClient } from './client.js';
export * from './errors.js';
export { Outbox } from './outbox.js';
export { MemoryStorage, WebStorage } from './storage.js';
