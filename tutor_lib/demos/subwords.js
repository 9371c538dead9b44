// WordPiece and Unigram, as in tutor_lib/tokenize: two other ways to cut a text into pieces.

const CHINESE = /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;
const BERT_WORDS = /[\p{P}$+<=>^`|~]|[^\p{White_Space}\p{P}$+<=>^`|~]+/gu;
const SPACES = /[\t\n\r\p{Zs}\p{Zl}\p{Zp}]/gu;
const DROPPED = /[\ufffd\p{Cf}\p{Co}\p{Cs}]|(?![\t\n\r])\p{Cc}/gu;

/** Lower case, without accents and control characters; Chinese characters apart: as BERT reads. */
export function bertNormalize(text) {
  const apart = text.replace(DROPPED, "").replace(SPACES, " ").replace(CHINESE, " $& ");
  // One by one: "Σ" at the end of a word becomes "σ" as anywhere else.
  return Array.from(apart.normalize("NFD").replace(/\p{Mn}/gu, ""), (c) => c.toLowerCase()).join("");
}

/** The words of normalised text: punctuation marks alone, white space nowhere. */
export const bertPretokenize = (text) => text.match(BERT_WORDS) ?? [];

const INSIDE = "##", LONGEST_WORD = 100;

/** Words into the longest pieces that the vocabulary has; a piece within a word begins with "##". */
export class WordPieceTokenizer {
  constructor(pieces) {
    this.pieces = pieces;
    this.idOf = new Map(pieces.map((piece, id) => [piece, id]));
    this.unknownId = this.idOf.get("[UNK]");
    this.known = new Map();
  }

  get vocabSize() { return this.pieces.length; }

  cut(text) {
    return bertPretokenize(bertNormalize(text)).map((word) => ({ word, ids: this.encodeWord(word) }));
  }

  encodeWord(word) {
    if (!this.known.has(word)) this.known.set(word, this.idsOf(this.takes(word)));
    return this.known.get(word);
  }

  idsOf(takes) { return takes.every(({ id }) => id !== undefined) ? takes.map(({ id }) => id) : [this.unknownId]; }

  /**
   * From the front: the longest piece that the rest begins with. Each take has the `rest` it
   * was cut from, its `id`, and how many longer candidates are no pieces; the last one's id is
   * undefined where nothing fits.
   */
  takes(word) {
    const letters = [...word], takes = [];
    if (letters.length > LONGEST_WORD) return [{ rest: word, tried: 0 }];
    for (let start = 0; start < letters.length;) {
      const take = this.longest(letters, start);
      takes.push(take);
      if (take.id === undefined) break;
      start = take.end;
    }
    return takes;
  }

  longest(letters, start) {
    const rest = letters.slice(start).join("");
    for (let end = letters.length; end > start; end--) {
      const id = this.idOf.get((start ? INSIDE : "") + letters.slice(start, end).join(""));
      if (id !== undefined) return { rest, id, end, tried: letters.length - end };
    }
    return { rest, tried: letters.length - start };
  }

  show(id) { return this.pieces[id]; }

  /** The pieces with a space between words: what was normalised away does not come back. */
  decode(ids) { return ids.map((id) => this.pieces[id]).join(" ").replaceAll(` ${INSIDE}`, ""); }
}

/** The pieces of a way, which knows its last one and the way before it. */
function unrolled(way) {
  const pieces = [];
  for (; way.before; way = way.before) pieces.push(way.piece);
  return pieces.reverse();
}

const SPACE = "▁";
const UNKNOWN_PENALTY = 10;

/** Words into the pieces with the highest Π p(piece). `pieces` are pairs of piece and log p. */
export class UnigramTokenizer {
  constructor(pieces) {
    this.pieces = pieces;
    this.idOf = new Map(pieces.map(([piece], id) => [piece, id]));
    this.unknownId = this.idOf.get("<unk>");
    const known = pieces.filter((_, id) => id !== this.unknownId);
    this.logP = new Map(known);
    this.longest = Math.max(1, ...known.map(([piece]) => [...piece].length));
    this.unknown = Math.min(0, ...this.logP.values()) - UNKNOWN_PENALTY;
    this.known = new Map();
  }

  get vocabSize() { return this.pieces.length; }

  cut(text) {
    const marked = text.replaceAll(" ", SPACE);
    const words = (marked.startsWith(SPACE) || !text ? marked : SPACE + marked).match(/▁?[^▁]+|▁/gu) ?? [];
    return words.map((word) => ({ word, ids: this.encodeWord(word) }));
  }

  encodeWord(word) {
    if (!this.known.has(word)) this.known.set(word, this.idsOf(this.best(word)));
    return this.known.get(word);
  }

  /** A run of unknown pieces is one id. */
  idsOf(pieces) {
    return pieces.map((piece) => (this.logP.has(piece) ? this.idOf.get(piece) : this.unknownId))
      .filter((id, i, ids) => id !== this.unknownId || ids[i - 1] !== id);
  }

  /** The pieces of a word that end at each of its places, the longest first. */
  lattice(word) {
    const letters = [...word];
    return letters.map((_, last) => {
      const starts = Array.from({ length: Math.min(this.longest, last + 1) }, (_, i) => i + Math.max(0, last + 1 - this.longest));
      return starts.map((start) => {
        const piece = letters.slice(start, last + 1).join("");
        return { start, piece, logP: this.logP.get(piece) ?? (start === last ? this.unknown : undefined) };
      }).filter(({ logP }) => logP !== undefined);
    });
  }

  best(word) { return this.nBest(word, 1)[0].pieces; }

  /** The n most probable ways to cut a word, each `{ logP, pieces }`: Viterbi with n paths. */
  nBest(word, n) {
    const ways = [[{ logP: 0 }]];
    for (const edges of this.lattice(word)) {
      const longer = edges.flatMap(({ start, piece, logP }) =>
        ways[start].map((before) => ({ logP: before.logP + logP, piece, before })));
      ways.push(longer.sort((a, b) => b.logP - a.logP).slice(0, n));
    }
    return ways.at(-1).map((way) => ({ logP: way.logP, pieces: unrolled(way) }));
  }

  show(id) { return this.pieces[id][0]; }

  /** The text again, without the space before its first word; "<unk>" where a piece was unknown. */
  decode(ids) {
    const text = ids.map((id) => this.show(id)).join("").replaceAll(SPACE, " ");
    return text.startsWith(" ") ? text.slice(1) : text;
  }
}
