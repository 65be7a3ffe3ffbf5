import { useCallback, useEffect, useState } from "./html.js";

/** Loads once for each `key`, and drops what comes too late: `{value, error, again}`. */
export function useLoad(load, key) {
  const [state, set] = useState({ key: null });
  const [turn, set_turn] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    set({ key });
    load({ signal: stop.signal }).then(
      (value) => !stop.signal.aborted && set({ key, value }),
      (error) => !stop.signal.aborted && set({ key, error }),
    );
    return () => stop.abort();
  }, [key, turn]);
  const again = useCallback(() => set_turn((now) => now + 1), []);
  return state.key === key ? { ...state, again } : { again };
}

/** A blob as an address for `src`, given back when it is of no use any more. `load` null: nothing yet. */
export function useBlob(load, key) {
  const [state, set] = useState({ key: null });
  const [turn, set_turn] = useState(0);
  useEffect(() => {
    if (load === null) return undefined;
    const stop = new AbortController();
    let url = null;
    set({ key });
    load({ signal: stop.signal }).then(
      (blob) => {
        if (stop.signal.aborted) return;
        url = URL.createObjectURL(blob);
        set({ key, url, bytes: blob.size });
      },
      (error) => !stop.signal.aborted && set({ key, error }),
    );
    return () => {
      stop.abort();
      if (url !== null) URL.revokeObjectURL(url);
    };
  }, [key, turn, load === null]);
  const again = useCallback(() => set_turn((now) => now + 1), []);
  return state.key === key && load !== null ? { ...state, again } : { again };
}
