// A prediction that the reader commits to, kept in a trait.
import { h } from "./stage.js";
import { button } from "./controls.js";
import { predictLine } from "./pieces.js";

/** The question, and its answers as buttons that write their number into the trait. */
export function bet(stage, name, { ask, options }) {
  const buttons = options.map((option, i) => button(stage, option, () => stage.set({ [name]: i })));
  stage.watch([name], () => buttons.forEach((node, i) =>
    node.setAttribute("aria-pressed", String(i === stage.model.get(name)))));
  return h("div", { class: "bet", role: "group", "aria-label": "Your prediction" },
    predictLine(ask), h("div", { class: "buttons bets" }, buttons));
}
