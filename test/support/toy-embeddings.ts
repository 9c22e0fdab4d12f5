/** Embeddings that need no model: a text means what it says of drinks, weather and animals, and how long it is. */

export const TOY_DIMS = 4;

const TOPICS = [/tea|coffee|drink/gi, /rain|snow|weather/gi, /cat|dog|animal/gi];

/** A function of texts, as `store.index.embed` names one. */
export async function embedTopics(texts: string[]): Promise<number[][]> {
  return texts.map((text) => {
    while (text.includes("endless")); // thinks about it for ever
    if (text.includes("unspeakable")) throw new Error("the model does not speak of that");
    return [...TOPICS.map((topic) => text.match(topic)?.length ?? 0), 0.01];
  });
}

/** The same model in other words: its vectors cannot be compared with those of the first. */
export const otherEmbeddings = {
  embedDocuments: async (texts: string[]) => (await embedTopics(texts)).map((vector) => vector.toReversed()),
  embedQuery: async (text: string) => (await embedTopics([text]))[0]?.toReversed(),
};

export const notAFunction = { dims: TOY_DIMS };
