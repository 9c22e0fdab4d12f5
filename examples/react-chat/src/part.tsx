/** An agent or a graph inside the run: what it says while it works, one click away when it is done. */
import { useEffect, useState } from "react";
import { type Part, textOf } from "./chat-model.js";

/** Open while it runs, unless it is closed by hand. */
export function PartView({ part }: { readonly part: Part }) {
  const { kind, name, isRunning } = part;
  const [isOpen, setIsOpen] = useState(isRunning);
  useEffect(() => setIsOpen(isRunning), [isRunning]);
  return (
    <details
      className="part"
      open={isOpen}
      data-testid={kind}
      data-name={name}
      data-done={!isRunning}
      onToggle={(event) => setIsOpen(event.currentTarget.open)}
    >
      <summary>
        <span className="tool-state" aria-hidden="true" />
        <span className="part-name">{name}</span>
        <span className="part-kind">{kind === "subagent" ? "agent" : "graph"}</span>
        <span className="visually-hidden">{isRunning ? "at work" : "done"}</span>
      </summary>
      {isOpen ? <PartMessages part={part} /> : null}
    </details>
  );
}

/** Mounted only while it is shown: that is when its messages are asked for. */
function PartMessages({ part }: { readonly part: Part }) {
  const said = part.useMessages().filter(({ type, content }) => type === "ai" && textOf({ content }) !== "");
  return (
    <div className="part-body" data-testid={`${part.kind}-messages`}>
      {said.length === 0 ? <p className="part-note">{part.isRunning ? "At work…" : "It said nothing."}</p> : null}
      {said.map((message, index) => (
        <p key={message.id ?? index} className="text">
          {textOf(message)}
        </p>
      ))}
    </div>
  );
}
