// Runs scripts with PouchDB, arguments: address, token, version (7 or 9).
// A script sees `PouchDB`, `local(name)`, `remote(doctype)`, `until(test)`, `keep(replication)` and its arguments.
import { run, until } from './scripts.mjs'

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

const keep = replication => {
  live.push(replication)
  return replication
}

await run({ PouchDB, local, remote, until, keep })
for (const replication of live) replication.cancel()
process.exit(0)
