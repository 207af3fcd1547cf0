// Checks a log by section 2 of the contract alone: node docs/verify-chain.mjs events.jsonl
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

const START = ['specversion', 'id', 'source', 'type', 'subject', 'time', 'actor'], END = ['data', 'hash']
const bytes = readFileSync(process.argv[2])
let head = Buffer.alloc(32), lines = 0, before = { time: '' }

function fault(line) {
  const text = line.toString('utf8'), at = line.lastIndexOf(',"hash":')
  if (line.length > 65535 || !Buffer.from(text).equals(line)) return 'too long or not UTF-8'
  let event
  try { event = JSON.parse(text) } catch { return 'no JSON' }
  const names = Object.keys(Object(event)).join()
  if (!names.startsWith(START.join()) || !names.endsWith(END.join())) return 'members missing or out of order'
  if (event.specversion !== '1.0' || event.id !== String(lines + 1)) return `id ${event.id} of ${event.specversion}`
  if (lines && event.source !== before.source) return 'of another source'
  if (event.time < before.time) return 'earlier than the line before'
  head = createHash('sha256').update(head).update(line.subarray(0, at)).digest()
  if (line.subarray(at).toString() !== `,"hash":"${head.toString('hex')}"}`) return 'its hash does not follow'
  before = event
}

for (let from = 0, to; from < bytes.length; from = to + 1, lines++) {
  to = bytes.indexOf(10, from)
  const reason = to < 0 ? 'no newline at its end' : fault(bytes.subarray(from, to))
  if (reason) { console.error(`line ${lines + 1} (byte ${from}): ${reason}`); process.exit(1) }
}
console.log(`${lines} lines, head ${head.toString('hex')}`)
