// The codes of the records in plain words. Pure. A code that is not listed is shown as it is: the program may be newer.

/** Label: its sign (told apart without colour) and its name. */
export const LABELS = {
  positive: { sign: "+", letter: "P", name: "positive" },
  neutral: { sign: "○", letter: "N", name: "neutral" },
  negative: { sign: "−", letter: "G", name: "negative" },
};

export const MODALITIES = { text: "text", audio: "sound", image: "picture" };

export const MOODS = { Q1: "lively, happy", Q2: "tense, angry", Q3: "sad, low", Q4: "calm, pleasant" };

/** Why a part took no part, after "The picture …". */
export const ABSENT = {
  present: "was read",
  absent: "is not in the post",
  fetch_denied: "lies at an address that may not be fetched from",
  fetch_failed: "could not be fetched: its host failed, after all retries",
  not_found: "is not there any more: its host answered 404 or 410",
  timeout: "did not arrive in time",
  too_large: "is larger than the limits allow",
  type_mismatch: "is of another kind than the post says",
  hash_mismatch: "is not the file that the post declares: its hash differs",
  unsupported: "is in a format that is not decoded",
  decode_error: "is damaged, cut short or empty",
};

/** The same in two or three words, for a row. */
export const ABSENT_SHORT = {
  fetch_denied: "address refused",
  fetch_failed: "fetch failed",
  not_found: "not found",
  timeout: "too late",
  too_large: "too large",
  type_mismatch: "wrong kind",
  hash_mismatch: "hash differs",
  unsupported: "format unknown",
  decode_error: "damaged",
};

/** Why a label is not certain: a sentence, given the record. */
export function doubt(sentiment) {
  const because = sentiment.uncertain_because;
  if (because === "language_unclear") return "the language of the text cannot be told well enough";
  if (because === "language_not_covered") return `the model was not measured on this language${sentiment.lang ? ` (${language(sentiment.lang)})` : ""}`;
  if (because === "low_probability") {
    if (!(sentiment.threshold < 1)) return "the model promises nothing for posts with these parts";
    return `its probability is below the ${Math.round(sentiment.threshold * 100)} % from which labels are certain`;
  }
  return because ? String(because).replaceAll("_", " ") : "no reason is given";
}

/** The same in a word or two, for a row. */
export function doubt_short(sentiment) {
  const because = sentiment.uncertain_because;
  if (because === "language_unclear") return "language unclear";
  if (because === "language_not_covered") return "language not covered";
  if (because === "low_probability") return sentiment.threshold < 1 ? `below ${Math.round(sentiment.threshold * 100)} %` : "no promise";
  return because ? String(because).replaceAll("_", " ") : "not certain";
}

/** Why a post's content is not there. */
export const NO_CONTENT = {
  past_retention: "The post is past the retention of the input topic; only its label is kept.",
  erased: "The post was erased; its content is gone.",
  replaced: "A newer revision has replaced this one; its content is gone.",
  input_topic_unreachable: "The input topic cannot be reached at present; try again in a moment.",
};

/** Why a record was set aside. */
export const DEAD = {
  invalid_json: "The record is not JSON.",
  invalid_post: "The record is JSON, but not a post.",
  key_mismatch: "The record's key is not the post's id.",
  record_too_large: "The record is larger than is taken.",
  no_modality: "None of the post's parts could be used.",
  non_finite_output: "A network gave a number that is not finite.",
  poison_pill: "The post made a stage fail again and again.",
  publish_rejected: "The broker refuses the finished record.",
  crashed_worker: "The worker ended several times while it held this record alone.",
  deadline_exceeded: "The post was not done within its time, alone either.",
};

/** What neighbours can be near by. */
export const NEAR_BY = {
  semantic: "what the text is about",
  u: "the whole post (fused vector)",
  text: "how the text reads",
  audio: "how it sounds",
  image: "how it looks",
};

/** Name of a language; its code where the browser knows none. */
export function language(code) {
  if (code === "zxx") return "no words";
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code) ?? code;
  } catch {
    return code;
  }
}

/** An error as a person can use it: what is wrong and what to do. */
export function advice(error) {
  const status = error?.status;
  if (status === 0) return "The server does not answer. Is it still running? This page tries again by itself.";
  if (status === 401) return "The server asks for a key.";
  if (status === 403) return error.reason === "read_only" ? "This server only reads; what costs a network is switched off here." : "This key may not do that; ask for one with a wider scope.";
  if (error?.reason === "no_address") return "An id of dots alone cannot be asked for by its address; only the label and the text of such a post can be had.";
  if (status === 404) return "It is not known here, or its label has lapsed.";
  if (status === 410) return "The post was erased.";
  if (status === 429) return "Too much at once; try again in a moment.";
  if (status === 503) return "A part of the system is away; try again in a moment.";
  return "Something went wrong; the request id below helps whoever runs the server.";
}
