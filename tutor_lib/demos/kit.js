// What every demo imports: one line, one module.
export * from "./math.js";
export * from "./sampling.js";
export * from "./bpe.js";
export * from "./storyteller.js";
export * from "./load.js";
export * from "./stage.js";
export * from "./controls.js";
export * from "./charts.js";
export * from "./host.js";
