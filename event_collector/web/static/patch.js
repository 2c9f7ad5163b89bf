// Swaps of htmx that change only what differs, so focus, hover, selection and open details survive a refresh.

const isLike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "");

function merge(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const { name } of [...old.attributes]) {
    const isVisitors = (name === "open" && old.nodeName === "DETAILS") || name === "data-busy";
    if (!fresh.hasAttribute(name) && !isVisitors) old.removeAttribute(name);
  }
  patch(old, fresh);
}

export function patch(old, fresh) {
  const byId = new Map([...old.children].filter((one) => one.id).map((one) => [one.id, one]));
  let place = old.firstChild;
  for (const node of [...fresh.childNodes]) {
    let mate = (node.id && byId.get(node.id)) || place;
    while (mate && !isLike(mate, node)) mate = mate.nextSibling;
    if (!mate) {
      old.insertBefore(node, place);
      continue;
    }
    if (mate === place) place = place.nextSibling;
    else old.insertBefore(mate, place);
    merge(mate, node);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

export function install(htmx) {
  htmx.defineExtension("patch", {
    isInlineSwap: (style) => style === "patch",
    handleSwap(style, target, fragment) {
      if (style !== "patch" && style !== "patch-children") return false; // the second one for elements out of band
      patch(target, fragment);
      return [...target.children];
    },
  });
}
