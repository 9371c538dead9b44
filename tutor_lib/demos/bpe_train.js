// How the merges of byte-pair encoding are learned, as BytePairTokenizer.train in tutor_lib.
import { byteOrder, END_OF_TEXT, mergePair, pretokenize, showBytes } from "./bpe.js";

const ROUND_FREQUENCY = 2; // a pair that occurs once is not worth an id

/** All pairs of neighbours as `{ pair, count }`, the next merge first: of equals, smaller ids. */
export function rankedPairs(words) {
  const pairs = new Map();
  for (const { ids, count } of words)
    for (let i = 1; i < ids.length; i++) {
      const key = ids[i - 1] * 65536 + ids[i];
      pairs.set(key, (pairs.get(key) ?? 0) + count);
    }
  return [...pairs].sort(([a, m], [b, n]) => n - m || a - b)
    .map(([key, count]) => ({ pair: [Math.floor(key / 65536), key % 65536], count }));
}

/** Learns from a text, one merge a round. */
export class MergeTrainer {
  constructor(text) {
    const idOfByte = new Map(byteOrder().map((byte, id) => [byte, id]));
    this.words = [...countWords(text)].map(([word, count]) =>
      ({ word, count, ids: Array.from(new TextEncoder().encode(word), (byte) => idOfByte.get(byte)) }));
    this.pieces = byteOrder().map((byte) => [byte]);
    this.merges = [];
    this.ranked = rankedPairs(this.words);
  }

  /** What would be merged now, `{ pair, count }`; undefined when no pair occurs twice. */
  get next() { return this.ranked[0]?.count >= ROUND_FREQUENCY ? this.ranked[0] : undefined; }

  /** The tokens that the text has with the merges so far. */
  get tokens() { return this.words.reduce((sum, { ids, count }) => sum + ids.length * count, 0); }

  merge() {
    const { pair } = this.next, id = this.pieces.length;
    this.pieces.push(pair.flatMap((part) => this.pieces[part]));
    this.merges.push(pair);
    for (const word of this.words) word.ids = mergePair(word.ids, pair, id);
    this.ranked = rankedPairs(this.words);
  }

  show(id) { return showBytes(Uint8Array.from(this.pieces[id])); }
}

function countWords(text) {
  const counts = new Map();
  for (const word of text.split(END_OF_TEXT).flatMap(pretokenize))
    counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
}
