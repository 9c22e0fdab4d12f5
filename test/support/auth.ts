/** An application's own authentication: a token names its user, and what follows a colon what that user may do. */
import { Auth, HTTPException } from "@langchain/langgraph-sdk/auth";

export const auth = new Auth()
  .authenticate(async (request: Request) => {
    const [, identity, permissions = "*"] =
      /^Bearer (\w+)(?::(\S+))?$/.exec(request.headers.get("authorization") ?? "") ?? [];
    if (identity === undefined) throw new HTTPException(401, { message: "who are you?" });
    return { identity, permissions: permissions.split(","), team: "loom" };
  })
  .on("*", ({ event, value, user, permissions }) => {
    const asked = value as Record<string, unknown> & { metadata?: Record<string, unknown>; namespace?: string[] };
    if (!permissions.includes("*") && !permissions.includes(event)) return false;
    if (event.startsWith("store:")) {
      asked.namespace = asked.namespace?.length ? asked.namespace : [user.identity];
      return asked.namespace[0] === user.identity;
    }
    if (event.endsWith(":create") || event === "threads:create_run") {
      asked.metadata = { ...asked.metadata, owner: user.identity };
    }
    const owned = { owner: user.identity };
    const isReading = event === "assistants:read" || event === "assistants:search";
    // A way to say "or" that the SDK's types do not know yet.
    return (isReading ? { $or: [owned, { created_by: "system" }] } : owned) as { owner: string };
  });
