// Not a module: runs before the first paint, so that a dark page never flashes white. `auto` leaves it to the system.
(() => {
  let theme = "auto";
  try {
    theme = localStorage.getItem("jtav.theme") ?? "auto";
  } catch {
    // Storage is forbidden here: the system's theme it is.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
