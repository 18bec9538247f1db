// Bar charts of the last hour, one bar a minute, drawn as SVG. The newest minute is at the right.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, GAP] = [240, 44, 1.2];

/** Draws `series` (numbers, null where there was nothing) into `element`. */
export function drawBars(element, series) {
  const highest = Math.max(...series.map((value) => value ?? 0));
  const step = WIDTH / series.length;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  series.forEach((value, index) => {
    const height = value && highest ? Math.max(2, (value / highest) * HEIGHT) : 1;
    const bar = document.createElementNS(SVG, "rect");
    bar.setAttribute("x", String(index * step));
    bar.setAttribute("y", String(HEIGHT - height));
    bar.setAttribute("width", String(step - GAP));
    bar.setAttribute("height", String(height));
    if (!value) bar.setAttribute("class", "none");
    svg.append(bar);
  });
  element.replaceChildren(svg);
}
