/** How a part leaves its closing, when it has opened something: what was left last is closed first, and awaited. */
export type OnStop = (close: () => void | Promise<void>) => void;
