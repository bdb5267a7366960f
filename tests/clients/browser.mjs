// What the packages expect of a browser.

// answers go to standard output; whatever the packages say goes aside
for (const name of ['log', 'info', 'warn', 'debug']) console[name] = () => {}

globalThis.self = globalThis.window = globalThis
globalThis.location = new URL('http://localhost/')
globalThis.addEventListener = globalThis.removeEventListener = () => {}
Object.defineProperty(globalThis, 'navigator', { value: { onLine: true, userAgent: 'node' }, configurable: true })
globalThis.document = {
  addEventListener() {},
  removeEventListener() {},
  createElement: () => ({}),
  querySelector: () => null,
  cookie: '',
  visibilityState: 'visible'
}
const kept = new Map()
globalThis.localStorage = {
  getItem: key => kept.get(key) ?? null,
  setItem: (key, value) => kept.set(key, String(value)),
  removeItem: key => kept.delete(key)
}
