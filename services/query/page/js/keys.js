// One key, one action. Nothing happens while somebody types, or holds a modifier.

/** Whether the element takes typing itself. */
function types(element) {
  return element?.closest?.("input:not([type=checkbox]):not([type=file]), select, textarea, [contenteditable], audio") != null;
}

/** The action of a key press: `next`, `previous`, `back`, `pause`, `filters`, `media`, `help` or null. */
export function action_of(event, keys_on = true) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return null;
  if (event.target?.closest?.("dialog")) return null;
  if (event.key === "Escape") return "back";
  if (types(event.target)) return null;
  if (event.key === "ArrowDown") return "next";
  if (event.key === "ArrowUp") return "previous";
  if (!keys_on) return null;
  return { j: "next", k: "previous", p: "pause", "/": "filters", m: "media", "?": "help" }[event.key] ?? null;
}

/** Moves the focus along the rows of the feed, from the one that has it, had it last, or from the first. */
export function move_focus(step, last_key) {
  const rows = Array.from(document.querySelectorAll(".feed .open-post"));
  if (rows.length === 0) return false;
  let at = rows.indexOf(document.activeElement);
  if (at < 0 && last_key !== null) at = rows.findIndex((row) => row.dataset.row === last_key);
  const next = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + step))];
  next.focus({ preventScroll: true });
  next.closest(".row").scrollIntoView({ block: "nearest" });
  return true;
}
