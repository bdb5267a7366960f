// Runs scripts with cozy-client and its companions, arguments: address, token.
// A script sees `client`, `Q`, `models`, `connect(token)`, `OAuthClient`, `realtime()`, `offline(options)` and its arguments.
import './browser.mjs'
import { createRequire } from 'node:module'
import { run, until } from './scripts.mjs'

const require = createRequire(import.meta.url)
const [uri, token] = process.argv.slice(2)

const { default: CozyClient, Q, StackLink, models } = require('cozy-client')
const { OAuthClient } = require('cozy-stack-client')

const schema = { files: { doctype: 'io.cozy.files' }, tests: { doctype: 'io.cozy.tests' } }
const appMetadata = { slug: 'tests', version: '1.0.0' }
const connect = token => new CozyClient({ uri, token, schema, appMetadata })
const client = connect(token)

// the subscriptions of the client
const realtime = () => {
  const { RealtimePlugin } = require('cozy-realtime')
  if (!client.plugins.realtime) client.registerPlugin(RealtimePlugin)
  return client.plugins.realtime
}

// a client that keeps copies of whole doctypes, in memory
const offline = async options => {
  const { default: PouchLink } = require('cozy-pouch-link')
  const PouchDB = require('pouchdb-core-7')
  for (const part of ['adapter-memory-7', 'adapter-http-7', 'replication-7']) {
    PouchDB.plugin(require('pouchdb-' + part))
  }
  PouchDB.plugin(require('pouchdb-find'))
  const storage = {
    getItem: async key => localStorage.getItem(key),
    setItem: async (key, value) => localStorage.setItem(key, value),
    removeItem: async key => localStorage.removeItem(key)
  }
  const events = { addEventListener() {}, removeEventListener() {} }
  const link = new PouchLink({
    ...options,
    initialSync: false,
    platform: { storage, events, pouchAdapter: PouchDB, isOnline: async () => true },
    pouch: { options: { adapter: 'memory' } }
  })
  const client = new CozyClient({ uri, token, schema, appMetadata, links: [link, new StackLink()] })
  await client.login({ uri, token })
  const replicate = () =>
    new Promise((resolve, reject) => {
      client.on('pouchlink:sync:end', () => resolve('end'))
      client.on('pouchlink:sync:error', reject)
      link.startReplication()
    })
  return { client, link, replicate }
}

await run({ client, Q, models, connect, OAuthClient, realtime, offline, until, uri })
process.exit(0)
