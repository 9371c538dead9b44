// What every demo imports: one line, one module.
export * from "./math.js";
export * from "./sampling.js";
export * from "./bpe.js";
export * from "./bpe_train.js";
export * from "./subwords.js";
export * from "./storyteller.js";
export * from "./lens.js";
export * from "./load.js";
export * from "./stage.js";
export * from "./controls.js";
export * from "./choices.js";
export * from "./charts.js";
export * from "./bet.js";
export * from "./heads.js";
export * from "./pieces.js";
export * from "./merge_bets.js";
export * from "./host.js";
