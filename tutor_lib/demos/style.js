// How every demo looks. Colours are set outside, in demo.css, and inherited.
export const STYLE = `
:host { display: block; container-type: inline-size; }
.demo {
  --soft: color-mix(in srgb, var(--td-ink) 5%, var(--td-surface));
  box-sizing: border-box; display: grid; gap: 1rem; padding: 1.1rem 1.25rem 1.25rem;
  border: 1px solid var(--td-line); border-radius: 10px;
  background: var(--td-surface); color: var(--td-ink);
  font: 400 0.9375rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  font-variant-numeric: tabular-nums;
}
.demo > *, .columns > * { min-width: 0; }
*, *::before, *::after { box-sizing: border-box; }
p, ol, ul, figure, table { margin: 0; }
[hidden] { display: none !important; }
.predict { padding-left: 0.75rem; border-left: 3px solid var(--td-accent); max-width: 64ch; }
.predict b { font-weight: 600; }
.note { color: var(--td-muted); font-size: 0.875rem; max-width: 72ch; }
.note:empty { display: none; }
.failure { color: var(--td-ink); padding: 0.6rem 0.8rem; border: 1px solid var(--td-q); border-radius: 8px; }
.strong { color: var(--td-ink); font-weight: 600; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

/* Controls */
.controls { display: flex; flex-wrap: wrap; gap: 0.9rem 1.5rem; align-items: start; }
.control { display: grid; gap: 0.3rem; border: 0; margin: 0; padding: 0; min-width: 0; }
.controls > .control { flex: 1 1 8rem; max-width: 13rem; }
.controls > .choice { flex: 0 0 auto; }
.control.wide { width: 100%; }
.label { display: flex; justify-content: space-between; gap: 0.75rem; padding: 0;
  color: var(--td-muted); font-size: 0.8125rem; font-weight: 500; }
.label .value { white-space: nowrap; color: var(--td-ink); font-weight: 600; }
input, textarea, button, select { font: inherit; color: inherit; }
input[type="range"] { width: 100%; margin: 0.25rem 0; accent-color: var(--td-accent); }
textarea, input[type="number"] {
  width: 100%; margin: 0; padding: 0.5rem 0.65rem; border: 1px solid var(--td-edge);
  border-radius: 7px; background: var(--td-paper); }
textarea { resize: vertical; min-height: 2.6rem; line-height: 1.5; }
input[type="number"] { max-width: 7rem; padding-block: 0.3rem; }
button {
  min-height: 2.1rem; padding: 0.3rem 0.85rem; border: 1px solid var(--td-edge); border-radius: 7px;
  background: var(--td-paper); font-weight: 500; cursor: pointer; }
button:hover { background: var(--soft); }
button.primary { background: var(--td-accent); border-color: var(--td-accent); color: var(--td-paper); }
button.primary:hover { background: color-mix(in srgb, var(--td-accent) 88%, var(--td-ink)); }
button[aria-disabled="true"] { opacity: 1; color: var(--td-muted); background: var(--soft);
  border-color: var(--td-line); cursor: not-allowed; }
.buttons { display: flex; flex-wrap: wrap; gap: 0.5rem; align-items: center; }
.presets { display: flex; flex-wrap: wrap; gap: 0.4rem; align-items: center; }
.presets .label { margin-right: 0.25rem; }
button.chip { min-height: 1.75rem; padding: 0.1rem 0.7rem; border-radius: 999px; font-size: 0.8125rem;
  border-color: var(--td-line); background: transparent; }
button.chip[aria-pressed="true"] { border-color: var(--td-accent); color: var(--td-accent);
  background: color-mix(in srgb, var(--td-accent) 8%, var(--td-surface)); }
.segments { display: inline-flex; border: 1px solid var(--td-edge); border-radius: 7px; overflow: hidden; background: var(--td-paper); }
.segments label { position: relative; display: block; cursor: pointer; }
.segments label + label { border-left: 1px solid var(--td-line); }
.segments input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: pointer; }
.segments span { display: block; min-width: 2.1rem; padding: 0.25rem 0.6rem; text-align: center; }
.segments input:checked + span { background: var(--td-accent); color: var(--td-paper); font-weight: 600; }
.segments input:focus-visible + span { outline: 2px solid var(--td-ink); outline-offset: -4px; border-radius: 6px; }
:focus-visible { outline: 2px solid var(--td-accent); outline-offset: 2px; }

/* Tokens */
.token { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: 0.875em; white-space: pre; }
.chosen-token { font-weight: 600; }
.token-row { display: flex; flex-wrap: wrap; gap: 0.25rem; }
.token-row label { position: relative; display: block; cursor: pointer; }
.token-row input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: pointer; }
.token-row label > span { display: grid; justify-items: center; min-width: 1.9rem; height: 100%; border: 1px solid var(--td-line); border-radius: 6px; overflow: hidden; background: var(--td-paper); }
.token-row .token { width: 100%; padding: 0.15rem 0.4rem; text-align: center; background: color-mix(in srgb, var(--td-accent) var(--shade, 0%), var(--td-paper)); }
.token-row small { padding: 0 0.3rem; color: var(--td-muted); font-size: 0.6875rem; }
.token-row input:checked + span { border-color: var(--td-accent); box-shadow: 0 0 0 1px var(--td-accent); }
.token-row input:checked + span .token { font-weight: 700; }
.token-row input:focus-visible + span { outline: 2px solid var(--td-ink); outline-offset: 2px; }
.bets button[aria-pressed="true"] { border-color: var(--td-accent); box-shadow: inset 0 0 0 1px var(--td-accent); color: var(--td-accent); }

/* Tables of bars */
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; color: var(--td-muted); font-size: 0.8125rem; font-weight: 500; padding-bottom: 0.35rem; }
th { font-weight: 400; text-align: left; }
thead th { color: var(--td-muted); font-size: 0.75rem; font-weight: 500; padding-bottom: 0.2rem; }
.number { text-align: right; white-space: nowrap; padding-left: 0.75rem; width: 1%; }
.bars tbody th { width: 1%; padding-right: 0.75rem; white-space: nowrap; max-width: 9rem; overflow: hidden; text-overflow: ellipsis; }
.bars td, .bars tbody th { height: 1.65rem; line-height: 1.2; }
.track > div { position: relative; height: 0.95rem; border-radius: 3px; background: var(--soft); }
.track i { position: absolute; inset: 0 auto 0 0; border-radius: 3px; min-width: 1px; transition: width 120ms ease-out; }
.bar { background: var(--td-accent); }
.ghost { border: 1px solid color-mix(in srgb, var(--td-accent) 65%, var(--td-surface)); background: color-mix(in srgb, var(--td-accent) 14%, var(--td-surface)); }
tr.cut .token { text-decoration: line-through; }
tr.cut th, tr.cut .number { color: var(--td-muted); }
tr.cut .bar { display: none; }
tr.cut .ghost { border-color: var(--td-line); border-style: dashed; background: none; }
tr.chosen th, tr.chosen .number { font-weight: 700; }
.signed { display: block; width: 100%; height: 3.5rem; border-radius: 4px; background: linear-gradient(var(--td-line), var(--td-line)) center / 100% 1px no-repeat; }
.signed path { fill: color-mix(in srgb, var(--td-muted) 60%, var(--td-surface)); }
.signed path.marked { fill: var(--td-accent); }
.scores .track > div { background: var(--soft) linear-gradient(var(--td-edge), var(--td-edge)) var(--zero) 50% / 1px 100% no-repeat; }
.scores .bar { border-radius: 2px; }
tr.muted th, tr.muted .number { color: var(--td-muted); }
tr.muted .bar { background: none; border: 1px dashed var(--td-edge); }
.signed-map { display: block; width: 100%; background: var(--td-paper); border-radius: 3px; }
.bet { display: grid; gap: 0.5rem; }
details > summary { cursor: pointer; color: var(--td-muted); font-size: 0.8125rem; }
sup { font-size: 0.75em; line-height: 0; vertical-align: super; }
.scroll { overflow: auto; max-height: 15rem; margin-top: 0.5rem; }
.plain { font-size: 0.8125rem; }
.plain td, .plain tbody th { padding-block: 0.1rem; border-top: 1px solid var(--td-line); }
@media (prefers-reduced-motion: reduce) { * { transition: none !important; } }
@media print { .demo { break-inside: avoid; } button { display: none; } }
`;
