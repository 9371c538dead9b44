// A formula or figure wider than its box scrolls; the keyboard must be able to scroll it too.
const boxes = document.querySelectorAll(".math-scroll, .figure-scroll");
const watcher = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const scrolls = target.scrollWidth > target.clientWidth;
    if (scrolls) target.setAttribute("tabindex", "0");
    else target.removeAttribute("tabindex");
  }
});
for (const box of boxes) watcher.observe(box);
