// Charts of figures: a uPlot for each element with data-chart, in the colours of the legend before it.

import { axis, number, percent, seconds } from "./format.js";

const TEXTS = { count: number, number, percent, seconds };

class Chart {
  constructor(element) {
    this.element = element;
    this.plan = JSON.parse(element.dataset.chart);
    this.keys = [...element.parentElement.querySelectorAll(".legend > span")];
    this.intervals = this.plan.lines.flatMap((line) => [...line.low, ...line.high]).filter((value) => value != null && (value > 0 || !this.plan.y.is_log));
    this.draw();
  }

  draw() {
    this.chart?.destroy();
    this.tip?.remove();
    this.tip = this.element.appendChild(Object.assign(document.createElement("div"), { className: "tip", hidden: true }));
    this.colours = this.keys.map((key) => getComputedStyle(key).color);
    const positive = (value) => (this.plan.y.is_log && value <= 0 ? null : value);
    this.chart = new window.uPlot(this.options(), [this.plan.places, ...this.plan.lines.map((line) => line.values.map(positive))], this.element);
  }

  options() {
    const { x, y, lines, has_points, has_steps } = this.plan;
    const series = lines.map(({ is_dashed }, index) => ({
      stroke: this.colours[index], width: 1.5, dash: is_dashed ? [4, 3] : undefined, spanGaps: true,
      points: { show: has_points && !is_dashed, size: 5, fill: this.colours[index] },
      paths: has_steps ? window.uPlot.paths.stepped({ align: 1 }) : undefined,
    }));
    return {
      width: this.element.clientWidth || 300, height: this.element.clientHeight || 240, legend: { show: false }, padding: [8, 18, 0, 0], series: [{}, ...series],
      axes: [
        axis(TEXTS[x.unit], { is_whole: x.unit === "count", space: 50, size: 24, label: x.label || undefined, labelSize: 18, labelFont: "11px Inter, system-ui, sans-serif" }),
        axis(TEXTS[y.unit], { is_whole: y.unit === "count", space: 30, size: 62 }),
      ],
      scales: { x: { time: false, distr: x.is_log ? 3 : 1 }, y: { distr: y.is_log ? 3 : 1, range: (_, min, max) => this.range(min, max) } },
      cursor: { points: { size: 6 }, drag: { x: true, y: false } },
      hooks: { setCursor: [(chart) => this.say(chart.cursor.idx, chart.cursor.left)], draw: [(chart) => this.mark(chart)] },
    };
  }

  // Intervals reach beyond the values; a linear axis begins at 0.
  range(min, max) {
    const [low, high] = [Math.min(min, ...this.intervals), Math.max(max, ...this.intervals)];
    if (!this.plan.y.is_log) return [0, high * 1.08 || 1];
    return min == null ? [min, max] : window.uPlot.rangeLog(low, high, 10, false);
  }

  say(index, left) {
    const { x, y, places, lines } = this.plan;
    const shown = lines.filter((line) => index != null && line.values[index] != null).sort((one, other) => other.values[index] - one.values[index]);
    this.tip.hidden = left < 0 || !shown.length;
    if (this.tip.hidden) return;
    const words = shown.map((line) => `${line.label}: ${TEXTS[y.unit](line.values[index])}`);
    this.tip.textContent = [`${x.label} ${TEXTS[x.unit](places[index])}`.trim(), ...words].join("\n");
    this.tip.style.left = `${left > this.chart.over.clientWidth / 2 ? 66 : this.element.clientWidth - this.tip.offsetWidth - 8}px`;
    this.tip.style.top = this.element.clientWidth < 500 ? "100%" : "8px"; // it would hide a small plot
  }

  // The intervals, as lines with a short stroke at both ends.
  mark(chart) {
    const { ctx } = chart, thick = devicePixelRatio, half = 3 * thick;
    ctx.save();
    this.plan.lines.forEach(({ low, high }, line) => {
      ctx.fillStyle = this.colours[line];
      low.forEach((value, index) => {
        if (value == null || value === high[index]) return;
        const place = Math.round(chart.valToPos(this.plan.places[index], "x", true));
        const [bottom, top] = [value, high[index]].map((end) => Math.round(chart.valToPos(end, "y", true)));
        ctx.fillRect(place, top, thick, bottom - top);
        for (const end of [bottom, top]) ctx.fillRect(place - half, end, 2 * half + thick, thick);
      });
    });
    ctx.restore();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (width && this.chart.width !== width) this.chart.setSize({ width, height });
  }
}

const charts = [...document.querySelectorAll("[data-chart]")].map((element) => new Chart(element));
document.addEventListener("theme", () => charts.forEach((chart) => chart.draw()));
new ResizeObserver(() => charts.forEach((chart) => chart.resize())).observe(document.getElementById("main"));
