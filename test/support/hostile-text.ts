/** Text that has broken frames, parsers and databases before. */
import fc from "fast-check";
import { HOSTILE_STRINGS } from "./sql-stores.js";

export const hostile = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom(
    ...HOSTILE_STRINGS,
    "data: x\n\n",
    "\r\nid: 9\r\n",
    ": comment\n",
    "\u2028",
    "event: end\n\n",
    "|",
    "-1",
  ),
);
