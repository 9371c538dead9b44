import { BytePairTokenizer, END_OF_TEXT, button, choice, countNodesOf, enable, fixed, h, pieceNode, plural, predictLine, presets, pretokenize, Stage, slider, textField, trainView, UnigramTokenizer, WordPieceTokenizer } from "./kit.js";

/** A text as words, each with the ids of its pieces; the words joined give the text again. */
export function cutWords(tokenizer, text) {
  return text.split(END_OF_TEXT).flatMap((document, i) => {
    const words = pretokenize(document).map((word) => ({ word, ids: tokenizer.encodeWord(word) }));
    return i ? [{ word: END_OF_TEXT, ids: [tokenizer.endOfTextId] }, ...words] : words;
  });
}

/** The same text counted three ways. A character here is a Unicode code point. */
export function counts(text, ids) {
  return { characters: [...text].length, bytes: new TextEncoder().encode(text).length, tokens: ids.length };
}

/** The steps of one word, as `BytePairTokenizer.steps`; end of text is never cut. */
export function wordSteps(tokenizer, { word, ids }) {
  return word === END_OF_TEXT ? [{ ids }] : tokenizer.steps(word);
}

const STYLE = `
.controls > .choice { max-width: none; }
.body { display: grid; gap: 1rem; }
.body > * { min-width: 0; }
.pieces { display: flex; flex-wrap: wrap; gap: 0.5rem 0.2rem; }
button.word { display: inline-flex; gap: 2px; min-height: 0; padding: 3px; border-color: transparent; background: none; max-width: 100%; flex-wrap: wrap; }
button.word:hover { background: var(--soft); }
button.word[aria-pressed="true"] { border-color: var(--td-accent); background: color-mix(in srgb, var(--td-accent) 8%, var(--td-surface)); }
.piece { display: inline-grid; justify-items: center; padding: 0.15rem 0.4rem 0.1rem; border-radius: 5px;
  background: color-mix(in srgb, var(--td-token) 15%, var(--td-surface));
  border: 1px solid color-mix(in srgb, var(--td-token) 38%, var(--td-surface)); }
.piece.even { background: color-mix(in srgb, var(--td-token) 27%, var(--td-surface)); }
.piece .token { font-size: 0.9375rem; line-height: 1.35; }
.piece small { font-size: 0.6875rem; line-height: 1.2; color: color-mix(in srgb, var(--td-ink) 78%, var(--td-surface)); }
.piece.new { border-color: var(--td-accent); box-shadow: 0 0 0 1px var(--td-accent); }
.counts { display: flex; flex-wrap: wrap; gap: 0.35rem 1.75rem; }
.counts div { display: flex; gap: 0.4rem; align-items: baseline; }
.counts b { font-size: 1.25rem; font-weight: 600; }
.counts span { color: var(--td-muted); font-size: 0.8125rem; }
.merges { display: grid; gap: 0.75rem; padding-top: 1rem; border-top: 1px solid var(--td-line); }
.stepper { display: grid; grid-template-columns: auto minmax(7.5rem, 18rem) auto; gap: 0.6rem; align-items: end; justify-content: start; }
.row { display: flex; flex-wrap: wrap; gap: 4px; min-height: 2.9rem; align-items: center; }
.log { max-width: 34rem; font-size: 0.875rem; }
.log td, .log tbody th { padding: 0.2rem 0.75rem 0.2rem 0; border-top: 1px solid var(--td-line); white-space: nowrap; }
.log thead th { padding-right: 0.75rem; }
.log .number { padding: 0.2rem 0 0.2rem 0.75rem; }
.compare { max-width: 34rem; font-size: 0.875rem; }
.compare td, .compare tbody th { padding: 0.2rem 0; border-top: 1px solid var(--td-line); }
.compare tr.in-use th { font-weight: 600; }
.word-count { display: inline-flex; align-items: center; gap: 2px; margin-right: 0.5rem; }
.word-count > small { margin-left: 0.2rem; color: var(--td-muted); font-size: 0.75rem; }
.ways td { vertical-align: middle; }
.ways .row { min-height: 0; padding-block: 0.25rem; }
.learned { max-height: 9rem; overflow: auto; }
`;

function render({ model, el }) {
  const stage = new Stage(el, model);
  const body = h("div", { class: "body" }), built = [null, null];
  stage.add(h("style", {}, STYLE),
    h("div", { class: "controls" }, choice(stage, "train", { label: "What to do", options: ["Cut a text", "Learn merges"] })),
    textField(stage, "text", { label: "Your text", rows: 2, maxlength: model.get("max_length") }),
    presets(stage, "text", { label: "Try" }), body);
  // What is not shown is not in the tree either: a keyboard would find its buttons there.
  stage.watch(["train"], () => {
    const mode = model.get("train");
    built[mode] ??= (mode ? trainView : cutView)(stage);
    body.replaceChildren(...built[mode]);
  });
  stage.ready();
  return () => stage.remove();
}

/** The text in pieces, and how the chosen word came to its own. */
function cutView(stage) {
  const bpe = new BytePairTokenizer(stage.model.get("merges"));
  const wordPiece = new WordPieceTokenizer(stage.model.get("wordpieces")), unigram = new UnigramTokenizer(stage.model.get("unigrams"));
  const algorithms = [
    { name: "BPE", tokenizer: bpe, cut: (text) => cutWords(bpe, text) },
    { name: "WordPiece", tokenizer: wordPiece, cut: (text) => wordPiece.cut(text) },
    { name: "Unigram", tokenizer: unigram, cut: (text) => unigram.cut(text) },
  ];
  const parts = {
    counts: h("div", { class: "counts" }), compare: h("tbody"),
    pieces: h("div", { class: "pieces", role: "group", "aria-label": "Words, cut into tokens" }),
    merges: h("section", { class: "merges", "aria-label": "How the chosen word was cut" }),
    status: h("p", { class: "hidden", role: "status" }),
  };
  const words = drawText(stage, algorithms, parts);
  drawWord(stage, algorithms, parts, words);
  return [predictLine("how many tokens will your text become? Then type it, and pick a word to see how it was cut."),
    h("div", { class: "controls" }, choice(stage, "algorithm", { label: "Algorithm", options: algorithms.map(({ name }) => name) })),
    parts.counts, parts.pieces, parts.merges, compareTable(bpe.vocabSize, parts.compare), parts.status];
}

function compareTable(size, body) {
  return h("table", { class: "compare" }, h("caption", {}, `The same text by all three, V = ${size} each, learned from the storyteller’s stories`),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Algorithm"),
      ["Tokens", "Unknown", "Comes back"].map((name) => h("th", { scope: "col", class: "number" }, name)))), body);
}

/** Counts and pieces; the result is a function that tells the words of the moment. */
function drawText(stage, algorithms, parts) {
  let words = [], shownBy = null;
  const cut = () => {
    const text = stage.model.get("text"), used = stage.model.get("algorithm");
    const all = algorithms.map((algorithm) => algorithm.cut(text)), next = all[used];
    const ids = next.flatMap((word) => word.ids);
    parts.counts.replaceChildren(...countNodes(counts(text, ids)));
    parts.compare.replaceChildren(...all.map((those, i) => compareRow(algorithms[i], text, those, i === used)));
    if (shownBy !== used) { parts.pieces.replaceChildren(); words = []; }
    replaceChanged(parts.pieces, words, next, (word) => wordButton(algorithms[used].tokenizer, word));
    words = next;
    shownBy = used;
    stage.set({ ids, word: Math.max(0, Math.min(stage.model.get("word"), words.length - 1)) });
    mark();
  };
  const mark = () => [...parts.pieces.children].forEach((node, i) =>
    node.setAttribute("aria-pressed", String(i === stage.model.get("word"))));
  stage.watch(["text", "algorithm"], cut);
  stage.onChange("word", mark);
  stage.listen(parts.pieces, "click", (event) => {
    const chosen = [...parts.pieces.children].indexOf(event.target.closest("button"));
    if (chosen >= 0) stage.set({ word: chosen });
  });
  return () => words;
}

function compareRow({ name, tokenizer }, text, words, used) {
  const ids = words.flatMap((word) => word.ids), unknown = ids.filter((id) => id === tokenizer.unknownId).length;
  return h("tr", { class: used ? "in-use" : "" }, h("th", { scope: "row" }, name),
    [String(ids.length), String(unknown), tokenizer.decode(ids) === text ? "yes" : "no"].map((cell) => h("td", { class: "number" }, cell)));
}

function countNodes({ characters, bytes, tokens }) {
  const per = tokens ? (characters / tokens).toFixed(2) : "–";
  return countNodesOf([[characters, "characters"], [bytes, "bytes"], [tokens, "tokens"], [per, "characters a token"]]);
}

/** Make nodes only for the words between those that both texts begin and end with. */
function replaceChanged(parent, old, next, make) {
  const shorter = Math.min(old.length, next.length);
  let start = 0, end = 0;
  while (start < shorter && old[start].word === next[start].word) start++;
  while (end < shorter - start && old.at(-1 - end).word === next.at(-1 - end).word) end++;
  const nodes = [...parent.children];
  nodes.slice(start, old.length - end).forEach((node) => node.remove());
  const made = next.slice(start, next.length - end).map(make);
  parent.insertBefore(fragment(made), nodes[old.length - end] ?? null);
}

function fragment(nodes) {
  const all = document.createDocumentFragment();
  all.append(...nodes);
  return all;
}

function wordButton(tokenizer, { ids }) {
  return h("button", { type: "button", class: "word", "aria-pressed": "false" },
    ids.map((id, i) => pieceNode(tokenizer.show(id), id, i % 2 === 0)));
}

/** How the chosen word was cut, told by the algorithm that did it. */
function drawWord(stage, algorithms, parts, words) {
  const told = [mergeSteps, longestPieces, mostProbable].map((tell, i) => tell(stage, algorithms[i].tokenizer, parts.status));
  const choose = () => {
    const word = words()[stage.model.get("word")], { nodes, show } = told[stage.model.get("algorithm")];
    parts.merges.hidden = !word;
    parts.merges.replaceChildren(...nodes);
    if (word) show(word);
  };
  // A new word begins with its bytes: what follows is the reader's to guess.
  const restart = () => { stage.set({ step: 0 }); choose(); };
  for (const name of ["word", "text", "algorithm"]) stage.onChange(name, restart);
  choose();
}

/** From bytes to tokens, one merge a step. */
function mergeSteps(stage, tokenizer, status) {
  let steps = [{ ids: [] }];
  const title = h("p", {});
  const back = button(stage, "Back", () => stage.set({ step: stage.model.get("step") - 1 }));
  const next = button(stage, "Merge", () => stage.set({ step: stage.model.get("step") + 1 }), { class: "primary" });
  const range = slider(stage, "step", { label: "Merges", min: 0, max: 0, step: 1, format: (n) => `${n} of ${steps.length - 1}` });
  const row = h("div", { class: "row" }), said = h("p", {}), log = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Merges so far" });
  const show = (word) => {
    steps = wordSteps(tokenizer, word);
    const bytes = steps[0].ids.length;
    title.replaceChildren("The chosen word, ", strongToken(steps.at(-1).ids.map((id) => tokenizer.show(id)).join("")),
      `, is ${plural(bytes, "byte")} long. ${steps.length === 1 ? "No merge applies." : "Which neighbours merge first?"}`);
    range.stretch(steps.length - 1);
    draw();
  };
  const draw = () => {
    const at = Math.max(0, Math.min(stage.model.get("step"), steps.length - 1));
    if (at !== stage.model.get("step")) return stage.set({ step: at });
    enable(back, at > 0);
    enable(next, at < steps.length - 1);
    row.replaceChildren(...steps[at].ids.map((id, i) => pieceNode(tokenizer.show(id), id, i % 2 === 0, id === steps[at].id)));
    status.textContent = said.textContent = sentence(tokenizer, steps, at);
    log.replaceChildren(at ? logTable(tokenizer, steps.slice(1, at + 1)) : "");
    log.hidden = at === 0;
  };
  stage.onChange("step", () => { if (stage.model.get("algorithm") === 0) draw(); });
  return { nodes: [title, h("div", { class: "stepper" }, back, range.node, next), row, said, log], show };
}

const strongToken = (text) => h("span", { class: "token strong" }, text);

/** WordPiece from the front: which longer candidates were no pieces, and which one was. */
function longestPieces(stage, tokenizer, status) {
  const said = h("p", {}), table = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Pieces from the front" });
  const show = ({ word }) => {
    const takes = tokenizer.takes(word), stuck = takes.at(-1).id === undefined;
    status.textContent = said.textContent = stuck ? `No piece begins “${takes.at(-1).rest}”, so the whole word “${word}” becomes [UNK].`
      : `From the front, again and again the longest piece in the vocabulary: “${word}” is ${plural(takes.length, "piece")}.`;
    table.replaceChildren(plainTable(["Rest of the word", "Too long", "Piece", "Id"], takes.map(({ rest, tried, id }) =>
      [rest, String(tried), id === undefined ? "none" : tokenizer.show(id), id === undefined ? "–" : String(id)])));
  };
  return { nodes: [said, table, h("p", { class: "note" }, "“Too long” counts the longer candidates that are not in the vocabulary. ## marks a piece that goes on within a word.")], show };
}

/** Unigram: the three most probable ways to cut the word. */
function mostProbable(stage, tokenizer, status) {
  const said = h("p", {}), table = h("div", { class: "scroll ways", tabindex: "0", role: "region", "aria-label": "The most probable ways" });
  const show = ({ word }) => {
    const ways = tokenizer.nBest(word, 3);
    status.textContent = said.textContent = ways.length === 1 ? `There is one way to cut “${word}”.`
      : `Of all ways to cut “${word}”, the most probable one is taken: ${plural(ways[0].pieces.length, "piece")}. The next best is ${Math.exp(ways[1].logP - ways[0].logP).toPrecision(2)} times as probable.`;
    table.replaceChildren(plainTable(["Pieces with log p", "Sum"], ways.map(({ logP, pieces }) =>
      [h("div", { class: "row" }, pieces.map((piece, i) => pieceNode(piece, fixed(tokenizer.logP.get(piece) ?? tokenizer.unknown, 2), i % 2 === 0))), fixed(logP, 2)])));
  };
  return { nodes: [said, table], show };
}

function plainTable(columns, rows) {
  const cell = (value, i) => h(i ? "td" : "th", i ? { class: "number" } : { scope: "row" }, typeof value === "string" ? h("span", { class: "token" }, value) : value);
  return h("table", { class: "log" }, h("thead", {}, h("tr", {}, columns.map((name, i) => h("th", { scope: "col", class: i ? "number" : "" }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell)))));
}

function sentence(tokenizer, steps, at) {
  const left = at === steps.length - 1 ? ` No pair left was ever merged: ${plural(steps[at].ids.length, "token")}.` : "";
  if (at === 0) return steps.length === 1 ? left.trim() : "At first every byte is a token.";
  const { pair, id, rank } = steps[at];
  return `${tokenizer.show(pair[0])} + ${tokenizer.show(pair[1])} → ${tokenizer.show(id)}, `
    + `the pair here that was learned first: rank ${rank} of ${tokenizer.merges.length}.${left}`;
}

function logTable(tokenizer, steps) {
  const token = (id) => h("span", { class: "token" }, tokenizer.show(id));
  return h("table", { class: "log" },
    h("thead", {}, h("tr", {}, ["Step", "Pair", "New token"].map((name) => h("th", { scope: "col" }, name)),
      ["Id", "Rank"].map((name) => h("th", { scope: "col", class: "number" }, name)))),
    h("tbody", {}, steps.map(({ pair, id, rank }, i) => h("tr", {}, h("th", { scope: "row" }, String(i + 1)),
      h("td", {}, token(pair[0]), " + ", token(pair[1])), h("td", {}, token(id)),
      h("td", { class: "number" }, String(id)), h("td", { class: "number" }, String(rank))))));
}

export default { render };
