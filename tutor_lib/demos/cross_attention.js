import { argmax, button, choice, enable, h, heatMap, lateDetails, percent, presets, Stage, svg } from "./kit.js";

/** How many bets named the word that got the most weight; entry t is `{ head, place }` or nothing. */
export function betsRight(bets, weights) {
  return bets.filter((bet, t) => bet && argmax(weights[bet.head][t]) === bet.place).length;
}

/** What a head did for word `t`, in words; `bet` is the place that the reader chose, or null. */
export function readingInWords({ source, target, meant, weights }, head, t, bet) {
  const row = weights[head][t], most = argmax(row), guess = bet == null ? "" :
    bet === most ? " Your bet was right." : ` Your bet, “${source[bet]}”, got ${percent(row[bet])}.`;
  const name = target[t] === source[meant[t]] ? `“${target[t]}”` : `“${target[t]}”, which means “${source[meant[t]] ?? "?"}”`;
  return `Head ${head} looks most at “${source[most]}”: ${percent(row[most])}.${guess} Then the model writes ${name}.`;
}

const STYLE = `
.sides { display: grid; gap: 0.6rem; }
.line { display: flex; flex-wrap: wrap; gap: 0.35rem; align-items: center; min-height: 2rem; }
.line .label { min-width: 5.5rem; }
.word { display: inline-grid; justify-items: center; padding: 0.15rem 0.5rem; border: 1px solid var(--td-line); border-radius: 6px; color: var(--td-q); line-height: 1.3; }
.word small { color: var(--td-muted); font-size: 0.6875rem; }
.word.next { border-style: dashed; border-color: var(--td-q); }
.source button { display: inline-grid; justify-items: center; padding: 0.15rem 0.5rem; line-height: 1.3; overflow: hidden; }
.source button .token { color: var(--td-k); }
.source button i { width: 100%; height: 0.3rem; border-radius: 2px; background: linear-gradient(90deg, var(--td-k) var(--share), var(--soft) 0); }
.source button small { color: var(--td-muted); font-size: 0.6875rem; }
.source button[aria-pressed="true"] { border-color: var(--td-accent); box-shadow: 0 0 0 1px var(--td-accent); }
.heads { display: grid; gap: 1.25rem 2rem; }
.heads figure { min-width: 0; }
.heads figcaption { font-weight: 600; margin-bottom: 0.35rem; }
.heads figure.on figcaption { color: var(--td-accent); }
.frame { --cell: clamp(14px, calc((100cqw - 11rem) / var(--count)), 30px); display: grid; width: max-content; grid-template-columns: auto calc(var(--cell) * var(--count)); }
.axis { display: flex; }
.axis .token { flex: none; line-height: var(--cell); }
.axis.keys { grid-column: 2; align-items: end; color: var(--td-k); padding-bottom: 4px; }
.axis.keys .token { writing-mode: vertical-rl; transform: rotate(180deg); width: var(--cell); }
.axis.queries { flex-direction: column; align-items: end; padding-right: 6px; color: var(--td-q); }
.axis.queries .token { height: var(--cell); }
.map { position: relative; }
.map svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.map .heat-map { background: var(--soft); border-radius: 2px; }
.map circle { fill: none; stroke: var(--td-token); stroke-width: 0.09; }
.ring { display: inline-block; width: 0.8em; height: 0.8em; border: 2px solid var(--td-token); border-radius: 50%; vertical-align: -0.1em; }
@container (min-width: 700px) {
  .heads { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .frame { --cell: clamp(14px, calc((50cqw - 10rem) / var(--count)), 30px); }
}
`;

function render({ model, el }) {
  const stage = new Stage(el, model), view = { bets: [] };
  view.said = h("p", { role: "status" });
  view.asked = h("p", { class: "strong" });
  view.source = h("div", { class: "line source", role: "group", "aria-label": "English: which word will be read?" });
  stage.listen(view.source, "click", ({ target }) => {
    const place = target.closest("button")?.dataset.place;
    if (place !== undefined) reveal(stage, view, Number(place));
  });
  view.target = h("div", { class: "line" });
  view.heads = h("div", { class: "heads" });
  stage.add(h("style", {}, STYLE),
    h("p", { class: "predict" }, h("b", {}, "Predict: "), "a small translator writes a toy language, in which the verb comes last, one word at a time. Each time its decoder looks back at the English sentence. At which word? Press the word you bet on."),
    presets(stage, "sentence", { label: "Sentence" }),
    h("div", { class: "controls" }, choice(stage, "head", { label: "Head", options: ["0", "1"] }), buttons(stage, view)),
    h("div", { class: "sides" }, view.target, view.asked, view.source), view.said, view.heads,
    h("p", { class: "note" }, "Rows are ", h("span", { style: "color:var(--td-q)" }, "queries"), ", made of what is written so far; columns are ",
      h("span", { style: "color:var(--td-k)" }, "keys"), " of the English words. A row’s weights sum to 100\u00a0%. ", h("span", { class: "ring" }), " marks the word that is meant, which the model was never told."));
  view.table = lateDetails("All weights shown so far", () => table(stage, view));
  stage.add(view.table.node);
  stage.watch(["sentence"], () => newSentence(stage, view));
  for (const name of ["step", "head"]) stage.onChange(name, () => draw(stage, view));
  stage.ready();
  return () => stage.remove();
}

function buttons(stage, view) {
  const last = () => view.reading.target.length;
  view.next = button(stage, "Show the next", () => reveal(stage, view, null), { class: "primary" });
  view.all = button(stage, "Show all", () => stage.set({ step: last() }));
  view.again = button(stage, "Start over", () => { view.bets = []; stage.set({ step: 0 }); });
  return h("div", { class: "buttons", style: "align-self:end" }, view.next, view.all, view.again);
}

/** Show one more word; `place` is the source word that the reader bets on. */
function reveal(stage, view, place) {
  const step = stage.model.get("step");
  if (step >= view.reading.target.length) return;
  view.bets[step] = place == null ? null : { head: stage.model.get("head"), place };
  stage.set({ step: step + 1 });
}

function newSentence(stage, view) {
  const first = !view.reading;
  view.reading = stage.model.get("readings")[stage.model.get("sentence")];
  view.bets = [];
  const { source, target, weights } = view.reading;
  view.words = source.map((word, place) => {
    const share = h("small"), bar = h("i");
    return { share, bar, node: h("button", { type: "button", "data-place": place }, h("span", { class: "token" }, word), bar, share) };
  });
  view.source.replaceChildren(h("span", { class: "label" }, "English"), ...view.words.map(({ node }) => node));
  view.maps = weights.map((_, head) => oneHead(head, source, target));
  view.heads.replaceChildren(...view.maps.map(({ node }) => node));
  if (first) stage.set({ step: Math.min(stage.model.get("step"), target.length) });
  else stage.set({ step: 0 });
  draw(stage, view);
}

/** One head's map: target words × source words, as far as they are shown. */
function oneHead(head, source, target) {
  const map = heatMap({ label: `Head ${head}` }), ring = svg("svg", { viewBox: `0 0 ${source.length} ${target.length}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const axis = (kind, words) => h("div", { class: `axis ${kind}`, "aria-hidden": "true" }, words.map((word) => h("span", { class: "token" }, word)));
  const queries = axis("queries", target.map(() => "…"));
  const node = h("figure", {}, h("figcaption", {}, `Head ${head}`),
    h("div", { class: "frame", style: `--count:${source.length}` }, axis("keys", source), queries,
      h("div", { class: "map", style: `height:calc(var(--cell) * ${target.length})` }, map.node, ring)));
  return { node, update: ({ weights, meant }, step, chosen) => {
    map.update(target.map((_, t) => (t < step ? weights[head][t] : [])), source.length);
    map.node.setAttribute("aria-label", `Head ${head}: weights of ${step} of ${target.length} words on ${source.length} English words; the table below has the numbers`);
    ring.replaceChildren(...meant.slice(0, step).flatMap((place, t) => (place == null ? [] : svg("circle", { cx: place + 0.47, cy: t + 0.47, r: 0.34 }))));
    [...queries.children].forEach((label, t) => { label.textContent = t < step ? target[t] : "…"; });
    node.classList.toggle("on", chosen);
  } };
}

function draw(stage, view) {
  const { source, target, meant, weights } = view.reading, head = stage.model.get("head");
  const step = Math.min(stage.model.get("step"), target.length), over = step === target.length, t = step - 1;
  view.target.replaceChildren(h("span", { class: "label" }, "Toy language"),
    ...target.slice(0, step).map((word, i) => h("span", { class: "word" }, h("span", { class: "token" }, word), h("small", {}, source[meant[i]] ?? "?"))),
    over ? "" : h("span", { class: "word next" }, h("span", { class: "token" }, "?"), h("small", {}, "next")));
  view.words.forEach(({ node, share, bar }, place) => {
    const weight = step ? weights[head][t][place] : 0;
    bar.style.setProperty("--share", `${100 * weight}%`);
    share.textContent = step ? percent(weight) : "–";
    node.setAttribute("aria-pressed", String(step > 0 && view.bets[t]?.place === place));
    enable(node, !over);
  });
  view.asked.textContent = over ? "" : `Word ${step + 1}: at which English word will head ${head} look most?`;
  const count = view.bets.filter(Boolean).length;
  view.said.textContent = (step ? readingInWords(view.reading, head, t, view.bets[t]?.place) : "Nothing is written yet.")
    + (count ? ` ${betsRight(view.bets, weights)} of ${count} ${count === 1 ? "bet" : "bets"} right.` : "");
  view.maps.forEach((map, i) => map.update(view.reading, step, i === head));
  for (const node of [view.next, view.all]) enable(node, !over);
  enable(view.again, step > 0);
  view.table.update();
}

function table(stage, { reading: { source, target, weights } }) {
  const shown = target.slice(0, stage.model.get("step"));
  return [["word", "head", ...source], shown.flatMap((word, t) => weights.map((rows, head) => [word, String(head), ...rows[t]]))];
}

export default { render };
