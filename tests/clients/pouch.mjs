// Runs scripts with PouchDB, arguments: address, token, version (7 or 9): one JSON line {"code", "args"} in, one line {"value"} or {"error"} out.
// A script sees `local(name)`, `remote`, `until(test)` and its arguments.
import readline from 'node:readline'

const [url, token, version] = process.argv.slice(2)
const suffix = version === '9' ? '' : '-' + version
const part = async name => (await import(name + suffix)).default

const PouchDB = await part('pouchdb-core')
for (const name of ['pouchdb-adapter-http', 'pouchdb-adapter-memory', 'pouchdb-replication']) {
  PouchDB.plugin(await part(name))
}

const databases = new Map()
const live = []

const local = name => {
  if (!databases.has(name)) databases.set(name, new PouchDB(name, { adapter: 'memory' }))
  return databases.get(name)
}

const remote = doctype =>
  new PouchDB(`${url}/data/${doctype}`, {
    fetch: (address, options) => {
      options.headers.set('Authorization', `Bearer ${token}`)
      return PouchDB.fetch(address, options)
    }
  })

const until = async test => {
  const end = Date.now() + 20000
  for (;;) {
    const value = await test()
    if (value) return value
    if (Date.now() > end) throw new Error('it never happened: ' + test)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

const keep = replication => {
  live.push(replication)
  return replication
}

const AsyncFunction = (async () => {}).constructor

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { code, args } = JSON.parse(line)
  let out
  try {
    const names = ['PouchDB', 'local', 'remote', 'until', 'keep', ...Object.keys(args)]
    const values = [PouchDB, local, remote, until, keep, ...Object.values(args)]
    out = { value: (await new AsyncFunction(...names, code)(...values)) ?? null }
  } catch (error) {
    out = { error: { name: error.name, status: error.status ?? null, message: error.message } }
  }
  process.stdout.write(JSON.stringify(out) + '\n')
}
for (const replication of live) replication.cancel()
process.exit(0)
