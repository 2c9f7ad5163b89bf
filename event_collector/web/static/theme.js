// Sets the theme before the page is drawn: the visitor's choice, or else that of the system. Paper is light.
"use strict";
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = (theme) => {
    document.documentElement.dataset.theme = theme;
    document.dispatchEvent(new Event("theme"));
  };
  const apply = () => {
    let chosen = null;
    try { chosen = localStorage.getItem("event-collector-theme"); } catch { /* storage is switched off */ }
    show(chosen || (system.matches ? "dark" : "light"));
  };
  const toggle = () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("event-collector-theme", next); } catch { return show(next); }
    apply();
  };
  system.addEventListener("change", apply);
  addEventListener("beforeprint", () => show("light"));
  addEventListener("afterprint", apply);
  document.addEventListener("click", (event) => event.target.closest("#theme") && toggle());
  apply();
})();
