// Figures as text, as the server writes them, and what canvases have in common: the colours of the style sheet, and axes.

const digits = (n) => (Math.abs(n) >= 99.95 ? Math.round(n).toLocaleString("en") : String(Number(n.toPrecision(3))));

export function seconds(n) {
  if (n == null) return "–";
  if (n <= 0) return "0";
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60]]) if (n >= 2 * length) return `${(n / length).toFixed(1)} ${unit}`;
  if (n >= 0.9995) return `${digits(n)} s`;
  return n >= 0.0009995 ? `${digits(n * 1e3)} ms` : `${digits(n * 1e6)} µs`;
}
export function size(n) {
  if (n == null) return "–";
  for (const [unit, factor] of [["GB", 1e9], ["MB", 1e6], ["KB", 1e3]]) if (n >= factor) return `${digits(n / factor)} ${unit}`;
  return `${Math.round(n)} bytes`;
}
export const number = (n) => (n == null ? "–" : digits(n));
export const percent = (n) => (n == null ? "–" : `${digits(n * 100)}%`);
export const clock = (t) => new Date(t * 1000).toLocaleTimeString("en-GB");

let cache = new Map();
document.addEventListener("theme", () => (cache = new Map()));
export function colour(name) {
  if (!cache.has(name)) cache.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  return cache.get(name);
}

const WHOLE = [1, 2, 5].flatMap((n) => [n, n * 10, n * 100, n * 1e3, n * 1e4, n * 1e5, n * 1e6]).sort((a, b) => a - b);

// An axis of a uPlot, whose numbers `text` writes.
export function axis(text, { is_whole = false, ...more }) {
  return {
    stroke: colour("soft"), grid: { stroke: colour("grid"), width: 1 }, ticks: { stroke: colour("grid"), width: 1, size: 4 }, font: "11px Inter, system-ui, sans-serif", gap: 4,
    incrs: is_whole ? WHOLE : undefined, values: (_, splits) => splits.map((value) => (value == null ? "" : text(value))), ...more,
  };
}
