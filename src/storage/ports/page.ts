/**
 * What the ports of storage have in common. One implementation per noun, written once in SQL; what differs by database is a
 * dialect's business.
 *
 * Every method that changes something is one transaction and returns after its commit. `undefined` means "no such row".
 */
import type { Scope } from "../../core/scope.js";

/** At once where storage lies in this process; a promise where a server is asked. */
export type Awaitable<T> = T | Promise<T>;

export interface Page<T> {
  readonly rows: readonly T[];
  /** All rows that match, regardless of limit and offset. */
  readonly total: number;
}

/** One that takes more than `maxBytes` is refused with the limit that fits; a single row never is. */
export interface PageLimits {
  readonly limit: number;
  readonly offset: number;
  readonly maxBytes: number;
}

export interface PageQuery<Column extends string> extends PageLimits {
  readonly sortBy: Column;
  readonly sortOrder: "asc" | "desc";
}

/**
 * Every store is opened in a scope: what is not in it is, for whoever asks, not there. A service opens it with the scope of
 * its caller; what the gateway does for itself sees everything.
 */
export interface Scoped<Store> {
  /** The same store, seeing only what is in `scope`. */
  within(scope: Scope): Store;
}

/** Means something to the driver that began it. */
export type StoreTransaction = object;
