/**
 * Tickets of `heddle doctor`: whoever can write to the database may have the gateways over it answer probes for a while.
 *
 * A ticket is kept where API keys are, because every replica reads that, but it is none: its hash is that of another text.
 * It goes in the query, since what becomes of headers on the way is what the doctor wants to know.
 */
import { randomBytes } from "node:crypto";
import { type Authenticate, NOBODY } from "../core/caller.js";
import type { Clock } from "../core/clock.js";
import { GatewayError } from "../core/errors.js";
import type { ApiKeyStore } from "../storage/ports/api-keys.js";
import { hashOf } from "./keys.js";

const LIFE_MS = 3 * 60_000;
/** Streams and sockets that one gateway keeps open for doctors. */
const MAX_OPEN = 4;
const IDENTITY = "heddle doctor";

export interface Ticket {
  readonly text: string;
  /** Makes it useless at once, and leaves nothing of it. */
  withdraw(): Promise<void>;
}

export async function issueTicket(keys: ApiKeyStore, clock: Clock): Promise<Ticket> {
  const text = randomBytes(24).toString("base64url");
  const { keyId } = await keys.create({
    hash: ticketHash(text),
    shown: "ticket",
    name: "test of a public address",
    identity: IDENTITY,
    permissions: [],
    expiresAt: clock.now() + LIFE_MS,
  });
  return { text, withdraw: () => keys.remove(keyId) };
}

/** Knows whoever has a ticket, who may do nothing else; throws `unauthenticated`. */
export function admitTickets(keys: Pick<ApiKeyStore, "find">, clock: Clock): Authenticate {
  let open = 0;
  return async (request) => {
    const text = new URL(request.url).searchParams.get("ticket");
    const ticket = text === null ? undefined : await keys.find(ticketHash(text));
    if (ticket?.identity !== IDENTITY || (ticket.expiresAt ?? 0) <= clock.now()) {
      throw new GatewayError("unauthenticated", "this is no ticket of heddle doctor, or one that is over");
    }
    return {
      ...NOBODY,
      enterStream() {
        if (open >= MAX_OPEN) throw new GatewayError("too_many_requests", `${MAX_OPEN} probes are open already`);
        open++;
        return () => {
          open--;
        };
      },
    };
  };
}

function ticketHash(text: string): string {
  return hashOf(`heddle doctor ${text}`);
}
