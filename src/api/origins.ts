/** Whose pages may use the gateway from a browser. */
export interface CorsRules {
  readonly allowOrigins: readonly string[];
  /** Anchored; null when only `allowOrigins` count. */
  readonly allowOriginPattern: string | null;
  readonly allowMethods: readonly string[];
  readonly allowHeaders: readonly string[];
  readonly allowCredentials: boolean;
  readonly exposeHeaders: readonly string[];
  readonly maxAge: number;
}

/** Whether pages of `origin` are among those that the rules name. */
export function originRule(rules: CorsRules): (origin: string) => boolean {
  const pattern = rules.allowOriginPattern === null ? null : new RegExp(rules.allowOriginPattern);
  const isAny = rules.allowOrigins.includes("*");
  return (origin) => isAny || rules.allowOrigins.includes(origin) || pattern?.test(origin) === true;
}
