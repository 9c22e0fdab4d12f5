/**
 * The headers that webhooks are sent with. Their values may say `${{ env.NAME }}` for variables whose names begin with
 * `webhooks.env_prefix`: so a header cannot give away what the environment holds for others.
 */
import { ConfigError } from "./config-error.js";
import type { Environment } from "./yaml.js";

/** Throws a `ConfigError` for a variable that is not set, or is not for webhooks. */
export function resolveWebhookHeaders(
  headers: { readonly [name: string]: string },
  { envPrefix, environment, fileName }: { envPrefix: string; environment: Environment; fileName: string },
): { readonly [name: string]: string } {
  const entries = Object.entries(headers).map(([name, template]) => {
    const refuse = (why: string): never => {
      throw new ConfigError(`${fileName}: webhooks.headers.${name}: ${why}`);
    };
    const value = template.replace(/\$\{\{(.*?)\}\}/gs, (whole, expression: string) => {
      const variable = /^\s*env\.([A-Za-z_]\w*)\s*$/.exec(expression)?.[1];
      if (variable === undefined) return refuse(`cannot read ${whole} (write \${{ env.${envPrefix}NAME }})`);
      if (!variable.startsWith(envPrefix)) return refuse(`${variable} does not begin with ${envPrefix}`);
      return environment[variable] ?? refuse(`the environment variable ${variable} is not set`);
    });
    if (!HEADER_VALUE.test(value)) refuse("holds characters that a header cannot have");
    return [name, value] as const;
  });
  return Object.fromEntries(entries);
}

const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
