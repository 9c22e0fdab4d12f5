/** One message: what a human said (editable), or what the agent said and which tools it called. */
import type { Message } from "@langchain/langgraph-sdk";
import { type FormEvent, useState } from "react";
import { type MessagePlace, type Part, textOf } from "./chat-model.js";
import { PartView } from "./part.js";

interface MessageViewProps {
  readonly message: Message;
  /** The whole conversation: tool results are shown with the calls that asked for them. */
  readonly all: readonly Message[];
  readonly isGrowing: boolean;
  readonly place: MessagePlace;
  /** The agents that its tool calls started are shown with the calls. */
  readonly parts: readonly Part[];
  onBranch(branch: string): void;
}

/** A message with its branch switcher; tool results render nothing of their own. */
export function MessageView(props: MessageViewProps) {
  const { message } = props;
  if (message.type === "human") return <HumanMessage {...props} />;
  if (message.type !== "ai") return null;
  const text = textOf(message);
  return (
    <article className="message ai" data-testid="message-ai" data-message-id={message.id}>
      {text === "" && props.isGrowing ? null : (
        <div className={props.isGrowing ? "text growing" : "text"} data-testid="message-text">
          {text}
        </div>
      )}
      {(message.tool_calls ?? []).map((call, index) => {
        const part = props.parts.find(({ id }) => id === call.id);
        if (part !== undefined) return <PartView key={call.id} part={part} />;
        return (
          <ToolCall key={call.id ?? index} name={call.name} args={call.args} result={resultOf(call.id, props.all)} />
        );
      })}
      <BranchSwitch {...props} />
    </article>
  );
}

function HumanMessage(props: MessageViewProps) {
  const [isEditing, setIsEditing] = useState(false);
  const { message, place } = props;
  const text = textOf(message);
  if (isEditing && place.onEdit !== undefined) {
    return <EditForm text={text} onSave={place.onEdit} onClose={() => setIsEditing(false)} />;
  }
  return (
    <article className="message human" data-testid="message-human" data-message-id={message.id}>
      <div className="text" data-testid="message-text">
        {text}
      </div>
      <div className="row tools">
        <BranchSwitch {...props} />
        {place.onEdit === undefined ? null : (
          <button type="button" className="quiet" data-testid="edit" onClick={() => setIsEditing(true)}>
            Edit
          </button>
        )}
      </div>
    </article>
  );
}

interface EditFormProps {
  readonly text: string;
  onSave(text: string): void;
  onClose(): void;
}

function EditForm({ text, onSave, onClose }: EditFormProps) {
  const [draft, setDraft] = useState(text);
  const save = (event: FormEvent) => {
    event.preventDefault();
    onClose();
    onSave(draft.trim());
  };
  return (
    <form className="message human editing" onSubmit={save}>
      <textarea
        aria-label="Edit your message"
        data-testid="edit-input"
        // biome-ignore lint/a11y/noAutofocus: the user has just asked to edit this text
        autoFocus
        rows={Math.min(8, draft.split("\n").length + 1)}
        value={draft}
        onChange={(event) => setDraft(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") onClose();
        }}
      />
      <div className="row">
        <button type="button" className="quiet" data-testid="edit-cancel" onClick={onClose}>
          Cancel
        </button>
        <button type="submit" className="primary" data-testid="edit-save" disabled={draft.trim() === ""}>
          Send as new branch
        </button>
      </div>
    </form>
  );
}

function BranchSwitch({ place: { branch, branchOptions }, onBranch }: MessageViewProps) {
  if (branch === undefined || branchOptions === undefined || branchOptions.length < 2) return null;
  const index = branchOptions.indexOf(branch);
  const to = (step: number) => () => {
    const next = branchOptions[index + step];
    if (next !== undefined) onBranch(next);
  };
  return (
    <span className="branches">
      <button
        type="button"
        className="quiet"
        data-testid="branch-prev"
        aria-label="Previous branch"
        disabled={index <= 0}
        onClick={to(-1)}
      >
        ‹
      </button>
      <span data-testid="branch-label">
        {index + 1} / {branchOptions.length}
      </span>
      <button
        type="button"
        className="quiet"
        data-testid="branch-next"
        aria-label="Next branch"
        disabled={index >= branchOptions.length - 1}
        onClick={to(1)}
      >
        ›
      </button>
    </span>
  );
}

interface ToolCallProps {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly result: string | undefined;
}

function ToolCall({ name, args, result }: ToolCallProps) {
  return (
    <details className="tool-call" data-testid="tool-call" data-done={result !== undefined}>
      <summary>
        <span className="tool-state" aria-hidden="true" />
        <code>{name}</code>
        <span className="tool-args">{Object.values(args).map(show).join(", ")}</span>
        <span className="visually-hidden">{result === undefined ? "waiting" : "done"}</span>
      </summary>
      <pre>{JSON.stringify(args, null, 2)}</pre>
      {result === undefined ? null : <pre data-testid="tool-result">{result}</pre>}
    </details>
  );
}

function resultOf(callId: string | undefined, all: readonly Message[]): string | undefined {
  const result = all.find((message) => message.type === "tool" && message.tool_call_id === callId);
  return result === undefined ? undefined : textOf(result);
}

function show(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
