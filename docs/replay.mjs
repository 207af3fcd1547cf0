// Checks a log and folds it, without any key; written from docs/log-format.md alone.
//   node docs/replay.mjs events.jsonl [POSITION]
// prints the position, the hash of its line and the digest of the state there.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

const START = ['specversion', 'id', 'source', 'type', 'subject', 'time', 'actor'].join()
const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()

const users = new Map(), items = new Map(), sessions = new Map()

function endSessions(user, keep) {
  for (const [id, session] of sessions) if (session.user === user && id !== keep) sessions.delete(id)
}

// Applies an event to the state. An event about a missing entry does nothing.
function apply(event, position) {
  const { type, subject, data } = event
  const [kind, id] = subject.split('/', 2)
  const number = Number(id)
  if (type === 'user.registered') users.set(number, { status: 'enabled', roles: new Set(), version: position })
  if (type === 'item.created') items.set(number, { status: 'live', owner: data.owner, version: position })
  if (type === 'session.started') sessions.set(id, { user: data.user, version: position })
  const thing = { users: users.get(number), items: items.get(number), sessions: sessions.get(id) }[kind]
  if (!thing) return
  if (type === 'item.updated' && thing.status === 'deleted') return
  if (type === 'item.deleted' && thing.status === 'deleted') return
  thing.version = position
  if (type === 'item.deleted') thing.status = 'deleted'
  if (type === 'item.restored') thing.status = 'live'
  if (type === 'session.ended') {
    if (data.everywhere) endSessions(thing.user)
    sessions.delete(id)
  }
  if (type === 'user.password_changed' && data.reason === 'changed') endSessions(number, data.session)
  if (type === 'user.role_granted') thing.roles.add(data.role)
  if (type === 'user.role_revoked') thing.roles.delete(data.role)
  if (type === 'user.enabled') thing.status = 'enabled'
  if (type === 'user.disabled' || type === 'user.erased') {
    thing.status = type.slice('user.'.length)
    endSessions(number)
  }
  if (type === 'user.erased') {
    thing.roles.clear()
    for (const item of items.values()) {
      if (item.owner === number && item.status === 'live') Object.assign(item, { status: 'deleted', version: position })
    }
  }
}

function digest() {
  const ascending = (table) => [...table].sort(([a], [b]) => (a < b ? -1 : 1))
  const lines = []
  for (const [number, user] of ascending(users)) {
    lines.push(`users/${number} ${user.status} ${[...user.roles].sort().join() || '-'} ${user.version}`)
  }
  for (const [number, item] of ascending(items)) lines.push(`items/${number} ${item.status} ${item.owner} ${item.version}`)
  for (const [id, session] of ascending(sessions)) lines.push(`sessions/${id} ${session.user} ${session.version}`)
  return sha256(...lines.map((line) => line + '\n')).toString('hex')
}

function fault(line, event, position, before) {
  if (line.length > 65535 || !Buffer.from(line.toString('utf8')).equals(line)) return 'too long or not UTF-8'
  const names = Object.keys(Object(event)).join()
  if (!names.startsWith(START) || !names.endsWith('data,hash')) return 'members missing or out of order'
  if (event.specversion !== '1.0' || event.id !== String(position)) return `id ${event.id} of ${event.specversion}`
  if (before && event.source !== before.source) return 'of another source'
  return before && event.time < before.time ? 'earlier than the line before' : ''
}

const bytes = readFileSync(process.argv[2]), last = Number(process.argv[3] ?? Infinity)
let head = Buffer.alloc(32), position = 0, before
for (let from = 0, to; from < bytes.length && position < last; from = to + 1) {
  to = bytes.indexOf(10, from)
  const line = bytes.subarray(from, to < 0 ? bytes.length : to), at = line.lastIndexOf(',"hash":')
  position++
  let event, reason = to < 0 ? 'no newline at its end' : ''
  try { event = JSON.parse(line.toString('utf8')) } catch { reason ||= 'no JSON' }
  reason ||= fault(line, event, position, before)
  head = sha256(head, line.subarray(0, at))
  if (!reason && line.subarray(at).toString() !== `,"hash":"${head.toString('hex')}"}`) reason = 'its hash does not follow'
  if (reason) { console.error(`line ${position} (byte ${from}): ${reason}`); process.exit(1) }
  apply(event, position)
  before = event
}
console.log(`${position} ${head.toString('hex')} ${digest()}`)
