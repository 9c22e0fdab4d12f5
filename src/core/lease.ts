/** How long what somebody took stays theirs, and how they keep it. */
export interface LeaseTimes {
  /** Others may take it when it was not renewed for so long. */
  readonly leaseMs: number;
  /** How often it is renewed. */
  readonly heartbeatMs: number;
  /** For how long after it asked for a renewal its owner need not ask whether it still has it; for ever where nobody else is. */
  readonly trustMs: number;
}

/** Among replicas an owner stops trusting a lease before it ends, by a fifth of a heartbeat. */
export function sharedLease({ leaseMs, heartbeatMs }: Pick<LeaseTimes, "leaseMs" | "heartbeatMs">): LeaseTimes {
  return { leaseMs, heartbeatMs, trustMs: leaseMs - heartbeatMs / 5 };
}

/** Of a process that has its database to itself. */
export function lonelyLease({ leaseMs, heartbeatMs }: Pick<LeaseTimes, "leaseMs" | "heartbeatMs">): LeaseTimes {
  return { leaseMs, heartbeatMs, trustMs: Number.POSITIVE_INFINITY };
}
