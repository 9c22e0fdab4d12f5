/**
 * Carries what a graph thread asks for to the main thread.
 *
 * 1. An ask goes at once, as long as there are few in a turn of the event loop: what follows may keep the thread busy.
 * 2. Of more, the rest follows in groups, each when the one before was taken. Who receives takes all messages that lie
 *    there before it turns to anything else: a graph that asks a hundred thousand times would keep everybody waiting.
 */
export interface ThreadAsk {
  readonly id: number;
  readonly ask: unknown;
  /** Memory of the ask that goes along instead of a copy. */
  readonly given: readonly ArrayBuffer[];
}

export interface AskOutbox {
  add(ask: ThreadAsk): void;
  /** The last group was taken. */
  took(): void;
}

const GROUP = 64;

export interface AskSending {
  one(ask: ThreadAsk): void;
  /** Answered by `took`, unless it throws. */
  group(asks: readonly ThreadAsk[]): void;
  /** Told of each ask that could not be sent what `one` or `group` threw. */
  failed(id: number, error: unknown): void;
}

export function createAskOutbox(send: AskSending): AskOutbox {
  let waiting: ThreadAsk[] = [];
  /** How many of these have left. */
  let left = 0;
  let inTurn = 0;
  let isUntaken = false;

  function trySend(asks: readonly ThreadAsk[], sendThem: () => void): boolean {
    try {
      sendThem();
      return true;
    } catch (error) {
      for (const { id } of asks) send.failed(id, error);
      return false;
    }
  }

  function sendGroups(): void {
    while (!isUntaken && left < waiting.length) {
      const group = waiting.slice(left, left + GROUP);
      left += group.length;
      isUntaken = trySend(group, () => send.group(group));
    }
    if (left < waiting.length) return;
    waiting = [];
    left = 0;
  }

  return {
    add(ask) {
      if (inTurn === 0) {
        setImmediate(() => {
          inTurn = 0;
          sendGroups();
        });
      }
      inTurn += 1;
      if (inTurn <= GROUP && waiting.length === 0) trySend([ask], () => send.one(ask));
      else waiting.push(ask);
    },
    took() {
      isUntaken = false;
      sendGroups();
    },
  };
}
