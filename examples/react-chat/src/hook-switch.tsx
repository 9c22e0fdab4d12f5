/** Which of the SDK's hooks the page is on. The choice is in the address: another one opens the page anew. */
import { MODES, type Settings, searchFor } from "./settings.js";

export function HookSwitch({ settings }: { readonly settings: Settings }) {
  return (
    <header className="bar">
      <span className="bar-label">Hook</span>
      <nav className="modes" aria-label="Hook">
        {MODES.map((mode) => (
          <a
            key={mode.label}
            href={searchFor(window.location.search, mode)}
            title={mode.title}
            aria-current={isCurrent(mode, settings) ? "true" : undefined}
            // At the time of the click: the open thread is part of the address.
            onClick={(event) => {
              event.currentTarget.href = searchFor(window.location.search, mode);
            }}
          >
            {mode.label}
          </a>
        ))}
      </nav>
    </header>
  );
}

function isCurrent({ hook, transport }: Pick<Settings, "hook" | "transport">, settings: Settings): boolean {
  return hook === settings.hook && (hook === "legacy" || transport === settings.transport);
}
