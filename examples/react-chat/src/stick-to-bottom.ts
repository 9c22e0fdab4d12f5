/** Keeps the newest words in view, unless the reader has scrolled up to read something older. */
import { type RefObject, useEffect, useLayoutEffect, useRef } from "react";

const NEAR_PX = 80;

/** Scrolls `scroller` to its end whenever `content` changes and the reader was at the end already. */
export function useStickToBottom(content: unknown): { readonly scroller: RefObject<HTMLDivElement | null> } {
  const scroller = useRef<HTMLDivElement>(null);
  const follow = useRef(true);
  useEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    const note = () => {
      follow.current = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_PX;
    };
    element.addEventListener("scroll", note, { passive: true });
    return () => element.removeEventListener("scroll", note);
  }, []);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a change of the content is the reason to scroll
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element !== null && follow.current) element.scrollTop = element.scrollHeight;
  }, [content]);
  return { scroller };
}
