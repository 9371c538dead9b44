import { bars, bet, button, details, h, percent, slider, Stage, svg } from "./kit.js";

/** A shape in letters as numbers: `["B", "T", "H·D"]` is the batch, the tokens, heads times head size. */
export const shapeNumbers = (letters, sizes) =>
  letters.map((term) => term.split("·").reduce((product, letter) => product * sizes[letter], 1));

/** The edges that end at a part, which it reads, and those that begin there, which it writes. */
export const partEdges = (edges, id) => ({
  reads: edges.flatMap((edge, i) => (edge.to === id ? [i] : [])),
  writes: edges.flatMap((edge, i) => (edge.from === id ? [i] : [])),
});

/** All parameters by kind of part, the most first; their sum is the model's. */
export function parameterShares(nodes) {
  const counts = new Map();
  for (const { part, count } of nodes) if (count) counts.set(part, (counts.get(part) ?? 0) + count);
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  return [...counts].map(([part, count]) => ({ part, count, share: count / total }))
    .sort((a, b) => b.count - a.count);
}

/** Where a key leads from part `at` of `count`; null for another key. */
export function partAfter(key, at, count) {
  const to = { ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: -1 }[key];
  return to === undefined ? null : (to + count) % count;
}

const STYLE = `
.models { display: grid; gap: 0.4rem; }
.map-and-panel { display: grid; gap: 1.25rem; align-items: start; }
@container (min-width: 640px) { .map-and-panel { grid-template-columns: minmax(18rem, 25rem) minmax(16rem, 1fr); gap: 2rem; } }
svg.map { display: block; width: 100%; height: auto; margin: 0 auto; max-width: 26rem; overflow: visible; user-select: none; -webkit-user-select: none; }
.map text { font-size: 13px; fill: var(--td-ink); text-anchor: middle; }
.map .shape { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 11px; fill: var(--td-muted); }
.map .frame { fill: none; stroke: var(--td-edge); stroke-dasharray: 4 3; }
.map text.times { font-weight: 600; fill: var(--td-muted); }
.part { cursor: pointer; outline: none; }
.part rect { fill: var(--td-paper); stroke: var(--td-edge); stroke-width: 1.2; }
.part text { font-weight: 500; }
.part[data-part="norm"] text { font-size: 12px; font-weight: 400; }
.part[data-part="residual"] rect { fill: color-mix(in srgb, var(--td-ink) 12%, var(--td-surface)); stroke: none; }
.part[data-part="residual"] text { font-size: 10px; }
.part:hover rect { stroke: var(--td-accent); stroke-width: 2; }
.part[aria-checked="true"] rect { fill: color-mix(in srgb, var(--td-accent) 16%, var(--td-paper)); stroke: var(--td-accent); stroke-width: 2.5; }
.part:focus-visible rect { stroke: var(--td-ink); stroke-width: 3; }
.part.near rect { stroke: var(--td-accent); }
.edge { fill: none; stroke: var(--td-edge); stroke-width: 1.4; stroke-linejoin: round; marker-end: url(#tip); }
.edge.bare { marker-end: none; }
.edge.q { stroke: var(--td-q); } .edge.k { stroke: var(--td-k); } .edge.v { stroke: var(--td-v); }
.choosing .edge:not(.reads, .writes) { opacity: 0.45; }
.edge.reads, .edge.writes { stroke-width: 3; }
.edge.reads:not(.q, .k, .v), .edge.writes { stroke: var(--td-accent); }
.edge.reads { stroke-dasharray: 5 3; animation: flow 0.5s linear 6; }
@keyframes flow { from { stroke-dashoffset: 16; } }
.plus circle { fill: var(--td-paper); stroke: var(--td-edge); }
.plus text { font-size: 14px; font-weight: 600; }
.badge { pointer-events: none; }
.badge rect { fill: var(--td-accent); }
.badge text { font-size: 10px; font-weight: 600; fill: var(--td-paper); }
.panel { display: grid; gap: 0.7rem; align-content: start; }
.panel h3 { margin: 0; font-size: 1.0625rem; font-weight: 650; }
.panel h3 small { color: var(--td-muted); font-weight: 400; font-size: 0.875rem; }
.flow { display: grid; grid-template-columns: auto 1fr; gap: 0.2rem 0.9rem; margin: 0; }
.flow dt { color: var(--td-muted); white-space: nowrap; }
.flow dd { margin: 0; }
.flow code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 0.875em; white-space: nowrap; }
.panel a { color: var(--td-accent); }
@media (prefers-reduced-motion: reduce) { .edge.reads { animation: none; } }
`;

const WORDS = { input: "tokens", embedding: "embedding", positions: "positions", attention: "attention", cross: "cross-attention",
  norm: "norms", ffn: "FFN", unembedding: "unembedding" };
const ANSWERS = ["Attention only", "Attention and the FFN", "All of them"];
const MIXING = 0;

function render({ model, el }) {
  const stage = new Stage(el, model);
  const view = { map: h("div"), panel: h("section", { class: "panel", "aria-label": "The chosen part" }),
    told: h("p", { class: "note", role: "status" }), answer: h("p", { class: "note", role: "status" }),
    chart: bars({ label: "Where the parameters are", columns: ["Part", "Share"] }), counts: h("div") };
  stage.add(h("style", {}, STYLE),
    bet(stage, "bet", { ask: "which parts let one token learn something from another? Bet, then choose each part to see what it reads and writes.", options: ANSWERS }),
    view.answer, modelChoice(stage), h("div", { class: "controls" }, lengths(stage, view)),
    h("div", { class: "map-and-panel" }, view.map, h("div", { class: "panel" }, view.told, view.panel, view.chart.node, view.counts)));
  stage.watch(["model"], () => drawMap(stage, view));
  for (const name of ["part", "batch", "tokens", "source_tokens"]) stage.onChange(name, () => update(stage, view));
  stage.watch(["bet"], () => settle(stage, view));
  stage.ready();
  return () => stage.remove();
}

const current = (stage) => stage.model.get("plans").find(({ name }) => name === stage.model.get("model"));

function modelChoice(stage) {
  const plans = stage.model.get("plans");
  const kinds = [...new Set(plans.map(({ kind }) => kind))];
  const chips = plans.map(({ name }) => button(stage, name, () => stage.set({ model: name }), { class: "chip" }));
  stage.watch(["model"], () => chips.forEach((chip, i) =>
    chip.setAttribute("aria-pressed", String(plans[i].name === stage.model.get("model")))));
  return h("div", { class: "models" }, kinds.map((kind) => h("div", { class: "presets", role: "group", "aria-label": kind },
    h("span", { class: "label" }, kind), chips.filter((_, i) => plans[i].kind === kind))));
}

function lengths(stage, view) {
  const [batch, tokens, source] = [["batch", "Batch, B", 8], ["tokens", "Tokens, T", 128], ["source_tokens", "Source tokens, S", 128]]
    .map(([name, label, max]) => slider(stage, name, { label, min: 1, max, step: 1 }).node);
  view.source = source;
  return [batch, tokens, source];
}

const sizesOf = (stage) => ({ ...current(stage).sizes, B: stage.model.get("batch"),
  T: stage.model.get("tokens"), S: stage.model.get("source_tokens") });

function drawMap(stage, view) {
  const plan = current(stage), isPipe = ({ part }) => part === "residual";
  view.source.hidden = !plan.nodes.some(({ id }) => id === "cross");
  view.parts = new Map(plan.nodes.map((node) => [node.id, drawPart(node)]));
  view.edges = plan.edges.map(drawEdge);
  view.shapes = plan.shapes.map(({ x, y, anchor }) => svg("text", { x, y, class: "shape", style: `text-anchor:${anchor}` }));
  const parts = (test) => plan.nodes.filter(test).map(({ id }) => view.parts.get(id));
  view.badges = plan.nodes.filter(({ mixes }) => mixes).map(drawBadge);
  view.svg = svg("svg", { class: "map", viewBox: `-2 0 ${plan.width + 4} ${plan.height}`, role: "radiogroup", "aria-label": `The parts of ${plan.name}` },
    arrowTip(), plan.frames.map(drawFrame), parts(isPipe), view.edges, plan.edges.filter(({ plus }) => plus).map(({ plus }) => drawPlus(...plus)),
    parts((node) => !isPipe(node)), view.shapes, view.badges);
  stage.listen(view.svg, "click", ({ target }) => pick(stage, view, plan.nodes.findIndex(({ id }) => view.parts.get(id).contains(target))));
  stage.listen(view.svg, "keydown", (event) => travel(stage, view, event));
  view.map.replaceChildren(view.svg);
  update(stage, view);
  settle(stage, view);
}

const arrowTip = () => svg("defs", {}, svg("marker", { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8,
  markerUnits: "userSpaceOnUse", orient: "auto-start-reverse" }, svg("path", { d: "M0 0.5L8 4L0 7.5z", fill: "context-stroke" })));

function drawPart({ id, label, part, x, y, width, height, caption }) {
  const isPipe = part === "residual", name = id.startsWith("source ") ? `${label} of the source` : label;
  return svg("g", { class: "part", "data-part": part, role: "radio", tabindex: -1, "aria-label": isPipe ? `residual stream${id === part ? "" : " of the source"}` : name },
    svg("rect", { x, y, width, height, rx: isPipe ? 9 : 7 }),
    svg("text", isPipe ? { transform: `translate(${x + width / 2 - 3} ${caption}) rotate(90)` } : { x: x + width / 2, y: y + height / 2 + 4.5 }, label));
}

const drawEdge = ({ points, kind, plus }) =>
  svg("polyline", { class: `edge ${kind} ${plus ? "bare" : ""}`, points: points.map((point) => point.join()).join(" ") });

const drawFrame = ({ x, y, width, height, label, label_x, anchor }) => [svg("rect", { class: "frame", x, y, width, height, rx: 10 }),
  svg("text", { class: "times", x: label_x, y: y + 15, style: `text-anchor:${anchor}` }, label)];

const drawPlus = (x, y) => svg("g", { class: "plus" }, svg("circle", { cx: x, cy: y, r: 8 }), svg("text", { x, y: y + 4.8 }, "+"));

const drawBadge = ({ x, y, width, height }) => svg("g", { class: "badge" },
  svg("rect", { x: x + width - 46, y: y + height - 6, width: 50, height: 15, rx: 7.5 }), svg("text", { x: x + width - 21, y: y + height + 5 }, "⇄ mixes"));

function pick(stage, view, index) {
  const node = current(stage).nodes[index];
  if (!node) return;
  stage.set({ part: node.id });
  view.parts.get(node.id).focus();
}

function travel(stage, view, event) {
  const { nodes } = current(stage);
  const at = nodes.findIndex(({ id }) => view.parts.get(id) === event.target);
  const to = ["Enter", " "].includes(event.key) ? at : partAfter(event.key, at, nodes.length);
  if (to === null) return;
  event.preventDefault();
  pick(stage, view, to);
}

function update(stage, view) {
  const plan = current(stage), chosen = plan.nodes.find(({ id }) => id === stage.model.get("part"));
  const { reads, writes } = partEdges(plan.edges, chosen?.id);
  const near = new Set([...reads.map((i) => plan.edges[i].from), ...writes.map((i) => plan.edges[i].to)]);
  view.svg.classList.toggle("choosing", Boolean(chosen));
  plan.nodes.forEach(({ id }, i) => markPart(view.parts.get(id), id === chosen?.id, near.has(id), chosen ? id === chosen.id : !i));
  view.edges.forEach((edge, i) => {
    edge.classList.toggle("reads", reads.includes(i));
    edge.classList.toggle("writes", writes.includes(i));
  });
  const sizes = sizesOf(stage);
  view.shapes.forEach((text, i) => { text.textContent = `[${shapeNumbers(plan.shapes[i].letters, sizes).join(", ")}]`; });
  drawPanel(stage, view, plan, chosen, sizes);
  // The shares know nothing of lengths: a slider need not have them drawn again.
  if (view.shared !== (view.shared = `${plan.name}, ${chosen?.part}`)) drawShares(view, plan, chosen);
}

function markPart(node, chosen, near, stop) {
  node.setAttribute("aria-checked", String(chosen));
  node.classList.toggle("near", near);
  node.setAttribute("tabindex", stop ? 0 : -1);
}

const grouped = (count) => count.toLocaleString("en");

function drawPanel(stage, view, plan, chosen, sizes) {
  view.told.classList.toggle("hidden", Boolean(chosen)); // the panel shows the same to the eye
  if (!chosen) {
    view.told.textContent = "Choose a part on the map: by click, or with Tab and the arrow keys.";
    view.panel.replaceChildren(h("p", { class: "note" }, `${plan.name}: ${plan.source}.`));
    return;
  }
  const title = titleOf(chosen), often = chosen.layers > 1 ? ` in each of ${chosen.layers} layers` : "";
  view.told.textContent = `${title}: reads ${chosen.reads[0]}, writes ${chosen.writes[0]}.`;
  const flow = (words, name, [what, ...letters]) => [h("dt", {}, words), h("dd", { class: name }, what, " ", shapeText(letters, sizes))];
  view.panel.replaceChildren(h("h3", {}, title, h("small", {}, often)), h("p", {}, chosen.does, chosen.shared && ` ${chosen.shared}`),
    h("dl", { class: "flow" }, flow("Reads ┅", "read", chosen.reads), flow("Writes ━", "written", chosen.writes)),
    h("p", {}, counted(chosen, plan)), inside(chosen, sizes), tensors(chosen), chapterLink(stage, chosen));
}

const titleOf = ({ id, part, label }) => (part === "residual" ? "Residual stream" : label) + (id.startsWith("source ") && part !== "input" ? " of the source" : "");

const shapeText = (letters, sizes) => letters.length
  ? h("code", {}, `[${letters.join(", ")}] = [${shapeNumbers(letters, sizes).join(", ")}]`) : null;

function counted({ count, layers }, plan) {
  const total = plan.nodes.reduce((sum, node) => sum + node.count, 0);
  if (!count) return "It has no parameters of its own.";
  const each = layers > 1 ? `${grouped(count / layers)} parameters in a layer, ${grouped(count)} in all ${layers}` : `${grouped(count)} parameters`;
  return `${each}: ${percent(count / total)} of the model’s ${grouped(total)}.`;
}

const inside = (chosen, sizes) => chosen.inside.length ? details("Shapes on the way", ["", "letters", "numbers"],
  chosen.inside.map(([name, letters]) => [name, `[${letters.join(", ")}]`, `[${shapeNumbers(letters, sizes).join(", ")}]`])) : null;

const tensors = (chosen) => chosen.tensors.length ? details(chosen.layers > 1 ? "Its parameters, in one layer" : "Its parameters",
  ["name", "shape", "count"], chosen.tensors.map(([name, shape]) => [name, `[${shape.join(", ")}]`, grouped(shape.reduce((a, b) => a * b, 1))])) : null;

/** A page has its chapters beside it; where a notebook would lead, nobody knows. */
const chapterLink = (stage, { chapter }) => stage.model.onPage
  ? h("p", {}, h("a", { href: `${stage.model.get("chapters")}${chapter}.html` }, `The chapter on this: ${chapter}`)) : null;

function drawShares(view, plan, chosen) {
  const shares = parameterShares(plan.nodes), opened = view.counts.querySelector("details")?.open;
  view.chart.update(shares.map(({ part, share }) => ({ label: WORDS[part], value: share, chosen: part === chosen?.part })));
  view.counts.replaceChildren(details("The counts", ["Part", "Parameters"], shares.map(({ part, count }) => [WORDS[part], grouped(count)])));
  view.counts.firstChild.open = opened;
}

/** After the bet the map shows which parts mix tokens. */
function settle(stage, view) {
  const made = stage.model.get("bet"), settled = made >= 0;
  for (const badge of view.badges) badge.style.display = settled ? "" : "none";
  view.answer.textContent = settled ? `${made === MIXING ? "✓ Right." : "✗ No."} Only attention moves something from token to token. Norms, FFN, embedding and unembedding work on each token’s vector alone, with the same weights for all.` : "";
}

export default { render };
