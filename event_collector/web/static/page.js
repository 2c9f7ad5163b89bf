// The page: news from the viewer, actions, and the canvases that are on it.

import { install } from "./patch.js";

const root = document.documentElement;
const here = root.dataset.here;
install(window.htmx);

const listeners = []; // each takes the news
const wanted = [];
if (document.querySelector("[data-plot]")) {
  const { Plots } = await import("./plots.js");
  const plots = new Plots(here);
  listeners.push((news) => plots.add(news));
}
if (document.getElementById("stream")) {
  const { TaskStream } = await import("./task_stream.js");
  const stream = new TaskStream(document.getElementById("stream"));
  listeners.push((news) => stream.add(news));
  wanted.push("spans=1");
}
if (document.querySelector("[data-chart]")) await import("./charts.js");
if (document.getElementById("flames")) await import("./flames.js");
if (document.body.dataset.csrf) (await import("./actions.js")).install(here, document.body.dataset.csrf);

const position = document.getElementById("position");
if (position) {
  const move = (body) => fetch(`${here}/replay`, { method: "POST", headers: { "Content-Type": "application/json", "X-CSRF-Token": document.body.dataset.csrf }, body: JSON.stringify(body) });
  const speeds = [...document.querySelectorAll("[data-speed]")];
  for (const button of speeds)
    button.addEventListener("click", () => {
      for (const one of speeds) one.setAttribute("aria-pressed", one === button);
      move({ speed: Number(button.dataset.speed) });
    });
  position.addEventListener("change", async () => {
    await move({ position: Number(position.value) });
    location.reload(); // plots and task stream begin anew
  });
  listeners.push((news) => document.activeElement === position || (position.value = news.position));
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const seen = () => new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));

// One request after the other; the viewer answers when there is news, or after a second. A hidden page asks nothing.
async function follow() {
  let ticks = -1, spans = 0;
  while (true) {
    if (document.hidden) await seen();
    try {
      const answer = await fetch(`${here}/news?ticks=${ticks}&${wanted.join("&")}&after=${spans}`);
      if (!answer.ok) throw new Error(answer.statusText);
      const news = await answer.json();
      ({ ticks, spans_end: spans } = news);
      for (const listener of listeners) listener(news);
      window.htmx.trigger(document.body, "tick");
      await pause(100);
    } catch (error) {
      if (!(error instanceof TypeError)) console.error(error);
      const lost = Object.assign(document.createElement("span"), { className: "pill bad", textContent: "this page has lost its viewer" });
      document.getElementById("state").replaceChildren(lost);
      await pause(1000);
    }
  }
}

if (here && document.getElementById("live")) follow();
root.dataset.ready = "yes"; // buttons do something from now on
