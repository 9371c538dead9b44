import { bet, button, choice, details, dot, enable, fixed, h, signedMap, slider, Stage, svg } from "./kit.js";

/** sin(t / 10000^(2i/C)) in column 2i, cos of the same in column 2i + 1. */
export const sinusoidal = (position, size) => Float64Array.from({ length: size }, (_, column) => sinusoid(position, column, size));

/** One number of it. A curve over all positions needs no whole rows. */
function sinusoid(position, column, size) {
  const angle = position * waveFrequency(column, size);
  return column % 2 ? Math.cos(angle) : Math.sin(angle);
}

/** 10000^(−2i/C), radians a position, for both columns of pair i. */
export const waveFrequency = (column, size) => 10000 ** (-2 * Math.floor(column / 2) / size);

/** How many positions the wave of a column takes to come round. */
export const wavelength = (column, size) => (2 * Math.PI) / waveFrequency(column, size);

/** The dot product of two rows that stand `distance` apart: Σ cos(distance · frequency). */
export function productAt(distance, size) {
  let sum = 0;
  for (let column = 0; column < size; column += 2) sum += Math.cos(distance * waveFrequency(column, size));
  return sum;
}

const STYLE = `
section { display: grid; gap: 0.8rem; }
section + section { padding-top: 1rem; border-top: 1px solid var(--td-line); }
h4 { margin: 0; font-size: 1rem; font-weight: 600; }
.split { display: grid; gap: 1rem 2rem; align-items: start; }
.map { position: relative; height: 20rem; cursor: crosshair; border: 1px solid var(--td-line); }
.map svg { height: 100%; }
.map i { position: absolute; pointer-events: none; }
.map .line { left: 0; right: 0; height: calc(100% / var(--rows)); top: calc(100% * var(--row) / var(--rows)); box-shadow: 0 0 0 1.5px var(--td-ink); }
.map .line.second { box-shadow: 0 0 0 1.5px var(--td-token); }
.map .column { top: 0; bottom: 0; width: calc(200% / var(--columns)); left: calc(200% * var(--pair) / var(--columns)); box-shadow: 0 0 0 1.5px var(--td-accent); }
.axis { display: flex; justify-content: space-between; gap: 0.5rem; color: var(--td-muted); font-size: 0.75rem; }
.formula { overflow-wrap: anywhere; }
.plot { display: block; width: 100%; height: auto; }
.plot path { fill: none; stroke-width: 2; }
.plot .sine { stroke: var(--td-accent); } .plot .cosine { stroke: var(--td-muted); stroke-dasharray: 5 3; }
.plot .axis-line { stroke: var(--td-line); stroke-width: 1; } .plot .here { stroke: var(--td-ink); stroke-width: 1.5; }
.plot circle { fill: var(--td-accent); stroke: var(--td-surface); stroke-width: 1.5; }
.plot text { fill: var(--td-muted); font: 400 11px system-ui, sans-serif; }
@container (min-width: 760px) { .split { grid-template-columns: minmax(0, 1.15fr) minmax(0, 1fr); } .map { height: 24rem; } }
`;

function render({ model, el }) {
  const stage = new Stage(el, model);
  const view = { map: h("div", { class: "map" }), formula: h("p", { class: "formula" }), wave: h("div"), waves: h("div"),
    lines: ["line", "line second", "column"].map((name) => h("i", { class: name })), axis: h("p", { class: "axis" }) };
  stage.add(h("style", {}, STYLE), patternPart(stage, view), distancePart(stage));
  stage.ready();
  return () => stage.remove();
}

const sizeOf = (stage) => stage.model.get("widths")[stage.model.get("width")];

function patternPart(stage, view) {
  const length = stage.model.get("length"), get = (name) => stage.model.get(name);
  stage.listen(view.map, "pointermove", (event) => { const [t, column] = cellUnder(stage, view, event); tellCell(stage, view, t, column); });
  stage.listen(view.map, "pointerleave", () => tellCell(stage, view, get("position"), get("column")));
  stage.listen(view.map, "click", (event) => { const [position, column] = cellUnder(stage, view, event); stage.set({ position, column }); });
  const column = slider(stage, "column", { label: "Number in the vector", min: 0, max: sizeOf(stage) - 1, step: 1 });
  stage.watch(["width"], () => {
    const size = sizeOf(stage);
    if (get("column") >= size) stage.set({ column: size - 1 });
    column.stretch(size - 1);
    drawMap(stage, view, size, length);
  });
  stage.watch(["width", "position", "other", "column", "bet"], () => markCell(stage, view));
  return h("section", { "aria-label": "The pattern" }, h("p", { class: "predict" }, h("b", {}, "Predict: "), "the first two numbers come round every 6.28 positions. After how many do the last two: 30, 600 or 35,000? Then move the second slider to its end."),
    h("div", { class: "controls" }, choice(stage, "width", { label: "Size C of the vectors", options: stage.model.get("widths") }),
      slider(stage, "position", { label: "Position", min: 0, max: length - 1, step: 1 }).node, column.node),
    h("div", { class: "split" }, h("div", {}, view.map, view.axis), h("div", { class: "bet" }, view.formula, view.wave, view.waves)));
}

function drawMap(stage, view, size, length) {
  const rows = Array.from({ length }, (_, t) => sinusoidal(t, size));
  view.map.style = `--rows:${length};--columns:${size}`;
  view.map.replaceChildren(signedMap(rows, { limit: 1, label: `${length} positions by ${size} numbers: the left columns change fast, the right ones slowly` }), ...view.lines);
  view.axis.replaceChildren(...["number 0", `down: positions 0 to ${length - 1}`, `number ${size - 1}`].map((text) => h("span", {}, text)));
  const rowsOf = () => Array.from({ length: size / 2 }, (_, i) => [`${2 * i}, ${2 * i + 1}`, waveFrequency(2 * i, size), wavelength(2 * i, size)]);
  view.waves.replaceChildren(details("The wave of each pair of columns", ["columns", "radians a position", "wavelength"], rowsOf()));
}

function cellUnder(stage, view, event) {
  const { left, top, width, height } = view.map.getBoundingClientRect();
  const at = (share, count) => Math.max(0, Math.min(count - 1, Math.floor(share * count)));
  return [at((event.clientY - top) / height, stage.model.get("length")), at((event.clientX - left) / width, sizeOf(stage))];
}

function markCell(stage, view) {
  const t = stage.model.get("position"), column = stage.model.get("column");
  const [line, second, pair] = view.lines;
  line.style.setProperty("--row", t);
  second.style.setProperty("--row", stage.model.get("other"));
  second.hidden = stage.model.get("bet") < 0;
  pair.style.setProperty("--pair", Math.floor(column / 2));
  tellCell(stage, view, t, column);
  drawWave(stage, view, t, column);
}

function tellCell(stage, view, t, column) {
  const size = sizeOf(stage), name = column % 2 ? "cos" : "sin", angle = t * waveFrequency(column, size);
  view.formula.replaceChildren(`Position ${t}, number ${column}: ${name}(${t} ÷ 10000`, h("sup", {}, `${2 * Math.floor(column / 2)}/${size}`),
    `) = ${name}(${fixed(angle, 4)}) = `, h("b", {}, fixed(sinusoid(t, column, size), 4)), `. This pair’s wave comes round every ${long(wavelength(column, size))} positions.`);
}

const long = (value) => value.toLocaleString("en", { maximumFractionDigits: value < 100 ? 2 : 0 });

/** The two columns of the chosen pair, over all positions. */
function drawWave(stage, view, t, column) {
  const size = sizeOf(stage), length = stage.model.get("length"), first = column - (column % 2);
  const x = (s) => 30 + (340 * s) / (length - 1), y = (value) => 66 - 50 * value;
  const curve = (offset) => path(Array.from({ length: 4 * length - 3 }, (_, i) => [x(i / 4), y(sinusoid(i / 4, first + offset, size))]));
  view.wave.replaceChildren(svg("svg", { class: "plot", viewBox: "0 0 380 138", role: "img", "aria-label": `Columns ${first} (sine) and ${first + 1} (cosine) over the positions` },
    svg("path", { class: "axis-line", d: `M30 ${y(0)}H370` }), svg("path", { class: "cosine", d: curve(1) }), svg("path", { class: "sine", d: curve(0) }),
    svg("path", { class: "here", d: `M${x(t)} ${y(1)}V${y(-1)}` }), [0, 1].map((offset) => svg("circle", { cx: x(t), cy: y(sinusoid(t, first + offset, size)), r: 4 })),
    label(24, y(1) + 4, "+1", "end"), label(24, y(-1) + 4, "−1", "end"), label(30, 134, `column ${first}, solid: sine; column ${first + 1}, dashed: cosine`)));
}

const path = (points) => `M${points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`;

const label = (x, y, text, anchor = "start") => svg("text", { x, y, "text-anchor": anchor }, text);

function distancePart(stage) {
  const length = stage.model.get("length"), get = (name) => stage.model.get(name);
  const said = h("p", { role: "status" }), plot = h("div"), table = h("div");
  const both = (step) => stage.set({ position: get("position") + step, other: get("other") + step });
  const can = (step) => [get("position"), get("other")].every((t) => t + step >= 0 && t + step < length);
  const buttons = [-5, -1, 1, 5].map((step) => ({ step, node: button(stage, step < 0 ? `−${-step}` : `+${step}`, () => both(step), { "aria-label": `Move both by ${step}` }) }));
  const found = h("div", { class: "split" }, h("div", { class: "bet" }, slider(stage, "other", { label: "The other position", min: 0, max: length - 1, step: 1 }).node,
    h("div", { class: "buttons" }, h("span", { class: "label" }, "Move both"), buttons.map(({ node }) => node)), said, table), plot);
  stage.watch(["width", "position", "other", "bet"], () => {
    found.hidden = get("bet") < 0;
    if (found.hidden) return;
    buttons.forEach(({ step, node }) => enable(node, can(step)));
    drawProducts(stage, { said, plot, table });
  });
  return h("section", { "aria-label": "Two positions" }, h("h4", {}, "How alike are two positions?"),
    bet(stage, "bet", { options: ["larger", "the same", "smaller"], ask: "take the dot product of rows 3 and 7, then of rows 13 and 17. The second one will be …" }), found);
}

function drawProducts(stage, { said, plot, table }) {
  const size = sizeOf(stage), t = stage.model.get("position"), s = stage.model.get("other"), length = stage.model.get("length");
  const product = (a, b) => fixed(dot(sinusoidal(a, size), sinusoidal(b, size)), 4), distance = Math.abs(t - s);
  said.replaceChildren(`Rows ${t} and ${s}: `, h("b", {}, product(t, s)), `. Rows 3 and 7: ${product(3, 7)}; rows 13 and 17: ${product(13, 17)}: the same. Only the distance counts, here ${distance}: the product is the sum of cos(${distance} × frequency) over the ${size / 2} pairs.`);
  const values = Array.from({ length: 4 * length - 3 }, (_, i) => productAt(i / 4, size)), low = Math.min(0, ...values);
  const x = (d) => 34 + (336 * d) / (length - 1), y = (value) => 160 - (140 * (value - low)) / (size / 2 - low);
  const curve = path(values.map((value, i) => [x(i / 4), y(value)]));
  plot.replaceChildren(svg("svg", { class: "plot", viewBox: "0 0 380 190", role: "img", "aria-label": `The dot product falls in waves from ${size / 2} at distance 0` },
    svg("path", { class: "axis-line", d: `M34 ${y(0)}H370` }), svg("path", { class: "sine", d: curve }), svg("circle", { cx: x(distance), cy: y(productAt(distance, size)), r: 5 }),
    label(28, y(size / 2) + 4, size / 2, "end"), label(28, y(0) + 4, 0, "end"), label(34, 184, "distance 0"), label(370, 184, length - 1, "end"), label(60, 16, "dot product")));
  const rows = Array.from({ length }, (_, d) => [d, productAt(d, size)]);
  const open = table.querySelector("details")?.open;
  table.replaceChildren(details("The dot product at every distance", ["distance", "dot product"], rows));
  table.querySelector("details").open = Boolean(open);
}

export default { render };
