// Runs scripts with cozy-client: one JSON line {"code", "args"} in, one line {"value"} or {"error"} out.
// A script sees `client`, `Q`, `stack`, `connect(token)`, `pouchLink()`, `until(test)` and its arguments.
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

const { default: CozyClient, Q, StackLink } = require('cozy-client')
const { default: PouchLink } = require('cozy-pouch-link')
const memory = require('pouchdb-adapter-memory')

const schema = { files: { doctype: 'io.cozy.files' }, tests: { doctype: 'io.cozy.tests' } }
const connect = (token, options = {}) =>
  new CozyClient({ uri, token, schema, appMetadata: { slug: 'tests', version: '1.0.0' }, ...options })
const client = connect(token)

// a client that keeps documents of `doctypes` on the device
const offline = doctypes => {
  const link = new PouchLink({
    doctypes,
    initialSync: false,
    pouch: { plugins: [memory.default ?? memory], options: { adapter: 'memory' } }
  })
  return { link, client: connect(token, { links: [link, new StackLink()] }) }
}

const until = async test => {
  const end = Date.now() + 20000
  for (;;) {
    const value = await test()
    if (value) return value
    if (Date.now() > end) throw new Error('it never happened: ' + test)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

const AsyncFunction = (async () => {}).constructor
const world = { client, Q, stack: client.getStackClient(), connect, offline, until }

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
