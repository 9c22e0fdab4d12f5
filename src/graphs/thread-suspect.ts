/**
 * Asks a thread that does not answer whose code it runs.
 *
 * The inspector interrupts JavaScript wherever it is, in an endless loop or in a regular expression, and evaluates one
 * expression there, in the asynchronous context of what it interrupted. Nothing is attached before that is needed, so
 * graphs that behave pay nothing for it.
 */
import { Session } from "node:inspector";
import { LABEL_EXPRESSION } from "./thread-server.js";

const ANSWER_MS = 500;

/** The label of the code that the thread runs; null when it runs none, or cannot tell. */
export async function labelOfRunningCode(threadId: number): Promise<string | null> {
  const session = new Session();
  session.connect();
  let forget = (): void => {};
  try {
    return await new Promise<string | null>((resolve) => {
      const timer = setTimeout(() => resolve(null), ANSWER_MS);
      forget = () => clearTimeout(timer);
      session.on("NodeWorker.attachedToWorker", ({ params }) => {
        if (params.workerInfo.workerId !== String(threadId)) return;
        const expression = { id: 1, method: "Runtime.evaluate", params: { expression: LABEL_EXPRESSION } };
        const { sessionId } = params;
        session.post("NodeWorker.sendMessageToWorker", { sessionId, message: JSON.stringify(expression) });
      });
      session.on("NodeWorker.receivedMessageFromWorker", ({ params }) => {
        const { id, result } = JSON.parse(params.message) as { id?: number; result?: { result?: { value?: unknown } } };
        const value = result?.result?.value;
        if (id === 1) resolve(typeof value === "string" ? value : null);
      });
      session.post("NodeWorker.enable", { waitForDebuggerOnStart: false }, (error) => {
        if (error) resolve(null);
      });
    });
  } finally {
    forget();
    session.disconnect();
  }
}
