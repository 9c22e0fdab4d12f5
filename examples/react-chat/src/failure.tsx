/** What went wrong, in words that say whose turn it is. */

interface FailureProps {
  readonly error: unknown;
  readonly apiUrl: string;
}

/** Shows an error of the stream, of the history, or of the connection. */
export function Failure({ error, apiUrl }: FailureProps) {
  return (
    <div className="failure" role="alert" data-testid="error">
      <strong>{headline(error, apiUrl)}</strong>
      <span>{error instanceof Error ? error.message : String(error)}</span>
    </div>
  );
}

/** The SDK names its connection errors; its HTTP errors carry a status. */
function headline(error: unknown, apiUrl: string): string {
  if (error instanceof Error && error.name === "ConnectionError") return `The gateway at ${apiUrl} does not answer.`;
  if (error instanceof Error && "status" in error) return "The gateway refused the request.";
  return "The run failed.";
}
