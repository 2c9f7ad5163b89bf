// Actions: each button carries a typed request. The viewer first says what it would touch; then the visitor decides.

const reports = document.getElementById("reports");
const dialog = document.getElementById("ask");

export function report(text, isBad) {
  const item = document.createElement("p");
  item.textContent = text;
  if (isBad) item.className = "bad";
  reports.append(item);
  while (reports.children.length > 4) reports.firstChild.remove();
  setTimeout(() => item.remove(), isBad ? 15000 : 8000);
}

function ask(text) {
  document.getElementById("question").textContent = text;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

let place, csrf;

export async function request(body) {
  const answer = await fetch(`${place}/control`, { method: "POST", headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf }, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error((await answer.text()).trim() || answer.statusText);
  const said = await answer.json();
  if (said.answer === "failed") throw new Error(said.text);
  return said;
}

async function act(button) {
  const wanted = JSON.parse(button.dataset.act);
  const form = button.closest("form");
  if (form) for (const [name, value] of new FormData(form)) if (value !== "") wanted[name] = Number(value);
  button.disabled = true;
  try {
    const preview = await request({ ...wanted, dry_run: true });
    if (!preview.count) {
      report(preview.text);
      return;
    }
    if (await ask(`${preview.text[0].toUpperCase()}${preview.text.slice(1)}.`)) report((await request(wanted)).text);
  } catch (error) {
    report(error.message, true);
  } finally {
    button.disabled = false;
    window.htmx.trigger(document.body, "tick");
  }
}

export function install(here, token) {
  place = here;
  csrf = token;
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-act]");
    if (!button) return;
    event.preventDefault();
    act(button);
  });
}
