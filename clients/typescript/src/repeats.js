// Recognizes messages that a stream has delivered before.

/** Rooms whose newest position is remembered. */
const MAX_ROOMS = 10_000;

/** The newest position of a message in each room. Positions rise within a room, so a lower one is a repeat. */
export class Repeats {
  /** @type {Map<number, number>} */ #newest = new Map();

  /**
   * Whether the message was delivered before. If not, it counts as delivered from now on.
   *
   * @param {number} room
   * @param {number} position
   */
  contains(room, position) {
    if ((this.#newest.get(room) ?? 0) >= position) return true;
    // A map keeps the order of insertion, so the first room is the one that was silent longest.
    this.#newest.delete(room);
    this.#newest.set(room, position);
    if (this.#newest.size > MAX_ROOMS) this.#newest.delete(/** @type {number} */ (this.#newest.keys().next().value));
    return false;
  }

  /** Positions can begin again after `resync`, because the server's store may be a restored one. */
  clear() {
    this.#newest.clear();
  }
}
