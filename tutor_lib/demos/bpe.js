// Byte-level byte-pair encoding, as in tutor_lib/tokenize/bpe.py.

export const END_OF_TEXT = "<|endoftext|>";

// GPT-2's pattern. JavaScript's \s is not Unicode's white space: it lacks U+0085, has U+FEFF.
const PIECES =
  /'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** Split text as GPT-2 does; the pieces joined give the text again. */
export const pretokenize = (text) => text.match(PIECES) ?? [];

/** The byte that each of the first 256 token ids stands for, in GPT-2's order. */
export function byteOrder() {
  const printable = (byte) =>
    (byte >= 0x21 && byte < 0x7f) || (byte >= 0xa1 && byte !== 0xad && byte < 0x100);
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  return [...bytes.filter(printable), ...bytes.filter((byte) => !printable(byte))];
}

/** Replace each `pair` in `ids` by `id`, from left to right. */
export function mergePair(ids, pair, id) {
  const merged = [];
  for (const next of ids) {
    if (merged.at(-1) === pair[0] && next === pair[1]) merged[merged.length - 1] = id;
    else merged.push(next);
  }
  return merged;
}

/** Bytes as a reader can see them: ␣ for a space, hexadecimal where they are no whole character. */
export function showBytes(bytes) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return text.replace(/[\p{White_Space}\p{Cc}\p{Cf}]/gu, visible);
  } catch {
    return Array.from(bytes, hex).join(" ");
  }
}

const NAMED = { " ": "␣", "\n": "⏎", "\t": "⇥" };
// Keeps emoji that are joined by U+200D together.
const visible = (c) => NAMED[c] ?? (c === "\u200d" ? c : `U+${c.codePointAt(0).toString(16)}`);
const hex = (byte) => byte.toString(16).toUpperCase().padStart(2, "0");

export class BytePairTokenizer {
  /** `merges` holds pairs of ids; ids 0–255 are bytes, then one a merge, then end of text. */
  constructor(merges) {
    this.merges = merges;
    this.pieces = byteOrder().map((byte) => [byte]);
    this.rank = new Map();
    merges.forEach(([left, right], rank) => {
      if (!(left < 256 + rank && right < 256 + rank))
        throw new RangeError(`merge ${rank} joins ids ${left} and ${right}, which it precedes`);
      this.pieces.push([...this.pieces[left], ...this.pieces[right]]);
      this.rank.set(left * 65536 + right, rank);
    });
    this.idOfByte = new Uint8Array(256);
    byteOrder().forEach((byte, id) => { this.idOfByte[byte] = id; });
    this.known = new Map();
  }

  get endOfTextId() { return this.pieces.length; }

  get vocabSize() { return this.pieces.length + 1; }

  /** The token ids of a text. `<|endoftext|>` in it becomes its one id. */
  encode(text) {
    return text.split(END_OF_TEXT).flatMap((document, i) => {
      const ids = pretokenize(document).flatMap((word) => this.encodeWord(word));
      return i ? [this.endOfTextId, ...ids] : ids;
    });
  }

  /** The ids of one pre-token; kept, for most words come again. */
  encodeWord(word) {
    if (!this.known.has(word)) this.known.set(word, this.steps(word).at(-1).ids);
    return this.known.get(word);
  }

  /** The ids of one pre-token: as bytes first, then after each merge, with its pair and rank. */
  steps(word) {
    let ids = Array.from(new TextEncoder().encode(word), (byte) => this.idOfByte[byte]);
    const steps = [{ ids }];
    for (let rank = this.lowestRank(ids); rank < Infinity; rank = this.lowestRank(ids)) {
      ids = mergePair(ids, this.merges[rank], 256 + rank);
      steps.push({ ids, rank, pair: this.merges[rank], id: 256 + rank });
    }
    return steps;
  }

  /** The rank of the merge that is applied next: the one learned first. */
  lowestRank(ids) {
    let lowest = Infinity;
    for (let i = 1; i < ids.length; i++)
      lowest = Math.min(lowest, this.rank.get(ids[i - 1] * 65536 + ids[i]) ?? Infinity);
    return lowest;
  }

  /** The bytes one token stands for. */
  bytes(id) {
    if (!(id >= 0 && id < this.vocabSize))
      throw new RangeError(`token id ${id} is outside 0…${this.vocabSize - 1}`);
    return Uint8Array.from(id === this.endOfTextId ? new TextEncoder().encode(END_OF_TEXT) : this.pieces[id]);
  }

  /** One token as a reader can see it. */
  show(id) { return id === this.endOfTextId ? "end of text" : showBytes(this.bytes(id)); }

  /** The text of `ids`; bytes that are not UTF-8 become "�". */
  decode(ids) { return this.decodeEach(ids).join(""); }

  /** The text that each id adds; a character of several tokens comes with its last one. */
  decodeEach(ids) {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    const texts = ids.map((id) => decoder.decode(this.bytes(id), { stream: true }));
    const rest = decoder.decode();
    return rest ? [...texts, rest] : texts;
  }
}
