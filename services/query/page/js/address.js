// What stands in the address: which page, which post, which filters. Pure.

/** The filters of the stream with the values they take; `null` stands for any text. */
export const FILTERS = {
  label: ["positive", "neutral", "negative"],
  certain: ["true", "false"],
  mood: ["Q1", "Q2", "Q3", "Q4"],
  modality: ["text", "audio", "image"],
  lang: null,
};

/** Filters of a query string: `{label: ["negative"], certain: "true", …}`. What nobody knows is left out. */
export function filters_of(search) {
  const query = new URLSearchParams(search);
  const filters = {};
  const labels = (query.get("label") ?? "").split(",").filter((label) => FILTERS.label.includes(label));
  if (labels.length > 0 && labels.length < FILTERS.label.length) filters.label = FILTERS.label.filter((l) => labels.includes(l));
  for (const name of ["certain", "mood", "modality"]) {
    const value = query.get(name);
    if (FILTERS[name].includes(value)) filters[name] = value;
  }
  const lang = (query.get("lang") ?? "").toLowerCase();
  if (/^[a-z]{2,3}$/.test(lang)) filters.lang = lang;
  return filters;
}

/** The query string of filters, `?` and all; empty without filters. The order is always the same. */
export function search_of(filters) {
  const parts = [];
  for (const name of Object.keys(FILTERS)) {
    const value = filters[name];
    if (Array.isArray(value) ? value.length > 0 : value) parts.push(`${name}=${[value].flat().join(",")}`);
  }
  return parts.length === 0 ? "" : `?${parts.join("&")}`;
}

/** A post's id as one segment of a path. Half a surrogate pair, which no UTF-8 holds, becomes U+FFFD. */
export function id_segment(id) {
  return encodeURIComponent(String(id).toWellFormed());
}

/** Address of a post's page. `.` and `..` are taken for folders by every browser, percent-encoded too: they, and the
 *  empty id, stand in the query. */
export function post_path(id, filters = {}) {
  const search = search_of(filters);
  if (!is_path_safe(id)) return `/${search}${search === "" ? "?" : "&"}post=${id_segment(id)}`;
  return `/p/${id_segment(id)}${search}`;
}

/** Whether an id can be a segment of a path. */
export function is_path_safe(id) {
  return id !== "" && id !== "." && id !== "..";
}

/** Which page an address names: `{page: "feed" | "post" | "songs" | "dead-letters" | "unknown", id?}`. */
export function place_of(path, search = "") {
  if (path === "/" || path === "") {
    const query = new URLSearchParams(search);
    return query.has("post") ? { page: "post", id: query.get("post") } : { page: "feed" };
  }
  if (path === "/songs" || path === "/dead-letters") return { page: path.slice(1) };
  if (path.startsWith("/p/") && path.length > 3) {
    try {
      return { page: "post", id: decodeURIComponent(path.slice(3)) };
    } catch {
      // A `%` that encodes nothing, typed by hand.
      return { page: "post", id: path.slice(3) };
    }
  }
  return { page: "unknown" };
}
