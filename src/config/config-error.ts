/** What is wrong with a configuration, in one line that names the file and the key. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}
