// Two more ways to choose: one token of a text, and a bet before anything is shown.
import { h } from "./stage.js";
import { button } from "./controls.js";

/**
 * The tokens of a text as radio buttons in a row; the chosen position goes into a trait.
 * `update` takes the tokens' names and, for each, an optional note to stand below it and an
 * optional shade between 0 and 1.
 */
export function tokenRow(stage, name, { label }) {
  const row = h("span", { class: "token-row" });
  const set = h("fieldset", { class: "control" }, h("legend", { class: "label" }, label), row);
  let inputs = [];
  const mark = () => inputs.forEach((input, i) => { input.checked = i === stage.model.get(name); });
  stage.listen(set, "change", (event) => stage.set({ [name]: Number(event.target.value) }));
  stage.onChange(name, mark);
  const update = (tokens, notes = [], shades = []) => {
    // New nodes would take the focus away from the token just chosen.
    if (inputs.length !== tokens.length) {
      inputs = tokens.map((_, value) => h("input", { type: "radio", name, value }));
      row.replaceChildren(...inputs.map((input) => h("label", {}, input, h("span"))));
    }
    inputs.forEach((input, i) => input.nextSibling.replaceChildren(
      h("span", { class: "token", style: shades[i] == null ? null : `--shade:${Math.round(100 * shades[i])}%` }, tokens[i]),
      notes[i] == null ? "" : h("small", {}, notes[i])));
    mark();
  };
  return { node: set, update };
}

/** Buttons of which the reader presses one before the answer shows. `clear` takes the bet back. */
export function bets(stage, { label, options, onBet }) {
  const nodes = options.map((option, i) => button(stage, option, () => { press(i); onBet(i); }, { "aria-pressed": "false" }));
  const press = (bet) => nodes.forEach((node, i) => node.setAttribute("aria-pressed", String(i === bet)));
  const node = h("div", { class: "buttons bets", role: "group", "aria-label": label }, nodes);
  return { node, clear: () => press(null) };
}
