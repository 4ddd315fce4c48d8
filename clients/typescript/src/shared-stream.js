// One stream for all tabs of a browser.
//
// A browser opens at most six connections to a server over HTTP/1.1, so the tabs of one user share one stream: the tab
// that holds a Web Lock opens it and passes its events on through a BroadcastChannel. When that tab closes, another one
// gets the lock and resumes.

/**
 * @import { StreamEvent, StreamOptions } from './types.js'
 *
 * @typedef {object} Listener
 * @property {(event: StreamEvent) => void} onEvent Receives every event. The first one is `connected`.
 * @property {(isLive: boolean) => void} onStatus Receives each change of the connection.
 * @property {(error: unknown) => void} onError Receives the error that ends the stream for good.
 *
 * @typedef {(options: StreamOptions) => AsyncIterable<StreamEvent>} Open
 *
 * @typedef {{ event: StreamEvent } | { isLive: boolean } | { joins: string }
 *   | { greets: string, isLive: boolean, lastEventId: string }} Notice
 */

/**
 * Follows the stream of a user until the returned function is called.
 *
 * @param {number} userId
 * @param {Open} open
 * @param {Listener} listener
 * @returns {() => void}
 */
export function shareStream(userId, open, listener) {
  const closing = new AbortController();
  const { signal } = closing;
  let lastEventId = '';
  /** @type {boolean | null} */ let isLive = null;

  /** @param {StreamEvent} event */
  function take(event) {
    lastEventId = event.id || lastEventId;
    listener.onEvent(event);
  }

  /** @param {boolean} live */
  function takeStatus(live) {
    isLive = live;
    listener.onStatus(live);
  }

  /**
   * Keeps the stream open and passes on what it brings.
   *
   * @param {(notice: Notice) => void} passOn
   */
  async function follow(passOn) {
    const onStatus = (/** @type {boolean} */ live) => {
      passOn({ isLive: live });
      takeStatus(live);
    };
    for await (const event of open({ lastEventId, signal, onStatus })) {
      passOn({ event });
      take(event);
    }
  }

  // Browsers have locks only in pages from https or from localhost. In another page, each tab has a stream of its own.
  if (!navigator.locks) {
    follow(() => {}).catch(listener.onError);
    return () => closing.abort();
  }

  const channel = new BroadcastChannel(`stream-${userId}`);
  const own = crypto.randomUUID();
  let holdsStream = false;

  /** @param {MessageEvent<Notice>} message */
  channel.onmessage = ({ data: notice }) => {
    if ('event' in notice) take(notice.event);
    else if ('joins' in notice) {
      if (holdsStream && isLive !== null) channel.postMessage({ greets: notice.joins, isLive, lastEventId });
    } else if (!('greets' in notice)) takeStatus(notice.isLive);
    else if (notice.greets === own && isLive === null) {
      lastEventId = notice.lastEventId;
      takeStatus(notice.isLive);
      if (notice.isLive) take({ name: 'connected', data: { message: '', user_id: userId }, id: lastEventId });
    }
  };
  // A tab that opens later has missed `connected`, so the tab with the stream tells it.
  channel.postMessage({ joins: own });

  const holding = navigator.locks.request(channel.name, { signal }, async () => {
    holdsStream = true;
    await follow((notice) => channel.postMessage(notice));
  });
  holding
    .catch((error) => {
      // The request for the lock ends with an error if the tab stops waiting for it.
      if (!signal.aborted) listener.onError(error);
    })
    .finally(() => channel.close());
  return () => closing.abort();
}
