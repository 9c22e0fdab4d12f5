/**
 * The events that readers of the same run share, and with them their bytes.
 *
 * Every reader projects for itself, because each may be told the log differently: from memory as it was said, or from the
 * ledger with states left out. What becomes of an entry is the same for all of them (`projection.ts`, 5), so those who are
 * handed the same entry by the memory log are handed the same events.
 */
import type { StreamEvent } from "../bridge/bridge.js";
import { createSharedMemory } from "../core/shared-memory.js";
import type { ProtocolEvent } from "./event.js";
import { createProjection, type ProjectedRun, type Projection } from "./projection.js";

/** What is held of events for readers to come. */
const SHARED_BYTES = 16 * 1_024 * 1_024;

/** Returns a projection for one more reader. */
export function createSharedProjections(): (run: ProjectedRun) => Projection {
  let projected: readonly ProtocolEvent[] = [];
  const shared = createSharedMemory<StreamEvent, readonly ProtocolEvent[]>({
    make: () => projected,
    bytesOf: (events) => events.reduce((bytes, { data }) => bytes + 2 * data.length + EVENT_BYTES, 0),
    maxBytes: SHARED_BYTES,
  });
  return (run) => {
    const own = createProjection(run);
    return {
      push(entry) {
        projected = own.push(entry); // also where others have done so: what comes next depends on it
        return shared.of(entry);
      },
      tree: () => own.tree(),
    };
  };
}

/** What an event costs besides its data. */
const EVENT_BYTES = 300;
