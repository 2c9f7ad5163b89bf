// Profiles: stacks of a process now, and a flame graph of some seconds.

import { report, request } from "./actions.js";
import { colour } from "./format.js";

const canvas = document.getElementById("flames");
const tip = document.getElementById("flames-tip");
const output = document.getElementById("stacks");
const form = document.getElementById("profile");
const ROW = 19;
let root = null, focus = null, boxes = [];

function fold(stacks) {
  const all = { name: "all", count: 0, children: new Map() };
  for (const [pid, subject, frames, count] of stacks) {
    let node = all;
    node.count += count;
    for (const name of [`${subject}, pid ${pid}`, ...frames]) {
      if (!node.children.has(name)) node.children.set(name, { name, count: 0, children: new Map(), parent: node });
      node = node.children.get(name);
      node.count += count;
    }
  }
  return all;
}

const depth = (node) => 1 + Math.max(0, ...[...node.children.values()].map(depth));

function hue(name) {
  let hash = 0;
  for (const letter of name.replace(/:\d+\)$/, "")) hash = (hash * 31 + letter.codePointAt(0)) >>> 0;
  return (hash % 10) + 1;
}

function draw() {
  if (!root) return;
  const width = canvas.parentElement.clientWidth, ratio = devicePixelRatio || 1, height = Math.max(120, depth(focus) * ROW + 4);
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "11px Inter, system-ui, sans-serif";
  pen.textBaseline = "middle";
  boxes = [];
  const place = (node, x, y, wide) => {
    if (wide < 0.7) return;
    pen.globalAlpha = 0.42;
    pen.fillStyle = colour(`s${hue(node.name)}`);
    pen.fillRect(x, y, Math.max(0.7, wide - 1), ROW - 1);
    pen.globalAlpha = 1;
    if (wide > 34) {
      pen.fillStyle = colour("ink");
      let text = node.name;
      const room = wide - 8;
      if (pen.measureText(text).width > room) {
        text = text.slice(0, Math.max(1, Math.floor((text.length * room) / pen.measureText(text).width) - 1)) + "…";
      }
      pen.fillText(text, x + 4, y + ROW / 2);
    }
    boxes.push([x, y, wide, node]);
    let at = x;
    for (const child of node.children.values()) {
      const share = (wide * child.count) / node.count;
      place(child, at, y + ROW, share);
      at += share;
    }
  };
  place(focus, 0, 0, width);
}

const at = (event) => boxes.find(([x, y, wide]) => event.offsetX >= x && event.offsetX < x + wide && event.offsetY >= y && event.offsetY < y + ROW)?.[3];

canvas.addEventListener("pointermove", (event) => {
  const node = at(event);
  tip.hidden = !node;
  if (!node) return;
  tip.textContent = `${node.name}\n${node.count} looks, ${((100 * node.count) / root.count).toFixed(1)}%`;
  tip.style.left = `${Math.max(0, Math.min(event.offsetX + 12, canvas.clientWidth - tip.offsetWidth - 4))}px`;
  tip.style.top = `${event.offsetY + 16}px`;
});
canvas.addEventListener("pointerleave", () => (tip.hidden = true));
canvas.addEventListener("click", (event) => ((focus = at(event) || root), draw()));
canvas.addEventListener("keydown", (event) => event.key === "Escape" && ((focus = root), draw()));
document.addEventListener("theme", draw);
new ResizeObserver(draw).observe(canvas.parentElement);

async function run(button, work) {
  for (const one of form.querySelectorAll("button")) one.disabled = true;
  button.dataset.busy = "yes";
  try {
    await work();
  } catch (error) {
    report(error.message, true);
  } finally {
    for (const one of form.querySelectorAll("button")) one.disabled = false;
    delete button.dataset.busy;
  }
}

const pid = () => (form.elements.pid.value ? Number(form.elements.pid.value) : null);

document.getElementById("take-profile")?.addEventListener("click", (event) =>
  run(event.currentTarget, async () => {
    const length = Number(form.elements.seconds.value);
    report(`looking at the stacks for ${length} s`);
    const page = await request({ verb: "profile", pid: pid(), seconds: length });
    focus = root = fold(page.stacks);
    document.getElementById("flames-card").hidden = false;
    document.getElementById("flames-note").textContent = `${page.looks} looks in ${page.seconds.toFixed(1)} s, ${page.note}; click a frame to look closer, Escape to return`;
    draw();
  }),
);
document.getElementById("take-stacks")?.addEventListener("click", (event) =>
  run(event.currentTarget, async () => {
    const page = await request({ verb: "stack", pid: pid() });
    output.replaceChildren(
      ...page.stacks.flatMap((one) => [
        Object.assign(document.createElement("h3"), { textContent: `${one.subject}, pid ${one.pid}` }),
        Object.assign(document.createElement("pre"), { textContent: one.text || "no handler runs, or no answer", tabIndex: 0 }),
      ]),
    );
  }),
);
