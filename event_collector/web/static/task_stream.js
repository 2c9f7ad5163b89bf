// The task stream: a row for the event loop and for each worker process, a block for each attempt, gaps are idle.
// News: {keys, spans: [[row, pid, key, begin, end, outcome, event, events, standsFor]], rows: [[row, pid, share]],
// running: [[row, pid, key, begin, event]], names: {row: name}, time}. Times are seconds; keys are indexes of news.keys.
// A row is the place of a worker among those of all groups; that of the event loop is -1.

import { clock, colour, percent, seconds } from "./format.js";

const KEPT = 75; // seconds of the task stream
const DELAY = 1.3; // seconds between now and the right edge: what has ended until then has arrived
const LANES = 6; // of one row, for attempts at the same time
const LEFT = 92, RIGHT = 46, BOTTOM = 22;
const FRAME = 1000 / 20;

export class TaskStream {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.tip = document.getElementById("stream-tip");
    this.legend = document.getElementById("stream-legend");
    this.rows = new Map(); // worker -> {worker, pid, share, spans, lanes}
    this.keys = [];
    this.names = {};
    this.running = [];
    this.length = 15;
    this.held = null; // the right edge while the visitor looks at one place
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.listen();
    this.drawn = 0;
    requestAnimationFrame((now) => this.animate(now));
  }

  add(news) {
    this.received = performance.now();
    this.time = news.time;
    if (news.keys && news.keys.join("\n") !== this.keys.join("\n")) this.setKeys(news.keys);
    Object.assign(this.names, news.names);
    for (const [worker, pid, share] of news.rows || []) Object.assign(this.row(worker), { pid, share });
    const spans = (news.spans || []).sort((a, b) => a[3] - b[3]);
    for (const span of spans) this.put(span);
    this.running = news.running || [];
    for (const [worker, pid] of this.running) this.row(worker).pid ||= pid;
    for (const row of this.rows.values()) {
      let gone = 0;
      while (gone < row.spans.length && row.spans[gone][4] < this.time - KEPT) gone++;
      row.spans.splice(0, gone);
      row.seen = Math.max(row.seen, row.spans.length || row.share ? this.time : row.seen);
      if (row.worker >= 0 && this.time - row.seen > KEPT) this.rows.delete(row.worker);
    }
    this.isStale = true;
  }

  row(worker) {
    if (!this.rows.has(worker)) {
      this.rows.set(worker, { worker, pid: 0, share: null, spans: [], lanes: [], seen: this.time || 0 });
      this.rows = new Map([...this.rows].sort(([a], [b]) => a - b));
      this.resize();
    }
    return this.rows.get(worker);
  }

  name(worker) {
    return worker < 0 ? "event loop" : this.names[worker] ?? "";
  }

  put(span) {
    const row = this.row(span[0]);
    let lane = row.lanes.findIndex((end) => end <= span[3] + 0.0005);
    if (lane < 0) lane = row.lanes.length < LANES ? row.lanes.length : row.lanes.indexOf(Math.min(...row.lanes));
    if (row.worker >= 0 && lane > 1) lane = 1;
    if (lane >= row.lanes.length) this.isStale = true;
    row.lanes[lane] = Math.max(span[4], row.lanes[lane] || 0);
    span.lane = lane;
    row.spans.push(span);
  }

  setKeys(keys) {
    this.keys = keys;
    this.legend.replaceChildren(
      ...keys.slice(0, 20).map((key, index) => {
        const item = document.createElement("span");
        item.className = `c${(index % 10) + 1}`;
        item.append(Object.assign(document.createElement("span"), { className: "soft", textContent: key }));
        return item;
      }),
    );
  }

  // Drawing

  now() {
    if (this.held != null) return this.held;
    return this.time == null ? Date.now() / 1000 : this.time - DELAY + (performance.now() - this.received) / 1000;
  }

  resize() {
    const ratio = devicePixelRatio || 1;
    const rows = [...this.rows.values()];
    for (const row of rows) {
      const one = Math.max(7, Math.min(24, 460 / (rows.length || 1)));
      row.lane = row.lanes.length > 1 ? Math.max(4, one / 2) : one;
      row.tall = row.lane * Math.max(1, row.lanes.length);
    }
    const height = Math.max(120, rows.reduce((sum, row) => sum + row.tall + 3, 0) + BOTTOM + 6);
    const width = this.canvas.parentElement.clientWidth;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      this.canvas.style.height = `${height}px`;
    }
    this.size = { width, height, ratio };
  }

  animate(now) {
    requestAnimationFrame((next) => this.animate(next));
    if (document.hidden || now - this.drawn < FRAME) return;
    const isMoving = this.held == null && !this.calm.matches && performance.now() - this.received < 3000;
    if (!isMoving && !this.isStale) return;
    this.drawn = now;
    this.isStale = false;
    this.draw();
  }

  draw() {
    this.resize();
    const { pen } = this, { width, height, ratio } = this.size;
    const right = this.now(), left = right - this.length, scale = (width - LEFT - RIGHT) / this.length;
    const x = (t) => LEFT + (t - left) * scale;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = "11px Inter, system-ui, sans-serif";
    pen.textBaseline = "middle";
    this.drawTimes(left, right, x);
    this.boxes = [];
    let top = 4;
    for (const row of this.rows.values()) {
      const { tall } = row;
      pen.fillStyle = colour("tint");
      pen.fillRect(LEFT, top, width - LEFT - RIGHT, tall);
      pen.save();
      pen.beginPath();
      pen.rect(LEFT, top, width - LEFT - RIGHT, tall);
      pen.clip();
      this.drawRow(row, top, x, left, right);
      pen.restore();
      if (tall >= 7) {
        pen.font = `${tall < 11 ? 8 : 11}px Inter, system-ui, sans-serif`;
        pen.fillStyle = colour("soft");
        pen.textAlign = "left";
        pen.fillText(this.name(row.worker), 0, top + tall / 2, LEFT - 8);
        pen.textAlign = "right";
        if (row.share != null) pen.fillText(row.worker < 0 && row.share > 1 ? `×${row.share.toFixed(1)}` : percent(row.share), width, top + tall / 2);
      }
      this.boxes.push([top, tall, row]);
      top += tall + 3;
    }
  }

  drawTimes(left, right, x) {
    const { pen } = this, { height } = this.size;
    const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15].find((n) => this.length / n <= 6) || 15;
    pen.fillStyle = colour("soft");
    pen.strokeStyle = colour("grid");
    pen.textAlign = "center";
    for (let t = Math.ceil(left / step) * step; t <= right; t += step) {
      const at = Math.round(x(t)) + 0.5;
      pen.beginPath();
      pen.moveTo(at, 0);
      pen.lineTo(at, height - BOTTOM);
      pen.stroke();
      pen.fillText(step < 1 ? `${clock(t).slice(6)}.${String(Math.round((t % 1) * 100) % 100).padStart(2, "0")}` : clock(t), at, height - BOTTOM / 2);
    }
  }

  drawRow(row, top, x, left, right) {
    const { pen } = this;
    const lastX = [];
    for (const span of row.spans) {
      if (span[4] < left || span[3] > right) continue;
      const begin = x(span[3]), end = Math.max(x(span[4]), begin + 1);
      if (end < (lastX[span.lane] ?? -1) + 0.5 && span[5] === 0) continue;
      lastX[span.lane] = end;
      this.block(begin, top + span.lane * row.lane, end - begin, row.lane, span[2], span[5]);
    }
    if (this.held != null && right < this.time - DELAY) return;
    let lane = 0;
    for (const [worker, , key, begin] of this.running) {
      if (worker !== row.worker || begin > right) continue;
      const at = x(Math.max(begin, left));
      pen.globalAlpha = 0.45;
      this.block(at, top + Math.min(lane++, Math.max(0, row.lanes.length - 1)) * row.lane, x(right) - at, row.lane, key, 0);
      pen.globalAlpha = 1;
    }
  }

  block(x, y, width, tall, key, outcome) {
    const { pen } = this;
    pen.fillStyle = colour(key < 0 ? "idle" : `s${(key % 10) + 1}`);
    pen.fillRect(x, y + 0.5, width, tall - 1);
    if (outcome === 0) return;
    pen.fillStyle = colour("bad");
    if (outcome === 2) {
      pen.save();
      pen.beginPath();
      pen.rect(x, y + 0.5, width, tall - 1);
      pen.clip();
      pen.strokeStyle = colour("bad");
      pen.lineWidth = 2;
      pen.beginPath();
      for (let at = x - tall; at < x + width; at += 6) {
        pen.moveTo(at, y + tall);
        pen.lineTo(at + tall, y);
      }
      pen.stroke();
      pen.restore();
    }
    pen.fillRect(x, y + tall - 3, Math.max(width, 2), 2.5);
    pen.fillRect(x, y + 0.5, 2, tall - 1);
  }

  // Looking closer

  listen() {
    const { canvas } = this;
    canvas.addEventListener("wheel", (event) => (event.preventDefault(), this.zoom(event.deltaY > 0 ? 1.25 : 0.8, event.offsetX)), { passive: false });
    canvas.addEventListener("pointermove", (event) => this.point(event));
    canvas.addEventListener("pointerleave", () => (this.tip.hidden = true));
    canvas.addEventListener("pointerdown", (event) => (this.grip = { x: event.clientX, edge: this.now() }));
    addEventListener("pointerup", () => (this.grip = null));
    canvas.addEventListener("dblclick", () => this.release());
    canvas.addEventListener("keydown", (event) => {
      const keys = { ArrowLeft: () => this.hold(this.now() - this.length / 5), ArrowRight: () => this.hold(this.now() + this.length / 5), "+": () => this.zoom(0.8), "-": () => this.zoom(1.25), Escape: () => this.release() };
      if (!keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });
    this.buttons = [...document.querySelectorAll("[data-stream]")];
    for (const button of this.buttons) button.addEventListener("click", () => this.choose(Number(button.dataset.stream)));
    this.freeze = document.getElementById("freeze");
    this.freeze.addEventListener("click", () => (this.held == null ? this.hold(this.now()) : this.release()));
    document.addEventListener("theme", () => (this.isStale = true));
    new ResizeObserver(() => (this.isStale = true)).observe(canvas.parentElement);
  }

  choose(length) {
    this.length = length;
    for (const button of this.buttons) button.setAttribute("aria-pressed", Number(button.dataset.stream) === length);
    this.isStale = true;
  }

  zoom(factor, at) {
    const { width } = this.size, right = this.now();
    const share = at == null ? 1 : Math.min(1, Math.max(0, (at - LEFT) / (width - LEFT - RIGHT)));
    const length = Math.min(KEPT, Math.max(0.02, this.length * factor));
    if (share < 0.98) this.hold(right - (1 - share) * (this.length - length));
    this.choose(length);
  }

  hold(edge) {
    this.held = Math.min(edge, this.time ?? edge);
    this.freeze.setAttribute("aria-pressed", "true");
    this.isStale = true;
  }

  release() {
    this.held = null;
    this.freeze.setAttribute("aria-pressed", "false");
    this.choose(15);
  }

  point(event) {
    const { width } = this.size;
    if (this.grip && event.buttons) {
      const moved = ((event.clientX - this.grip.x) / (width - LEFT - RIGHT)) * this.length;
      if (Math.abs(event.clientX - this.grip.x) > 3) this.hold(this.grip.edge - moved);
    }
    const found = this.find(event.offsetX, event.offsetY);
    this.tip.hidden = !found;
    if (!found) return;
    const [worker, pid, key, begin, end, outcome, id, events, stands] = found;
    this.tip.textContent = [
      `${this.keys[key] ?? "unknown collector"}, ${seconds(end - begin)}${outcome ? (outcome === 2 ? ", killed" : ", error") : ""}`,
      `${id ? `event ${id}, ` : ""}${this.name(worker)}, pid ${pid}`,
      `from ${clock(begin)}`, events > 1 ? `${events} events in one call` : "", stands > 1 ? `one of ${stands} that are like it` : "",
    ].filter(Boolean).join("\n");
    this.tip.style.left = `${Math.max(0, Math.min(event.offsetX + 12, width - this.tip.offsetWidth - 4))}px`;
    this.tip.style.top = `${event.offsetY + 16}px`;
  }

  find(px, py) {
    const box = (this.boxes || []).find(([top, tall]) => py >= top && py < top + tall);
    if (!box || px < LEFT) return null;
    const right = this.now(), scale = (this.size.width - LEFT - RIGHT) / this.length;
    const time = right - this.length + (px - LEFT) / scale, slack = 2 / scale;
    const lane = Math.floor((py - box[0]) / box[2].lane);
    return box[2].spans.findLast((span) => span.lane === lane && span[3] - slack <= time && time <= span[4] + slack);
  }
}
