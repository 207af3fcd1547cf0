// Values that several parts of the page share: a store has one value, and the hook renders anew when it changes.

import { useEffect, useState } from "./vendor/preact.js";

export function createStore(initial) {
  let value = initial;
  const listeners = new Set();
  return {
    get: () => value,
    set(next) {
      value = typeof next === "function" ? next(value) : next;
      for (const listener of [...listeners]) listener(value);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

export function useStore(store) {
  const [value, setValue] = useState(store.get());
  useEffect(() => {
    setValue(store.get());
    return store.subscribe(setValue);
  }, [store]);
  return value;
}

// Load something whenever one of `dependencies` changes. The last result stays until the next one is there, so
// that nothing jumps; a result that comes too late is dropped. Returns {data, error, loading, reload}.
export function useLoaded(load, dependencies) {
  const [turn, setTurn] = useState(0);
  const [state, setState] = useState({ data: undefined, error: null, loading: true });
  useEffect(() => {
    const aborter = new AbortController();
    setState((last) => ({ ...last, loading: true }));
    load(aborter.signal).then(
      (data) => aborter.signal.aborted || setState({ data, error: null, loading: false }),
      (error) => aborter.signal.aborted || setState((last) => ({ ...last, error, loading: false })),
    );
    return () => aborter.abort();
  }, [turn, ...dependencies]);
  return { ...state, reload: () => setTurn((last) => last + 1) };
}
