// Sets the theme before the page is drawn: the visitor's choice, or else that of the system.
"use strict";
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    let chosen = null;
    try { chosen = localStorage.getItem("event-collector-theme"); } catch { /* storage is switched off */ }
    document.documentElement.dataset.theme = chosen || (system.matches ? "dark" : "light");
    document.dispatchEvent(new Event("theme"));
  };
  system.addEventListener("change", apply);
  window.toggleTheme = () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("event-collector-theme", next); } catch { document.documentElement.dataset.theme = next; }
    apply();
  };
  apply();
})();
