/** What is wrong with a configuration, in one line that names the file and the key. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  /** Everything that is wrong, a line each; the message may tell only the beginning. */
  readonly problems: readonly string[];

  constructor(message: string, problems: readonly string[] = [message]) {
    super(message);
    this.problems = problems;
  }
}

const MAX_TOLD = 5;

/** For what is wrong in `file`, and where: at least one thing. */
export function configErrorOf(file: string, problems: readonly string[]): ConfigError {
  const told = problems.slice(0, MAX_TOLD).join("; ");
  return new ConfigError(
    `${file}: ${told}`,
    problems.map((problem) => `${file}: ${problem}`),
  );
}
