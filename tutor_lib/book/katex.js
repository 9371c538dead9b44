// Reads one JSON request a line, {tex, display}, and answers one line each: {mathml} or {error}.
const katex = require(process.argv[2]);
const macros = JSON.parse(process.argv[3]);

function render({ tex, display }) {
  const options = { displayMode: display, output: "mathml", throwOnError: true, strict: "ignore" };
  try {
    // A copy: a \gdef in one formula must not reach the next.
    return { mathml: katex.renderToString(tex, { ...options, macros: { ...macros } }) };
  } catch (error) {
    return { error: error.message };
  }
}

require("readline")
  .createInterface({ input: process.stdin })
  .on("line", (line) => process.stdout.write(JSON.stringify(render(JSON.parse(line))) + "\n"));
