// Runs scripts with cozy-client: one JSON line {"code", "args"} in, one line {"value"} or {"error"} out.
// A script sees `client`, `Q`, `connect(token)` and its arguments.
import { createRequire } from 'node:module'
import readline from 'node:readline'

const require = createRequire(import.meta.url)
const [uri, token] = process.argv.slice(2)

// answers go to standard output; whatever the packages say goes aside
for (const name of ['log', 'info', 'warn', 'debug']) console[name] = () => {}

// what the packages expect of a browser
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

const { default: CozyClient, Q } = require('cozy-client')

const schema = { files: { doctype: 'io.cozy.files' }, tests: { doctype: 'io.cozy.tests' } }
const connect = token => new CozyClient({ uri, token, schema, appMetadata: { slug: 'tests', version: '1.0.0' } })
const client = connect(token)

const AsyncFunction = (async () => {}).constructor
const world = { client, Q, connect }

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { code, args } = JSON.parse(line)
  const names = { ...world, ...args }
  let out
  try {
    out = { value: (await new AsyncFunction(...Object.keys(names), code)(...Object.values(names))) ?? null }
  } catch (error) {
    out = { error: { name: error.name, status: error.status ?? null, message: String(error.message) } }
  }
  process.stdout.write(JSON.stringify(out) + '\n')
}
process.exit(0)
