// Drawing on a uPlot canvas: hatching, marks, labels, colours.

export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const ratio = () => window.devicePixelRatio || 1;

export function hatch(context, colour = css("--hatch")) {
  const size = Math.round(7 * ratio());
  const tile = document.createElement("canvas");
  tile.width = tile.height = size;
  const pen = tile.getContext("2d");
  pen.strokeStyle = colour;
  pen.lineWidth = ratio();
  pen.beginPath();
  for (const shift of [-size, 0, size]) {
    pen.moveTo(shift, size);
    pen.lineTo(shift + size, 0);
  }
  pen.stroke();
  return context.createPattern(tile, "repeat");
}

export function shade(u, ranges, colour, hatched = true) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const [low, high] of ranges) {
    const left = low === null ? bbox.left : u.valToPos(low, "x", true);
    const right = high === null ? bbox.left + bbox.width : u.valToPos(high, "x", true);
    ctx.fillStyle = css("--shade");
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
    if (!hatched) continue;
    ctx.fillStyle = hatch(ctx, colour);
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
  }
  ctx.restore();
}

// Budgets without a plan are grey, those where the plan leaves what was measured hatched.
export function shadeRanges(u, xs, values, inside, colour) {
  shade(u, rangesWithout(xs, values.map((v, i) => v === null || inside[i])), colour);
  const none = rangesWithout(xs, values.map((v) => v !== null));
  shade(u, none, colour, false);
  for (const [low, high] of none) {
    const left = low === null ? u.bbox.left : u.valToPos(low, "x", true);
    const right = high === null ? u.bbox.left + u.bbox.width : u.valToPos(high, "x", true);
    if (right - left > 90 * ratio()) {
      label(u, "no plan fits", (left + right) / 2, u.bbox.top + u.bbox.height / 2, "center", css("--muted"));
    }
  }
}

// Ranges of x where something does not hold, bounded halfway between grid points.
export function rangesWithout(xs, inside) {
  const found = [];
  let start = null;
  const middle = (a, b) => Math.sqrt(xs[a] * xs[b]);
  for (let i = 0; i < xs.length; i += 1) {
    if (!inside[i] && start === null) start = i === 0 ? [null] : [middle(i - 1, i)];
    if (inside[i] && start !== null) {
      found.push([start[0], middle(i - 1, i)]);
      start = null;
    }
  }
  if (start !== null) found.push([start[0], null]);
  return found;
}

export function line(u, x0, y0, x1, y1, colour, width = 1, dash = []) {
  const { ctx } = u;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = width * ratio();
  ctx.setLineDash(dash.map((each) => each * ratio()));
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.lineTo(x1, y1);
  ctx.stroke();
  ctx.restore();
}

export function vertical(u, x, colour, width = 1, dash = []) {
  const at = u.valToPos(x, "x", true);
  line(u, at, u.bbox.top, at, u.bbox.top + u.bbox.height, colour, width, dash);
}

// Hollow where the point lies outside what was measured.
export function dot(u, x, y, colour, shape = "circle", measured = true) {
  const { ctx, bbox } = u;
  const left = u.valToPos(x, "x", true);
  const top = u.valToPos(y, "y", true);
  if (left < bbox.left - 1 || left > bbox.left + bbox.width + 1) return;
  if (top < bbox.top - 1 || top > bbox.top + bbox.height + 1) return;
  const size = 5 * ratio();
  ctx.save();
  ctx.fillStyle = colour;
  ctx.strokeStyle = css("--paper");
  ctx.lineWidth = 2 * ratio();
  ctx.beginPath();
  if (shape === "circle") ctx.arc(left, top, size, 0, 2 * Math.PI);
  else {
    ctx.moveTo(left, top - size);
    ctx.lineTo(left + size, top);
    ctx.lineTo(left, top + size);
    ctx.lineTo(left - size, top);
    ctx.closePath();
  }
  ctx.stroke();
  ctx.fill();
  if (!measured) {
    ctx.clip();
    ctx.fillStyle = css("--paper");
    ctx.beginPath();
    const inner = size - 2 * ratio();
    ctx.arc(left, top, shape === "circle" ? inner : inner * 0.75, 0, 2 * Math.PI);
    ctx.fill();
  }
  ctx.restore();
}

export function label(u, text, x, y, align = "left", colour = css("--ink")) {
  const { ctx } = u;
  ctx.save();
  ctx.font = `600 ${11 * ratio()}px ${css("--sans")}`;
  ctx.textAlign = align;
  ctx.textBaseline = "middle";
  ctx.lineWidth = 4 * ratio();
  ctx.lineJoin = "round";
  ctx.strokeStyle = css("--paper");
  ctx.strokeText(text, x, y);
  ctx.fillStyle = colour;
  ctx.fillText(text, x, y);
  ctx.restore();
}

// "You are here", on the side of the line that has room.
export function here(u, x, text) {
  vertical(u, x, css("--ink"), 1, [3, 3]);
  const at = u.valToPos(x, "x", true);
  const right = at < u.bbox.left + u.bbox.width * 0.6;
  label(u, text, at + (right ? 6 : -6) * ratio(), u.bbox.top + 9 * ratio(), right ? "left" : "right");
}

export function edges(values) {
  const step = Math.sqrt(values[1] / values[0]);
  return [values[0] / step, ...values.map((v) => v * step)];
}

// Whole powers of ten between two values, ends included.
export function powers(low, high) {
  const first = Math.ceil(Math.log10(low) - 1e-9);
  const last = Math.floor(Math.log10(high) + 1e-9);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => Number(`1e${first + i}`));
}

export function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}
