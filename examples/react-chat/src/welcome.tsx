/** What a new thread shows: where the page is connected, and what to try. */
import type { Settings } from "./settings.js";

/** For the graph `agent`; other graphs have their own manners. */
const IDEAS = ["What is the weather in Lisbon?", "Send the report to Ada", "Tell me a story", "Count to 100"];

interface WelcomeProps {
  readonly settings: Settings;
  onTry(text: string): void;
}

/** The empty state, with a few first messages one click away. */
export function Welcome({ settings, onTry }: WelcomeProps) {
  return (
    <section className="welcome" data-testid="welcome">
      <h1>What shall we try?</h1>
      <p>
        You are talking to <code>{settings.assistantId}</code> at <code>{settings.apiUrl}</code>. Stop it, reload in
        mid-answer, or edit what you said: the thread keeps its place.
      </p>
      {settings.assistantId === "agent" ? (
        <div className="ideas">
          {IDEAS.map((idea) => (
            <button key={idea} type="button" className="idea" onClick={() => onTry(idea)}>
              {idea}
            </button>
          ))}
        </div>
      ) : null}
    </section>
  );
}
