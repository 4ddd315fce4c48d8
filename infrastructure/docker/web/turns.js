// Tasks of which a bounded number runs at a time.

/** Returns a function that runs tasks in the order of its calls, at most `max` at a time. */
export function turns(max) {
  const waiting = [];
  let running = 0;
  return async (task) => {
    while (running >= max) await new Promise((resolve) => { waiting.push(resolve); });
    running++;
    try {
      return await task();
    } finally {
      running--;
      waiting.shift()?.();
    }
  };
}
