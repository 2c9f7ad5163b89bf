// Plots over time: a uPlot for each element with data-plot, fed with the history once and with each new point.

import { axis, clock, colour, number, percent, seconds, size } from "./format.js";

const PLOTS = {
  rates: { text: number, lines: [["accepted_rate", "in", "s1"], ["ended_rate", "out", "s3"], ["error_rate", "errors", "bad"]] },
  load: { text: number, whole: true, lines: [["queued", "waiting", "s2"], ["in_handlers", "running", "s1"]], fill: true },
  latency: { text: seconds, lines: [["p50", "p50", "s3"], ["p95", "p95", "s2"], ["p99", "p99", "bad"]] },
  consumers: { text: number, whole: true, steps: true, decisions: (one) => one.subject !== "workers", lines: [["consumers", "present", "s1"], ["target_consumers", "wanted", "idle", [4, 3]]] },
  workers: { text: number, whole: true, steps: true, decisions: (one) => one.subject !== "consumers", lines: [["workers", "present", "s3"], ["target_workers", "wanted", "idle", [4, 3]]] },
  cpu: { text: number, lines: [["cpus_used", "used", "s1"], ["cpus_of_others", "others", "s2"], ["cpus", "granted", "idle", [4, 3]]], fill: true },
  memory: { text: size, lines: [["workers_memory", "workers", "s3"], ["memory_used", "in use", "s1"], ["memory", "granted", "idle", [4, 3]]], fill: true },
  loop: { text: percent, lines: [["loop_busy", "busy", "s1"]], second: ["lag", "lag", "s4", seconds], fill: true, top: 1 },
};

class Plot {
  constructor(element, sync) {
    this.element = element;
    this.plan = PLOTS[element.dataset.plot];
    this.lines = this.plan.second ? [...this.plan.lines, this.plan.second] : this.plan.lines;
    this.legend = document.querySelector(`[data-legend="${element.dataset.plot}"]`);
    this.sync = sync;
    this.decisions = [];
    this.tip = element.appendChild(Object.assign(document.createElement("div"), { className: "tip", hidden: true }));
    this.values = this.lines.map(([, name, paint]) => {
      const item = this.legend.appendChild(document.createElement("span"));
      item.className = { bad: "cbad", idle: "cidle" }[paint] || paint.replace("s", "c");
      const text = item.appendChild(document.createElement("span"));
      text.className = "soft";
      text.append(`${name} `);
      return text.appendChild(document.createElement("b"));
    });
  }

  draw(columns) {
    const data = [columns.time, ...this.lines.map(([name]) => columns[name] || columns.time.map(() => null))];
    if (this.chart) {
      this.chart.setData(data, !this.isZoomed());
      return this.say(null);
    }
    this.chart = new window.uPlot(this.options(), data, this.element);
    this.say(null);
  }

  isZoomed() {
    const [times, { min, max }] = [this.chart.data[0], this.chart.scales.x];
    return times.length > 1 && this.zoomed && (min > times[0] || max < times[times.length - 1]);
  }

  forget() {
    this.chart?.destroy();
    this.chart = null;
    this.zoomed = false;
  }

  options() {
    const series = this.lines.map(([, label, paint, dash], index) => ({
      label, stroke: colour(paint), width: 1.5, points: { show: false }, spanGaps: false, scale: this.plan.second && index === this.lines.length - 1 ? "z" : "y",
      dash: Array.isArray(dash) ? dash : undefined, fill: this.plan.fill && !Array.isArray(dash) && index === 0 ? `${colour(paint)}22` : undefined,
      paths: this.plan.steps ? window.uPlot.paths.stepped({ align: 1 }) : undefined,
    }));
    const times = (_, splits) => splits.map((t) => clock(t).slice(0, splits.length > 1 && splits[1] - splits[0] >= 60 ? 5 : 8));
    const axes = [axis(clock, { values: times, space: 64, size: 22 }), axis(this.plan.text, { is_whole: this.plan.whole, size: 52, space: 34 })];
    if (this.plan.second) axes.push(axis(this.plan.second[3], { scale: "z", side: 1, grid: { show: false }, size: 52, space: 34 }));
    const range = (least) => (_, min, max) => [0, Math.max(least, (max || 0) * 1.08)];
    return {
      width: this.element.clientWidth || 300, height: this.element.clientHeight || 180, legend: { show: false }, padding: [8, 28, 0, 0], series: [{}, ...series], axes,
      scales: { x: { time: true, range: (chart, min, max) => this.range(chart, min, max) }, y: { range: range(this.plan.top || (this.plan.text === seconds ? 1e-6 : 1)) }, z: { range: range(1e-4) } },
      cursor: { sync: { key: this.sync }, points: { size: 6 }, drag: { x: true, y: false } },
      hooks: {
        setCursor: [(chart) => this.say(chart.cursor.idx, chart.cursor.left)],
        setSelect: [(chart) => (this.zoomed = chart.select.width > 0)],
        draw: [(chart) => this.mark(chart)],
      },
    };
  }

  // A short history does not fill the plot: it grows into it.
  range(chart, min, max) {
    const times = chart.data[0];
    if (!times.length || this.zoomed || min > times[0] || max < times[times.length - 1]) return [min, max];
    return [min, Math.max(max, min + Math.min(this.window, 60))];
  }

  say(index, left) {
    const at = index ?? (this.chart.data[0].length || 1) - 1;
    this.values.forEach((place, line) => (place.textContent = (this.lines[line][3]?.call ? this.lines[line][3] : this.plan.text)(this.chart.data[line + 1][at])));
    const near = index == null || left < 0 ? [] : this.shown().filter((one) => Math.abs(this.chart.valToPos(one.time, "x") - left) < 8);
    this.tip.hidden = !near.length;
    if (!near.length) return;
    this.tip.textContent = near.slice(-3).map((one) => `${clock(one.time)}  ${one.subject} ${one.before} → ${one.after}\n${one.reason}`).join("\n");
    this.tip.style.left = `${Math.min(left + 60, this.element.clientWidth - this.tip.offsetWidth - 8)}px`;
    this.tip.style.top = "8px";
  }

  shown() {
    return this.plan.decisions ? this.decisions.filter(this.plan.decisions) : [];
  }

  mark(chart) {
    const { ctx, bbox } = chart;
    ctx.save();
    ctx.fillStyle = colour("warn");
    ctx.strokeStyle = `${colour("warn")}66`;
    for (const one of this.shown()) {
      const x = chart.valToPos(one.time, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      const size_ = 4 * devicePixelRatio;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top + size_);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.beginPath();
      ctx.moveTo(x - size_, bbox.top - size_);
      ctx.lineTo(x + size_, bbox.top - size_);
      ctx.lineTo(x, bbox.top + size_);
      ctx.fill();
    }
    ctx.restore();
  }
}

export class Plots {
  constructor(here) {
    this.here = here;
    this.window = Number(sessionStorage.getItem("window")) || 300;
    this.plots = [...document.querySelectorAll("[data-plot]")].map((element) => new Plot(element, "time"));
    this.buttons = [...document.querySelectorAll("[data-window]")];
    for (const button of this.buttons) button.addEventListener("click", () => this.choose(Number(button.dataset.window)));
    document.addEventListener("theme", () => this.redraw());
    new ResizeObserver(() => this.resize()).observe(document.getElementById("main"));
    this.choose(this.window);
  }

  async choose(window_) {
    this.window = window_;
    sessionStorage.setItem("window", window_);
    for (const button of this.buttons) button.setAttribute("aria-pressed", Number(button.dataset.window) === window_);
    await this.load();
  }

  async load() {
    const answer = await fetch(`${this.here}/series?window=${this.window}`);
    if (!answer.ok) return;
    this.columns = await answer.json();
    this.loaded = performance.now();
    for (const plot of this.plots) plot.zoomed = false;
    this.show();
  }

  add(news) {
    if (!this.columns || !news.point) return;
    const { columns } = this;
    const last = columns.time[columns.time.length - 1];
    if (columns.step > 1 || (last != null && news.point.time <= last)) {
      if (performance.now() - this.loaded > 5000 * columns.step) this.load();
      return;
    }
    for (const name of Object.keys(columns)) if (Array.isArray(columns[name]) && name !== "decisions") columns[name].push(news.point[name] ?? null);
    const since = news.point.time - this.window;
    let gone = columns.time.findIndex((time) => time >= since);
    if (gone < 0) gone = 0;
    if (gone) for (const name of Object.keys(columns)) if (Array.isArray(columns[name]) && name !== "decisions") columns[name].splice(0, gone);
    if (news.decisions) columns.decisions = news.decisions;
    this.show();
  }

  show() {
    if (document.hidden || !this.columns) return;
    for (const plot of this.plots) {
      plot.window = this.window;
      plot.decisions = this.columns.decisions || [];
      plot.draw(this.columns);
    }
  }

  redraw() {
    for (const plot of this.plots) plot.forget();
    this.show();
  }

  resize() {
    for (const { chart, element } of this.plots) if (chart && chart.width !== element.clientWidth) chart.setSize({ width: element.clientWidth, height: element.clientHeight });
  }
}
