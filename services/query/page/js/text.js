// What strangers wrote, made fit to be shown. Pure. Nothing here makes HTML: all of it goes into text nodes.

// Control and format characters: they turn the direction of what follows, hide, or make two ids look alike.
const HIDDEN = /[\p{Cc}\p{Cf}\u2028\u2029\u115f\u1160\u3164\uffa0]/gu;

/** An id, a reason, a name: each hidden character as `⟨U+202E⟩`, cut after `most` characters. */
export function visible(text, most = 200) {
  const shown = String(text).slice(0, most * 2).replace(HIDDEN, (one) => `⟨U+${one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
  return cut(shown, most);
}

/** A post's text on one line, for a row. */
export function one_line(text, most = 400) {
  return cut(String(text).slice(0, most * 4).replace(/[\p{Cc}\s]+/gu, " ").trim(), most);
}

/** The first `most` characters (Unicode scalar values, never half of one), with `…` where something was cut off. */
export function cut(text, most) {
  if (text.length <= most) return text;
  const characters = Array.from(text.slice(0, most * 2 + 2));
  return characters.length <= most && text.length <= most * 2 + 2 ? text : `${characters.slice(0, most).join("")}…`;
}

/** Cuts a text at the spans of its words: `[{text, weight, word?}]`, in order, nothing lost; `weight` is 0 outside.
 *  `start` and `end` count Unicode scalar values. Spans that overlap, are empty or lie outside are passed over. */
export function shade(text, words) {
  const characters = Array.from(text);
  const spans = words
    .filter((word) => Number.isInteger(word.start) && Number.isInteger(word.end))
    .filter((word) => word.start >= 0 && word.start < word.end && word.end <= characters.length)
    .sort((one, other) => one.start - other.start);
  const pieces = [];
  let at = 0;
  const push = (from, to, weight, word) => {
    if (from < to) pieces.push({ text: characters.slice(from, to).join(""), weight, word });
  };
  for (const span of spans) {
    if (span.start < at) continue;
    push(at, span.start, 0);
    push(span.start, span.end, span.weight, span.word);
    at = span.end;
  }
  push(at, characters.length, 0);
  return pieces;
}

/** 0.9234 as `92 %`, never `100 %` or `0 %` of what is neither. */
export function percent(share) {
  if (!Number.isFinite(share)) return "–";
  const whole = Math.round(share * 100);
  if (whole >= 100 && share < 1) return "> 99 %";
  if (whole <= 0 && share > 0) return "< 1 %";
  return `${whole} %`;
}

/** A count with its thousands set apart. */
export function count(number) {
  return Number.isFinite(number) ? number.toLocaleString("en").replaceAll(",", "\u202f") : "–";
}

/** Seconds of a clip as `0:12`. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** A time of day, or day and time if it is not today; `""` without one. */
export function time_of(ms, now_ms = Date.now()) {
  if (!Number.isFinite(ms)) return "";
  const time = new Date(ms);
  if (Number.isNaN(time.getTime())) return "";
  const of_day = time.toLocaleTimeString("en-GB");
  return new Date(now_ms).toDateString() === time.toDateString() ? of_day : `${day_of(time)} ${of_day}`;
}

function day_of(time) {
  return [time.getFullYear(), time.getMonth() + 1, time.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
}
