import { BytePairTokenizer, END_OF_TEXT, button, enable, h, presets, pretokenize, Stage, slider, textField } from "./kit.js";

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
`;

function render({ model, el }) {
  const stage = new Stage(el, model);
  const tokenizer = new BytePairTokenizer(model.get("merges"));
  const parts = {
    counts: h("div", { class: "counts" }),
    pieces: h("div", { class: "pieces", role: "group", "aria-label": "Words, cut into tokens" }),
    merges: h("section", { class: "merges", "aria-label": "The merges of the chosen word" }),
    status: h("p", { class: "hidden", role: "status" }),
  };
  stage.add(h("style", {}, STYLE),
    h("p", { class: "predict" }, h("b", {}, "Predict: "), "how many tokens will your text become? Then type it, and pick a word to see how its bytes were merged."),
    textField(stage, "text", { label: "Your text", rows: 2, maxlength: model.get("max_length") }),
    presets(stage, "text", { label: "Try" }), parts.counts, parts.pieces, parts.merges, parts.status);
  const words = drawText(stage, tokenizer, parts);
  drawMerges(stage, tokenizer, parts, words);
  stage.ready();
  return () => stage.remove();
}

/** Counts and pieces; the result is a function that tells the words of the moment. */
function drawText(stage, tokenizer, parts) {
  let words = [];
  const cut = () => {
    const next = cutWords(tokenizer, stage.model.get("text"));
    const ids = next.flatMap((word) => word.ids);
    parts.counts.replaceChildren(...countNodes(counts(stage.model.get("text"), ids)));
    replaceChanged(parts.pieces, words, next, (word) => wordButton(tokenizer, word));
    words = next;
    stage.set({ ids, word: Math.max(0, Math.min(stage.model.get("word"), words.length - 1)) });
    mark();
  };
  const mark = () => [...parts.pieces.children].forEach((node, i) =>
    node.setAttribute("aria-pressed", String(i === stage.model.get("word"))));
  stage.watch(["text"], cut);
  stage.onChange("word", mark);
  stage.listen(parts.pieces, "click", (event) => {
    const chosen = [...parts.pieces.children].indexOf(event.target.closest("button"));
    if (chosen >= 0) stage.set({ word: chosen });
  });
  return () => words;
}

function countNodes({ characters, bytes, tokens }) {
  const per = tokens ? (characters / tokens).toFixed(2) : "–";
  return [[characters, "characters"], [bytes, "bytes"], [tokens, "tokens"], [per, "characters a token"]]
    .map(([value, name]) => h("div", {}, h("b", {}, String(value)), h("span", {}, name)));
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
    ids.map((id, i) => pieceNode(tokenizer, id, i % 2 === 0)));
}

function pieceNode(tokenizer, id, even, isNew = false) {
  return h("span", { class: `piece${even ? " even" : ""}${isNew ? " new" : ""}` },
    h("span", { class: "token" }, tokenizer.show(id)), h("small", {}, String(id)));
}

/** The chosen word from bytes to tokens, one merge a step. */
function drawMerges(stage, tokenizer, parts, words) {
  let steps = [{ ids: [] }];
  const title = h("p", {});
  const back = button(stage, "Back", () => stage.set({ step: stage.model.get("step") - 1 }));
  const next = button(stage, "Merge", () => stage.set({ step: stage.model.get("step") + 1 }), { class: "primary" });
  const range = slider(stage, "step", { label: "Merges", min: 0, max: 0, step: 1, format: (n) => `${n} of ${steps.length - 1}` });
  const row = h("div", { class: "row" }), said = h("p", {}), log = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Merges so far" });
  parts.merges.append(title, h("div", { class: "stepper" }, back, range.node, next), row, said, log);
  const choose = () => {
    const word = words()[stage.model.get("word")];
    parts.merges.hidden = !word;
    if (!word) return;
    steps = wordSteps(tokenizer, word);
    const bytes = steps[0].ids.length;
    title.replaceChildren("The chosen word, ", h("span", { class: "token strong" }, steps.at(-1).ids.map((id) => tokenizer.show(id)).join("")),
      `, is ${count(bytes, "byte")} long. ${steps.length === 1 ? "No merge applies." : "Which neighbours merge first?"}`);
    range.stretch(steps.length - 1);
    draw();
  };
  // A new word begins with its bytes: what follows is the reader's to guess.
  const restart = () => { stage.set({ step: 0 }); choose(); };
  const draw = () => {
    const at = Math.max(0, Math.min(stage.model.get("step"), steps.length - 1));
    if (at !== stage.model.get("step")) return stage.set({ step: at });
    enable(back, at > 0);
    enable(next, at < steps.length - 1);
    row.replaceChildren(...steps[at].ids.map((id, i) => pieceNode(tokenizer, id, i % 2 === 0, id === steps[at].id)));
    said.textContent = sentence(tokenizer, steps, at);
    log.replaceChildren(at ? logTable(tokenizer, steps.slice(1, at + 1)) : "");
    log.hidden = at === 0;
    parts.status.textContent = said.textContent;
  };
  stage.onChange("word", restart);
  stage.onChange("text", restart);
  stage.onChange("step", draw);
  choose();
}

const count = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

function sentence(tokenizer, steps, at) {
  const left = at === steps.length - 1 ? ` No pair left was ever merged: ${count(steps[at].ids.length, "token")}.` : "";
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
