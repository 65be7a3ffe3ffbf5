// What the worker did so far: counts per label, rate, lag, and whether every post is accounted for.
import { html, useEffect, useRef, useState } from "./html.js";
import { api } from "../api.js";
import { count, visible } from "../text.js";
import { LABELS } from "../words.js";
import { Spark } from "./spark.js";

const EVERY_MS = 2_000;
const KEPT = 150;

/** Asks for the status every two seconds while the page is looked at: `{status, error, times, rates, lags}`. */
export function useStatus(turn) {
  const [state, set] = useState({ times: [], rates: [], lags: [] });
  useEffect(() => {
    const stop = new AbortController();
    let timer = null;
    const ask = async () => {
      if (!document.hidden) {
        try {
          const status = await api.status({ signal: stop.signal, deadline_ms: 8_000 });
          set((old) => with_sample(old, status));
        } catch (error) {
          if (!stop.signal.aborted) set((old) => ({ ...old, error }));
          if (error.status === 401) return;
        }
      }
      if (!stop.signal.aborted) timer = setTimeout(ask, EVERY_MS);
    };
    ask();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [turn]);
  return state;
}

export function lag_of(status) {
  const lags = Object.values(status?.lag ?? {}).filter(Number.isFinite);
  return lags.length === 0 ? null : lags.reduce((sum, lag) => sum + Math.max(0, lag), 0);
}

function with_sample({ times, rates, lags }, status) {
  const push = (list, value) => [...list, value].slice(-KEPT);
  return { status, error: null, times: push(times, Date.now() / 1000), rates: push(rates, status.rate_per_second ?? null), lags: push(lags, lag_of(status)) };
}

function LabelCounts({ counts }) {
  const of = (label) => counts?.[label] ?? 0;
  const all = Object.keys(LABELS).reduce((sum, label) => sum + of(label), 0);
  return html`<section class="figure" aria-label="Labels so far">
    <h2>Labels</h2>
    <div class="shares" aria-hidden="true">${Object.keys(LABELS).map((label) => of(label) > 0 && html`<span key=${label} class=${label} style=${{ flexGrow: of(label) / all }}></span>`)}</div>
    <dl class="counts">${Object.entries(LABELS).map(([label, { sign, name }]) => html`<div key=${label}><dt><span class=${`dot ${label}`} aria-hidden="true">${sign}</span>${name}</dt><dd data-count=${label}>${counts ? count(of(label)) : "–"}</dd></div>`)}</dl>
  </section>`;
}

function Conservation({ status }) {
  const parts = [["published", "published"], ["skipped", "skipped"], ["dead_lettered", "set aside"], ["erased", "erased"], ["abandoned", "abandoned"], ["in_flight", "in flight"]];
  const known = Number.isFinite(status?.received);
  const gap = status?.conservation_gap;
  const verdict = !Number.isFinite(gap) ? null : gap === 0 ? html`<span class="verdict fine">gap 0: every post is accounted for</span>` : html`<span class="verdict bad">gap ${count(gap)}: posts are missing from the sum</span>`;
  return html`<section class="figure wide" aria-label="Every post accounted for">
    <h2>Accounts ${verdict}</h2>
    ${known
      ? html`<p class="sum" data-gap=${gap}><span class="term"><b>${count(status.received)}</b> received</span><span class="op">=</span>${parts.map(([field, name], at) => html`<span class="term" key=${field}>${at > 0 && html`<span class="op">+</span>`}<b>${count(status[field] ?? 0)}</b> ${name}</span>`)}</p>`
      : html`<p class="small">No worker runs in this process; the sums stand in the metrics of the workers.</p>`}
  </section>`;
}

/** A sentence for a screen reader, at most every ten seconds. */
function useSpoken(text) {
  const [spoken, set] = useState("");
  const newest = useRef(text);
  newest.current = text;
  useEffect(() => {
    const timer = setInterval(() => set(newest.current), 10_000);
    return () => clearInterval(timer);
  }, []);
  return spoken;
}

export function Figures({ state }) {
  const { status, times, rates, lags } = state;
  const rate = rates.at(-1);
  const lag = lags.at(-1);
  const rate_text = Number.isFinite(rate) ? `${rate < 10 ? rate.toFixed(1) : count(Math.round(rate))}` : "–";
  const lag_text = Number.isFinite(lag) ? count(lag) : "–";
  const spoken = useSpoken(status ? Object.keys(LABELS).map((label) => `${status.counts?.label?.[label] ?? 0} ${label}`).join(", ") : "");
  return html`<div class="figures">
    <${LabelCounts} counts=${status?.counts?.label} />
    <section class="figure" aria-label="Rate"><h2>Rate</h2><p class="number">${rate_text}<small>/s</small></p>
      <${Spark} times=${times} values=${rates} kind="rate" name="Posts a second" now=${rate_text} /></section>
    <section class="figure" aria-label="Lag"><h2>Lag</h2><p class="number">${lag_text}<small>behind</small></p>
      <${Spark} times=${times} values=${lags} kind="lag" name="Records behind" now=${lag_text} /></section>
    <${Conservation} status=${status} />
    ${status?.problem && html`<p class="problem" role="alert">${visible(status.problem, 300)}</p>`}
    <p class="unseen" aria-live="polite">${spoken}</p>
  </div>`;
}
