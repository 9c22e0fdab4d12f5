/** Things that a process holds, and that do nothing any more once it is dead, while what is on the disk stays. */
import type { Clock } from "../../src/core/clock.js";
import type { SqliteDatabase } from "../../src/storage/sqlite.js";

export interface Life {
  isAlive: boolean;
}

class ProcessIsDead extends Error {
  override readonly name = "ProcessIsDead";
}

/** `target` whose methods, and those of the statements that it prepares, throw after the death. */
export function mortal<T extends object>(target: T, life: Life, onUse: () => void = () => {}): T {
  return new Proxy(target, {
    get(of, name) {
      const member: unknown = Reflect.get(of, name, of);
      if (typeof member !== "function") return member;
      return (...args: unknown[]) => {
        if (!life.isAlive) throw new ProcessIsDead(`${String(name)} after the death of the process`);
        onUse();
        const result: unknown = member.apply(of, args);
        return name === "prepare" ? mortal(result as object, life, onUse) : result;
      };
    },
  });
}

/** Its timers never fire after the death. */
export function mortalClock(clock: Clock, life: Life): Clock {
  return {
    now: () => clock.now(),
    after: (delayMs, callback) => clock.after(delayMs, () => life.isAlive && callback()),
  };
}

/** What a death does to an open transaction. */
export function die(connection: SqliteDatabase, life: Life): void {
  life.isAlive = false;
  if (connection.inTransaction) connection.exec("ROLLBACK");
}
