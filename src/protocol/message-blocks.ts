/**
 * The blocks of one message as events.
 *
 * 1. Blocks do not interleave: one is finished before the next starts, each once, and they are counted in that order.
 * 2. A call is not left before its arguments can be all there is. What comes for other blocks meanwhile waits, and
 *    nothing waits longer than the message.
 * 3. What comes for a block that is over begins another.
 */
import type { JsonObject } from "../core/model.js";
import type { BlockPart } from "./chunk-parts.js";
import { CALL_TYPES, createGrowingBlock, type GrowingBlock } from "./growing-block.js";
import type { ContentBlock } from "./json-object.js";
import { toolPiece } from "./tool-blocks.js";

export interface MessageBlocks {
  take(part: BlockPart): readonly JsonObject[];
  /** Adds to the text that streams, and tells its index; undefined when none does, or when something waits. */
  append(text: string): number | undefined;
  /** The message is over. */
  finish(): readonly JsonObject[];
}

export function createMessageBlocks(): MessageBlocks {
  /** The block that streams, and after it those that wait. */
  const blocks: GrowingBlock[] = [];
  const repeated = new Set<string>();
  let index = 0;

  function begin({ place, block }: BlockPart): readonly JsonObject[] {
    const begun = createGrowingBlock(block.type, place);
    begun.add(block);
    blocks.push(begun);
    if (blocks.length === 1) return begun.start(index);
    return blocks.length === 2 ? leave() : [];
  }

  /** Goes on to the next block where that is possible. */
  function leave(): readonly JsonObject[] {
    const events: JsonObject[] = [];
    while (blocks.length > 1 && blocks[0]?.isWhole === true) events.push(...next()); // 2
    return events;
  }

  function next(): readonly JsonObject[] {
    const finished = blocks.shift()?.finish(index);
    index++;
    return [...(finished === undefined ? [] : [finished]), ...(blocks[0]?.start(index) ?? [])];
  }

  return {
    take(part) {
      if (part.repeats === true && part.place !== undefined) {
        if (repeated.has(part.place)) return [];
        repeated.add(part.place);
      }
      const block = blocks.findLast((each) => belongs(part, each, each === blocks.at(-1)));
      if (block === undefined) return saysNothing(part.block) ? [] : begin(part); // 3
      const growth = block.add(part.block);
      if (block !== blocks[0]) return [];
      const events = block.delta(index, growth);
      return blocks.length === 1 ? events : [...events, ...leave()];
    },

    append(text) {
      const [block, waiting] = blocks;
      if (block?.type !== "text" || waiting !== undefined) return undefined;
      block.append(text);
      return index;
    },

    finish() {
      const events: JsonObject[] = [];
      while (blocks.length > 0) events.push(...next());
      return events;
    },
  };
}

/** A block that comes in one piece. */
export function wholeBlockEvents(block: ContentBlock, index: number): readonly JsonObject[] {
  const piece = toolPiece(block) ?? block;
  const whole = createGrowingBlock(piece.type, undefined);
  whole.add(piece);
  return [...whole.start(index), whole.finish(index)];
}

function belongs({ place, block: { type, id } }: BlockPart, block: GrowingBlock, isLast: boolean): boolean {
  const isSameType = type === block.type || (CALL_TYPES.has(type) && CALL_TYPES.has(block.type));
  if (!isSameType || (id !== undefined && block.id !== undefined && id !== block.id)) return false;
  if (place !== undefined) return place === block.place;
  return isLast && (type === "text" || type === "reasoning" || (CALL_TYPES.has(type) && id === undefined));
}

/** Models announce texts before they say them. */
function saysNothing({ type, text, reasoning, ...rest }: ContentBlock): boolean {
  return (type === "text" || type === "reasoning") && !text && !reasoning && Object.keys(rest).length === 0;
}
