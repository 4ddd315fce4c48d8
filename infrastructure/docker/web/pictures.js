// The pictures of messages. An <img> sends no access token, so a script loads them, and shows them by `blob:` URLs.

import { client } from './client.js';
import { ChatError } from './sdk/index.js';
import { turns } from './turns.js';
import { draw } from './ui.js';

/** The widths of thumbnails. */
export const SMALL = 320;
export const LARGE = 1280;

const MAX_LOADS = 4;
const TIMEOUT_MS = 30_000;
/** The bytes of the pictures that stay loaded. A thumbnail of 320 pixels has some 20 KB. */
const MAX_BYTES = 32_000_000;
/** A picture is loaded when it is this near to the view of the list. */
const NEAR = '100% 0px';

const inTurn = turns(MAX_LOADS);

/** The loaded pictures by message and width, the one that was shown last at the end. */
const loaded = new Map();
const loading = new Set();

const keyOf = (id, width) => `${id} ${width}`;

/** The `blob:` URL of a picture, if it is loaded. */
export function urlOf(id, width) {
  const key = keyOf(id, width);
  const picture = loaded.get(key);
  if (!picture) return null;
  loaded.delete(key);
  loaded.set(key, picture);
  return picture.url;
}

/** Loads a picture and draws it. Without an answer, the page goes on to show what it has. */
export async function load(id, width) {
  const key = keyOf(id, width);
  if (loaded.has(key) || loading.has(key)) return;
  loading.add(key);
  try {
    const bytes = await inTurn(() =>
      client.download(`/messages/${id}/thumbnail`, { query: { width }, signal: AbortSignal.timeout(TIMEOUT_MS) }));
    // The message may have been deleted, or the session may have ended.
    if (loading.has(key)) keep(key, bytes);
  } catch (error) {
    if (!(error instanceof ChatError)) throw error;
  } finally {
    loading.delete(key);
  }
}

function keep(key, bytes) {
  loaded.set(key, { url: URL.createObjectURL(bytes), size: bytes.size });
  let total = [...loaded.values()].reduce((sum, { size }) => sum + size, 0);
  for (const [oldest, { size }] of loaded) {
    if (total <= MAX_BYTES || oldest === key) break;
    revoke(oldest);
    total -= size;
  }
  draw();
}

/** Forgets the pictures of a message that was deleted. */
export function forget(id) {
  for (const width of [SMALL, LARGE]) revoke(keyOf(id, width));
}

/** Forgets all pictures, at the end of the session. */
export function forgetAll() {
  for (const key of [...loaded.keys(), ...loading]) revoke(key);
}

function revoke(key) {
  URL.revokeObjectURL(loaded.get(key)?.url);
  loaded.delete(key);
  loading.delete(key);
}

let observer = null;

/** Loads the pictures that come near the view of a list of messages. Called after each draw. */
export function watch(list) {
  if (observer?.root !== list) {
    observer?.disconnect();
    observer = list && new IntersectionObserver(loadNear, { root: list, rootMargin: NEAR });
  }
  for (const picture of list?.querySelectorAll('[data-unloaded]') ?? []) observer.observe(picture);
}

function loadNear(changes) {
  for (const { isIntersecting, target } of changes) {
    if (isIntersecting && target.dataset.unloaded) load(target.dataset.unloaded, SMALL);
  }
}
