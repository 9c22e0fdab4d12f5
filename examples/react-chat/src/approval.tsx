/** A paused run: what it wants to do, with arguments that can be changed before they are approved. */
import { useState } from "react";

/** The interrupt of the example agent's guarded tools; other graphs may ask a bare question. */
export interface ApprovalRequest {
  readonly question?: string;
  readonly action?: string;
  readonly args?: Readonly<Record<string, unknown>>;
}

interface ApprovalProps {
  /** Undefined when the run merely stopped between two steps. */
  readonly request: ApprovalRequest | undefined;
  onAnswer(resume: unknown): void;
  onContinue(): void;
}

/** Approve, change, or turn down; or go on with a run that was stopped. */
export function Approval({ request, onAnswer, onContinue }: ApprovalProps) {
  const [args, setArgs] = useState<Readonly<Record<string, string>>>(() => editable(request?.args ?? {}));
  if (request === undefined) {
    return (
      <div className="stopped" data-testid="stopped">
        <span>This answer is not finished.</span>
        <button type="button" className="quiet" data-testid="continue" onClick={onContinue}>
          Continue
        </button>
      </div>
    );
  }
  const approve = () =>
    onAnswer(request.args === undefined ? true : { approved: true, args: changed(request.args, args) });
  const reject = () => onAnswer(request.args === undefined ? false : { approved: false });
  return (
    <form
      className="approval"
      data-testid="approval"
      aria-labelledby="approval-question"
      onSubmit={(event) => {
        event.preventDefault();
        approve();
      }}
    >
      <p className="approval-kind">{request.action === undefined ? "Question" : "Approval needed"}</p>
      <h2 id="approval-question" data-testid="approval-question">
        {request.question ?? "Shall I go on?"}
      </h2>
      {Object.entries(args).map(([name, value]) => (
        <label key={name} className="field">
          <span>{name}</span>
          <input
            data-testid={`approval-arg-${name}`}
            value={value}
            onChange={(event) => setArgs({ ...args, [name]: event.target.value })}
          />
        </label>
      ))}
      <div className="row">
        <button type="button" className="quiet" data-testid="reject" onClick={reject}>
          Reject
        </button>
        <button type="submit" className="primary" data-testid="approve">
          Approve
        </button>
      </div>
    </form>
  );
}

function editable(args: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(args).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]),
  );
}

/** Back to the types that the tool asked with: what was no string is read as JSON where it is some. */
function changed(
  original: Readonly<Record<string, unknown>>,
  edited: Readonly<Record<string, string>>,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(edited).map(([name, value]) => [name, typeof original[name] === "string" ? value : parsed(value)]),
  );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // Not JSON: the tool's own validation says what is wrong with it.
  }
}
