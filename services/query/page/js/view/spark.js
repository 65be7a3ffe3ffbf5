// A line without axes: what a number did during the last minutes.
import { html, useEffect, useRef } from "./html.js";
import uPlot from "../../vendor/uplot.js";

const HEIGHT = 34;

/** `times` in seconds, `values` of the same length (null where unknown). Canvas and boxes are styled by the CSSOM only. */
export function Spark({ times, values, kind, name, now }) {
  const home = useRef(null);
  const plot = useRef(null);
  useEffect(() => {
    // A canvas knows no `light-dark()`: the computed colour is a plain one.
    const stroke = () => getComputedStyle(home.current).color;
    const options = {
      width: home.current.clientWidth || 120,
      height: HEIGHT,
      cursor: { show: false },
      legend: { show: false },
      padding: [3, 1, 3, 1],
      axes: [{ show: false }, { show: false }],
      scales: { x: { time: false }, y: { range: (_, __, most) => [0, Math.max(most ?? 0, 1)] } },
      series: [{}, { stroke, width: 1.5, points: { show: false }, spanGaps: false, fill: () => `color-mix(in srgb, ${stroke()} 14%, transparent)` }],
    };
    plot.current = new uPlot(options, [times, values], home.current);
    const watch = new ResizeObserver(() => home.current && plot.current?.setSize({ width: home.current.clientWidth, height: HEIGHT }));
    watch.observe(home.current);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => plot.current?.redraw(false);
    scheme.addEventListener("change", redraw);
    const themes = new MutationObserver(redraw);
    themes.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => {
      watch.disconnect();
      themes.disconnect();
      scheme.removeEventListener("change", redraw);
      plot.current?.destroy();
      plot.current = null;
    };
  }, []);
  useEffect(() => plot.current?.setData([times, values]), [times, values]);
  return html`<div class=${`spark ${kind}`} role="img" aria-label=${`${name}, now ${now}`} ref=${home}></div>`;
}
