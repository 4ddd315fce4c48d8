// The transfer of bytes to the object store by a presigned request. XMLHttpRequest tells the progress, which `fetch` does not.

import { Backoff, pause } from './sdk/backoff.js';
import { ChatError } from './sdk/index.js';

const MAX_ATTEMPTS = 3;
const FIRST_DELAY_MS = 1_000;
const LONGEST_DELAY_MS = 4_000;
/** A transfer that makes no progress for this time is given up. */
const STALLED_AFTER_MS = 30_000;

/** The store has not taken the bytes. `status` is that of its answer, or 0 if none arrived. */
export class TransferError extends ChatError {
  constructor(status) {
    super(`the store answered with status ${status}`);
    this.status = status;
  }

  get isTransient() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

/**
 * Stores a blob, and calls `onProgress` with the bytes that were sent. Repeats a transfer that may succeed later. Returns the
 * tag that the store gave the blob.
 */
export async function put(url, headers, blob, signal, onProgress) {
  const backoff = new Backoff(FIRST_DELAY_MS, LONGEST_DELAY_MS);
  for (let attempt = 1; ; attempt++) {
    try {
      return await putOnce(url, headers, blob, signal, onProgress);
    } catch (error) {
      if (signal.aborted || !error.isTransient || attempt === MAX_ATTEMPTS) throw error;
      await pause(backoff.next(null), signal);
    }
  }
}

function putOnce(url, headers, blob, signal, onProgress) {
  const request = new XMLHttpRequest();
  let stalled;
  let abort;
  const transfer = new Promise((resolve, reject) => {
    const fail = () => reject(new TransferError(request.status));
    abort = () => {
      fail();
      request.abort();
    };
    const progress = (bytes) => {
      clearTimeout(stalled);
      stalled = setTimeout(abort, STALLED_AFTER_MS);
      onProgress(bytes);
    };
    request.upload.onprogress = ({ loaded }) => progress(loaded);
    request.onload = () => (request.status >= 200 && request.status < 300 ? resolve(request.getResponseHeader('ETag')) : fail());
    request.onerror = fail;
    request.open('PUT', url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    signal.addEventListener('abort', abort);
    progress(0);
    if (signal.aborted) fail();
    else request.send(blob);
  });
  return transfer.finally(() => {
    clearTimeout(stalled);
    signal.removeEventListener('abort', abort);
  });
}
