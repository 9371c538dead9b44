import { BytePairTokenizer, button, choice, details, fixed, h, signedBars, slider, Stage, svg, textField, withStoryteller } from "./kit.js";

/** Pieces of `length` numbers, each beginning `stride` after the last; a shorter rest is left out. */
export function windows(x, length, stride = length) {
  const count = Math.max(0, Math.floor((x.length - length) / stride) + 1);
  return Array.from({ length: count }, (_, i) => x.slice(i * stride, i * stride + length));
}

/** Square patches of an image of `side` × `side` numbers, row by row; each patch row by row too. */
export function imagePatches(pixels, side, patch) {
  const across = Math.floor(side / patch);
  return Array.from({ length: across * across }, (_, t) => {
    const top = Math.floor(t / across) * patch, left = (t % across) * patch;
    return Array.from({ length: patch * patch }, (_, i) => pixels[(top + Math.floor(i / patch)) * side + left + (i % patch)]);
  });
}

/** How strong each frequency from 0 to half the rate is in a frame: |DFT| under Hann's window. */
export function frameSpectrum(frame) {
  const length = frame.length, turn = (2 * Math.PI) / length;
  const cos = Float64Array.from({ length }, (_, n) => Math.cos(n * turn));
  const x = Float64Array.from(frame, (value, n) => value * 0.5 * (1 - cos[n]));
  const quarter = length / 4; // sin a = cos(a − 90°): lengths are multiples of four
  return Array.from({ length: length / 2 + 1 }, (_, k) => {
    let real = 0, imaginary = 0;
    for (let n = 0, at = 0; n < length; n++, at = (at + k) % length) {
      real += x[n] * cos[at];
      imaginary -= x[n] * cos[(at + length - quarter) % length];
    }
    return Math.hypot(real, imaginary);
  });
}

/** Mean 0 and standard deviation 1; a series that does not move becomes zeros. */
export function standardised(x) {
  const mean = x.reduce((a, b) => a + b, 0) / x.length;
  const deviation = Math.sqrt(x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length);
  return x.map((value) => (deviation ? (value - mean) / deviation : 0));
}

/** The scores of one head of attention without a mask: every token meets every token. */
export const pairCount = (count) => count * count;

const SIDE = 32, LEVELS = 16;
const number = (value) => value.toLocaleString("en");

// What is cut, into which sizes, and what a token then is. `tokens` takes (raw, size, teller).
const KINDS = [
  { name: "Text", trait: "text", size: "merges", label: "Merges used", sizes: (teller) => [0, 64, teller.tokenizer.merges.length],
    tokens: (text, merges, teller) => {
      const tokenizer = new BytePairTokenizer(teller.tokenizer.merges.slice(0, merges)), width = teller.config.d_model;
      return tokenizer.encode(text.replaceAll("<|endoftext|>", "")).map((id) => ({ id, piece: tokenizer.show(id),
        vector: teller.tensors["embedding.weight"].subarray(id * width, (id + 1) * width) }));
    },
    about: (_, width) => `a token is an id, and its row in the storyteller’s table has ${width} numbers` },
  { name: "Sound", trait: "sound", size: "frame", label: "Samples in a frame", sizes: () => [64, 128, 256], rows: "frequency",
    tokens: (sound, length) => windows(sound, length, length / 2).map((frame) => ({ vector: frameSpectrum(frame) })),
    about: (size, width) => `a frame of ${size} samples, half of it shared with the next, becomes the strength of ${width} frequencies` },
  { name: "Image", trait: "image", size: "patch", label: "Side of a patch", sizes: () => [2, 4, 8], rows: "pixel of the patch",
    tokens: (image, patch) => imagePatches(image, SIDE, patch).map((vector) => ({ vector })),
    about: (size, width) => `a patch of ${size} × ${size} pixels is a list of ${width} numbers` },
  { name: "Prices", trait: "prices", size: "window", label: "Days in a window", sizes: () => [5, 10, 20], rows: "day of the window",
    tokens: (prices, length) => windows(standardised(prices), length).map((vector) => ({ vector })),
    about: (size) => `a window of ${size} days is a list of ${size} prices, less the mean of the series and divided by its deviation` },
];

const STYLE = `
.raw svg { display: block; width: 100%; height: 7rem; overflow: visible; }
.raw svg.square { width: min(100%, 15rem); height: auto; margin: 0 auto; }
.line { fill: none; stroke: var(--td-ink); stroke-width: 1.2; vector-effect: non-scaling-stroke; }
.cuts { fill: none; stroke: var(--td-edge); stroke-width: 1; stroke-opacity: 0.45; vector-effect: non-scaling-stroke; }
.here { fill: color-mix(in srgb, var(--td-token) 16%, transparent); stroke: var(--td-token); stroke-width: 2; vector-effect: non-scaling-stroke; }
.here.over { fill: none; }
.map { display: block; width: 100%; height: 7rem; }
.map path { shape-rendering: crispEdges; }
.pieces { display: flex; flex-wrap: wrap; gap: 3px; padding: 0; list-style: none; }
.pieces li { padding: 0 0.3rem; border: 1px solid var(--td-line); border-radius: 4px; background: var(--td-paper); text-align: center; }
.pieces small { display: block; font-size: 0.6875rem; color: var(--td-muted); }
.pieces li[aria-current] { border-color: var(--td-token); box-shadow: inset 0 0 0 1px var(--td-token); color: var(--td-token); }
.two { display: grid; gap: 1rem 2rem; }
@container (min-width: 700px) { .two { grid-template-columns: 1fr 1fr; } }
.stack { display: grid; gap: 1rem; } .stack > * { min-width: 0; }
.signed path.marked { fill: var(--td-token); }
button[aria-pressed="true"] { border-color: var(--td-accent); color: var(--td-accent); background: color-mix(in srgb, var(--td-accent) 8%, var(--td-surface)); }
.controls > .choice { max-width: none; }
`;

function render({ model, el }) {
  const stage = new Stage(el, model);
  withStoryteller(stage, (teller) => build(stage, teller));
  return () => stage.remove();
}

function build(stage, teller) {
  const view = { teller, kept: new Map(), status: h("p", { class: "note", role: "status" }), raw: h("div", { class: "raw" }), sequence: h("div"),
    chosen: h("div", { class: "stack" }), costs: h("div"), text: textField(stage, "text", { label: "Text", rows: 2, maxlength: stage.model.get("max_length") }),
    position: slider(stage, "token", { label: "Token", min: 0, max: 1, step: 1 }) };
  view.sizes = KINDS.map(({ size, label, sizes }) => choice(stage, size, { label, options: sizes(teller).map(number) }));
  stage.add(h("style", {}, STYLE), question(stage, view),
    h("div", { class: "controls" }, choice(stage, "domain", { label: "What is read", options: KINDS.map(({ name }) => name) }),
      view.sizes, view.position.node), view.text, view.status,
    h("div", { class: "two" }, h("div", { class: "stack" }, view.raw, view.sequence), h("div", { class: "stack" }, view.costs, view.chosen)));
  stage.watch(["domain", "text", "sound", "image", "prices", ...KINDS.map(({ size }) => size)], () => cut(stage, view));
  stage.onChange("token", () => select(stage, view));
}

/** The bet is settled by counting: the same image with patches of half the side. */
function question(stage, view) {
  const offered = [2, 4, 16], said = h("p", { class: "note", role: "status" });
  const nodes = offered.map((times, i) => button(stage, `${times} times`, () => stage.set({ bet: i })));
  stage.watch(["bet"], () => {
    const bet = stage.model.get("bet");
    nodes.forEach((node, i) => node.setAttribute("aria-pressed", String(i === bet)));
    said.textContent = bet < 0 ? "" : settled(offered[bet], stage.model.get("image"));
    view.costs.hidden = bet < 0; // it would give the answer away
  });
  return h("div", { class: "stack" }, h("p", { class: "predict" }, h("b", {}, "Predict: "),
    "an image is cut into square patches, each a token. Halve the side of a patch. How many times as many pairs of tokens does attention compare?"),
  h("div", { class: "buttons", role: "group", "aria-label": "Your bet" }, nodes), said);
}

function settled(bet, image) {
  const [large, small] = [8, 4].map((side) => imagePatches(image, SIDE, side).length);
  const times = pairCount(small) / pairCount(large);
  return `You bet ${bet}. ${bet === times ? "Right" : "Counted otherwise"}: patches of 8 × 8 give ${large} tokens and ${number(pairCount(large))} pairs, `
    + `patches of 4 × 4 give ${small} tokens and ${number(pairCount(small))} pairs, ${times} times as many.`;
}

/** The raw thing becomes tokens; everything but the chosen token is drawn. */
function cut(stage, view) {
  const kind = KINDS[stage.model.get("domain")], raw = stage.model.get(kind.trait), sizes = kind.sizes(view.teller);
  const size = sizes[stage.model.get(kind.size)];
  view.kind = kind;
  view.tokens = tokensOf(view, kind, raw, size);
  view.size = size;
  view.text.hidden = kind.trait !== "text";
  view.sizes.forEach((node, i) => { node.hidden = KINDS[i] !== kind; });
  view.costs.replaceChildren(costTable(kind, raw, sizes, size, view));
  const empty = !view.tokens.length;
  view.position.node.hidden = view.raw.hidden = view.sequence.hidden = view.chosen.hidden = empty;
  if (empty) { view.status.textContent = "Type a text to cut it."; return; }
  view.status.textContent = inWords(view);
  view.raw.replaceChildren(kind.trait === "text" ? pieces(view) : kind.trait === "image" ? picture(view, raw) : curve(view, raw));
  view.sequence.replaceChildren(...(kind.trait === "text" ? [] : heatMap(view)));
  view.position.stretch(view.tokens.length - 1);
  select(stage, view);
}

/** What was cut once is kept: the table of costs needs every size, and readers go back. */
function tokensOf(view, kind, raw, size) {
  const key = `${kind.trait} ${size}`;
  if (view.kept.get(key)?.raw !== raw) view.kept.set(key, { raw, tokens: kind.tokens(raw, size, view.teller) });
  return view.kept.get(key).tokens;
}

function inWords({ kind, tokens, size, teller }) {
  const count = tokens.length, width = tokens[0].vector.length, model = teller.config.d_model;
  const layer = kind.trait === "text" ? "." : `; a linear layer turns each into the model’s ${model}: [${count}, ${model}].`;
  return `${kind.name}: ${kind.about(size, width)}. T = ${count} tokens, shape [${count}, ${width}]${layer} Attention compares T² = ${number(pairCount(count))} pairs in each head.`;
}

/** What each size on offer would cost. */
function costTable(kind, raw, sizes, chosen, view) {
  const rows = sizes.map((size) => {
    const tokens = tokensOf(view, kind, raw, size);
    return h("tr", { class: size === chosen ? "strong" : "" }, h("th", { scope: "row" }, number(size)),
      [tokens.length, tokens[0]?.vector.length ?? 0, pairCount(tokens.length)].map((n) => h("td", { class: "number" }, number(n))));
  });
  return h("table", { class: "plain" }, h("caption", {}, "What each size costs; the chosen one is bold"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, kind.label), ["Tokens T", "Numbers each", "Pairs T²"].map((name) => h("th", { scope: "col", class: "number" }, name)))),
    h("tbody", {}, rows));
}

function pieces(view) {
  view.nodes = view.tokens.map(({ id, piece }) => h("li", {}, h("span", { class: "token" }, piece), h("small", {}, id)));
  return h("ol", { class: "pieces", "aria-label": "The pieces of the text and their ids" }, view.nodes);
}

/** Sound or prices as a line, with the places of the cuts. */
function curve(view, raw) {
  const low = Math.min(...raw), high = Math.max(...raw), across = raw.length, tall = 100, stride = strideOf(view);
  const y = (value) => (tall * (1 - (value - low) / (high - low || 1))).toFixed(1);
  const cuts = Array.from({ length: Math.floor(across / stride) + 1 }, (_, i) => `M${i * stride} 0V${tall}`).join("");
  view.here = (t) => ({ x: t * stride, y: 0, width: view.size, height: tall });
  return outlined(view, { viewBox: `0 0 ${across} ${tall}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `${view.kind.name}: ${number(across)} numbers from ${fixed(low, 2)} to ${fixed(high, 2)}` },
  svg("path", { class: "cuts", d: cuts }), svg("path", { class: "line", d: `M${raw.map((value, i) => `${i} ${y(value)}`).join("L")}` }));
}

const strideOf = ({ kind, size }) => (kind.trait === "sound" ? size / 2 : size);

function picture(view, pixels) {
  const rows = windows(pixels, SIDE), across = SIDE / view.size;
  const cuts = Array.from({ length: across + 1 }, (_, i) => `M${i * view.size} 0V${SIDE}M0 ${i * view.size}H${SIDE}`).join("");
  view.here = (t) => ({ x: (t % across) * view.size, y: Math.floor(t / across) * view.size, width: view.size, height: view.size });
  return outlined(view, { class: "square", viewBox: `-0.3 -0.3 ${SIDE + 0.6} ${SIDE + 0.6}`, role: "img",
    "aria-label": `Image of ${SIDE} × ${SIDE} pixels: a disk and a square, cut into ${view.tokens.length} patches` },
  shades(rows), svg("path", { class: "cuts", d: cuts }));
}

/** An SVG with the place of the chosen token on top. */
function outlined(view, attributes, ...drawn) {
  view.place = svg("rect", { class: `here ${view.kind.trait === "image" ? "over" : ""}` });
  return svg("svg", attributes, drawn, view.place);
}

/** The tokens side by side: a column is a token, a row one of its numbers, the first at the bottom. */
function heatMap(view) {
  const count = view.tokens.length, width = view.tokens[0].vector.length;
  const rows = Array.from({ length: width }, (_, i) => view.tokens.map(({ vector }) => vector[width - 1 - i]));
  view.column = svg("rect", { class: "here over", y: 0, width: 1, height: width });
  const label = `The ${count} tokens side by side: a column is a token, a row a ${view.kind.rows}`;
  return [h("p", { class: "label" }, label), svg("svg", { class: "map", viewBox: `0 0 ${count} ${width}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, shades(rows), view.column)];
}

/** A grid of numbers in a few shades: one path a shade, for thousands of cells would be slow. */
function shades(rows) {
  const all = rows.flat(), low = Math.min(...all), range = Math.max(...all) - low || 1;
  const paths = Array.from({ length: LEVELS }, () => []);
  rows.forEach((row, y) => row.forEach((value, x) =>
    paths[Math.min(LEVELS - 1, Math.floor((LEVELS * (value - low)) / range))].push(`M${x} ${y}h1v1h-1z`)));
  return paths.map((cells, level) => svg("path", { d: cells.join(""),
    style: `fill:color-mix(in srgb, var(--td-heat-high) ${Math.round((100 * level) / (LEVELS - 1))}%, var(--td-heat-low))` }));
}

/** Mark the chosen token and show its numbers. */
function select(stage, view) {
  if (!view.tokens.length) return;
  const last = view.tokens.length - 1, t = stage.model.get("token");
  if (t > last) { stage.set({ token: last }); return; }
  const { vector, piece, id } = view.tokens[t], text = view.kind.trait === "text";
  if (text) view.nodes.forEach((node, i) => (i === t ? node.setAttribute("aria-current", "true") : node.removeAttribute("aria-current")));
  else {
    for (const [name, value] of Object.entries(view.here(t))) view.place.setAttribute(name, value);
    view.column.setAttribute("x", t);
  }
  const title = `Token ${t}${text ? ` (${piece}, id ${id})` : ""}: ${vector.length} numbers`, open = view.chosen.querySelector("details")?.open;
  view.chosen.replaceChildren(h("p", { class: "label" }, title), signedBars(vector, { label: title, marked: [...vector.keys()] }),
    details("Every number of this token", ["Number", "Value"], Array.from(vector, (value, i) => [i, value])));
  view.chosen.querySelector("details").open = Boolean(open);
}

export default { render };
