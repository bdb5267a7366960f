// Runs scripts with cozy-client-js, which devices use; arguments: address, token.
// A script sees `cozy`, `connect(options)`, `uri` and its arguments.
import './browser.mjs'
import { createRequire } from 'node:module'
import { run } from './scripts.mjs'

const { Client } = createRequire(import.meta.url)('cozy-client-js')
const [uri, token] = process.argv.slice(2)
const connect = options => new Client({ cozyURL: uri, ...options })

await run({ cozy: connect({ token }), connect, uri })
process.exit(0)
