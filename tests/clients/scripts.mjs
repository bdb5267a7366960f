// Runs scripts: one JSON line {"code", "args"} in, one line {"value"} or {"error"} out.
import readline from 'node:readline'

const AsyncFunction = (async () => {}).constructor

// Run what comes in until the input ends; a script sees the names of `world` and its arguments.
export const run = async world => {
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
}

// Wait for something to become true.
export const until = async test => {
  const end = Date.now() + 20000
  for (;;) {
    const value = await test()
    if (value) return value
    if (Date.now() > end) throw new Error('it never happened: ' + test)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}
