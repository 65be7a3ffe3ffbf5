// Runs inside the page, in the browser: what of it is pure is held to its promises. Returns the names of what failed.
const [{ sse_parser, MAX_EVENT_CHARS }, address, { wait_ms }, rows, text] = await Promise.all(
  ["sse", "address", "stream", "rows", "text"].map((name) => import(`/assets/js/${name}.js`)),
);
const failed = [];
let held = 0;
const same = (what, found, expected) => {
  held += 1;
  const [one, other] = [found, expected].map((value) => JSON.stringify(value));
  if (one !== other) failed.push(`${what}: ${one} is not ${other}`);
};

// The parser, cut at every place, gives the same events.
const wire = "\ufeffretry: 2000\r\n\r\n: a comment\nevent: label\nid: 0:1,1:4\ndata: {\"a\":\ndata:1}\n\nid: 0:2\n\ndata\n\nevent: x\n\ndata: \u{1f305}\r\rdata: half";
const expected = [
  { event: "label", data: "{\"a\":\n1}", id: "0:1,1:4" },
  { event: "message", data: null, id: "0:2" },
  { event: "message", data: "", id: null },
  { event: "message", data: "\u{1f305}", id: null },
];
for (let at = 0; at <= wire.length; at += 1) {
  const parser = sse_parser();
  same(`the stream cut at ${at}`, [...parser.feed(wire.slice(0, at)), ...parser.feed(wire.slice(at))], expected);
  same("what the server asks to wait", parser.retry_ms(), 2000);
}
const one_by_one = sse_parser();
same("the stream character by character", Array.from(wire).flatMap((one) => one_by_one.feed(one)), expected);
const endless = sse_parser();
let thrown = null;
try {
  for (let at = 0; at < 20; at += 1) endless.feed("x".repeat(MAX_EVENT_CHARS / 10));
} catch (error) {
  thrown = error.name;
}
same("an event without an end", thrown, "RangeError");

// Filters go into the address and come back.
const all = { label: ["neutral", "negative"], certain: "false", mood: "Q3", modality: "image", lang: "en" };
same("the address of filters", address.search_of(all), "?label=neutral,negative&certain=false&mood=Q3&modality=image&lang=en");
same("filters there and back", address.filters_of(address.search_of(all)), all);
same("no filters", [address.search_of({}), address.filters_of("")], ["", {}]);
same("labels in any order", address.filters_of("?label=negative,neutral").label, ["neutral", "negative"]);
same("all labels are no filter", address.filters_of("?label=negative,neutral,positive"), {});
same("what nobody knows", address.filters_of("?label=angry&certain=perhaps&mood=Q9&modality=smell&lang=%3Cscript%3E&x=1"), {});

// Ids there and back, whatever they hold.
for (const id of ["a", "a/b?c#d%20", "%", "%2F", "\u202eabc", "\u{1f305}", " ", "a b", "..a", "...", "é", "+&=;"]) {
  const url = new URL(address.post_path(id, all), location.origin);
  same(`the id ${JSON.stringify(id)}`, address.place_of(url.pathname, url.search), { page: "post", id });
  same("its filters", address.filters_of(url.search), all);
}
for (const id of [".", "..", ""]) {
  const url = new URL(address.post_path(id), location.origin);
  same(`the id ${JSON.stringify(id)}`, address.place_of(url.pathname, url.search), { page: "post", id });
}
same("half a surrogate pair", address.id_segment("a\ud800"), "a%EF%BF%BD");
same("a percent sign by hand", address.place_of("/p/50%"), { page: "post", id: "50%" });
same("pages", ["/", "/songs", "/dead-letters", "/p/", "/x"].map((path) => address.place_of(path).page), ["feed", "songs", "dead-letters", "unknown", "unknown"]);

// Waiting grows, is bounded, and is never none.
same("the first wait", [wait_ms(1, 1000, 0), wait_ms(1, 1000, 1)], [500, 1000]);
same("the longest wait", [wait_ms(99, 1000, 1), wait_ms(9999, 2000, 0)], [30000, 15000]);

// Rows are bounded, hold what waits, and forget what was erased.
const label = (post_id, revision = 0, model_version = "m") => ({ partition: 0, offset: revision, sentiment: { post_id, revision, model_version } });
let feed = rows.take_labels(rows.no_rows(), [label("a"), label("b"), label("a", 1)], false);
same("newest first, one row a post", feed.rows.map((row) => `${row.sentiment.post_id}${row.sentiment.revision}`), ["a1", "b0"]);
feed = rows.take_labels(feed, [label("c"), label("d")], true);
same("held", [feed.rows.length, feed.waiting], [2, 2]);
feed = rows.erase(feed, "d");
same("an erased post waits no longer", feed.waiting, 1);
feed = rows.erase(rows.release(feed), "b");
same("an erased row holds nothing", feed.rows.map((row) => row.sentiment?.post_id ?? null), ["c", "a", null]);
same("nothing of it is left", JSON.stringify(feed).includes('"b"'), false);
const many = Array.from({ length: 1700 }, (_, at) => label(`p${at}`));
feed = rows.take_labels(rows.no_rows(), many, false);
same("rows kept", [feed.rows.length, feed.rows[0].sentiment.post_id], [rows.MAX_ROWS, "p1699"]);
feed = rows.take_labels(rows.no_rows(), many, true);
same("held rows kept, all counted", [feed.held.length, feed.waiting], [rows.MAX_ROWS, 1700]);

// What strangers wrote.
same("hidden characters are shown", text.visible("a\u202eb\u200bc\u0000"), "a⟨U+202E⟩b⟨U+200B⟩c⟨U+0000⟩");
same("long ids are cut", Array.from(text.visible("x".repeat(5000), 20)).length, 21);
same("a cut leaves no half character", text.cut("\u{1f305}".repeat(9), 3), "\u{1f305}\u{1f305}\u{1f305}…");
same("one line", text.one_line(" a\n\n b\u0007\tc "), "a b c");
const shaded = text.shade("\u{1f305} so good so far", [
  { word: "good", weight: 0.5, start: 5, end: 9 }, { word: "o g", weight: 0.4, start: 3, end: 6 },
  { word: "far", weight: 0.1, start: 13, end: 99 }, { word: "x", weight: 1 }, { word: "y", weight: 1, start: -1, end: 2 },
]);
same("spans that overlap or lie outside", shaded.map((piece) => [piece.text, piece.weight]), [["\u{1f305} s", 0], ["o g", 0.4], ["ood so far", 0]]);
same("offsets are whole characters", text.shade("\u{1f305}\u{1f305} good", [{ word: "good", weight: 1, start: 3, end: 7 }]).at(-1), { text: "good", weight: 1, word: "good" });
same("shares", [0, 0.001, 0.5, 0.999, 1, NaN].map(text.percent), ["0 %", "< 1 %", "50 %", "> 99 %", "100 %", "–"]);
same("times that are none", [text.time_of(undefined), text.time_of(1e300), text.time_of(NaN)], ["", "", ""]);
return { held, failed };
