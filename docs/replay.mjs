// Checks a log and folds it, without any key; written from docs/log-format.md alone.
//   node docs/replay.mjs events.jsonl [POSITION]
// prints the position, the hash of its line and the digest of the state there.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

const START = ['specversion', 'id', 'source', 'type', 'subject', 'time', 'actor'].join()
const BUILT_IN = new Set(['user', 'session', 'key', 'log', 'schema', 'webhook', 'security', 'audit'])
const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()

const users = new Map(), sessions = new Map(), keys = new Map(), webhooks = new Map()
const kinds = new Map([['item', 'items']]) // Each kind's collection; items are never declared.
const collections = new Map([['items', new Map()]])

function removeAll(table, user, keep) {
  for (const [id, one] of table) if (one.user === user && id !== keep) table.delete(id)
}

// Applies an event to the state. An event about a missing entry does nothing.
function apply({ type, subject, data }, position) {
  const [table, id] = subject.split('/', 2)
  if (type === 'schema.declared') {
    kinds.set(data.kind, id)
    if (!collections.has(id)) collections.set(id, new Map())
  }
  else if (type.startsWith('user.')) applyToUser(type, Number(id), data, position)
  else if (table === 'sessions' || table === 'keys') applyToCredential(type, table === 'keys' ? keys : sessions, id, data, position)
  else if (table === 'webhooks') applyToWebhook(type.split('.')[1], Number(id), position)
  else if (collections.has(table)) applyToResource(type.split('.')[1], collections.get(table), Number(id), data, position)
}

// The verbs of every kind; any other verb is an action, which changes values of a live resource.
function applyToResource(verb, resources, number, data, position) {
  if (verb === 'created') resources.set(number, { status: 'live', owner: data.owner })
  const resource = resources.get(number)
  if (!resource || (resource.status === 'deleted' && verb !== 'restored')) return
  resource.version = position
  resource.status = verb === 'deleted' ? 'deleted' : 'live'
}

function applyToCredential(type, table, id, data, position) {
  if (type === 'session.started' || type === 'key.created') table.set(id, { user: data.user })
  const one = table.get(id)
  if (!one) return
  one.version = position
  if (type === 'session.ended' && data.everywhere) removeAll(sessions, one.user)
  if (type === 'session.ended' || type === 'key.revoked') table.delete(id)
}

function applyToWebhook(verb, number, position) {
  if (verb === 'deleted' || (verb !== 'created' && !webhooks.has(number))) return void webhooks.delete(number)
  const status = { created: 'enabled', enabled: 'enabled', disabled: 'disabled' }[verb] ?? webhooks.get(number).status
  webhooks.set(number, { status, version: position })
}

function applyToUser(type, number, data, position) {
  if (type === 'user.registered') users.set(number, { status: 'enabled', roles: new Set() })
  const user = users.get(number)
  if (!user) return
  user.version = position
  if (type === 'user.password_changed' && data.reason === 'changed') removeAll(sessions, number, data.session)
  if (type === 'user.password_reset') removeAll(sessions, number)
  if (type === 'user.role_granted') user.roles.add(data.role)
  if (type === 'user.role_revoked') user.roles.delete(data.role)
  if (type === 'user.enabled') user.status = 'enabled'
  if (type === 'user.disabled' || type === 'user.erased') {
    user.status = type.slice('user.'.length)
    removeAll(sessions, number)
  }
  if (type !== 'user.erased') return
  user.roles.clear()
  removeAll(keys, number)
  for (const resources of collections.values()) for (const resource of resources.values()) {
    if (resource.owner === number && resource.status === 'live') Object.assign(resource, { status: 'deleted', version: position })
  }
}

function digest() {
  const ascending = (table) => [...table].sort(([a], [b]) => (a < b ? -1 : 1))
  const lines = []
  for (const [number, user] of ascending(users)) {
    lines.push(`users/${number} ${user.status} ${[...user.roles].sort().join() || '-'} ${user.version}`)
  }
  for (const [name, resources] of ascending(collections)) for (const [number, one] of ascending(resources)) {
    lines.push(`${name}/${number} ${one.status} ${one.owner} ${one.version}`)
  }
  for (const [name, table] of [['sessions', sessions], ['keys', keys]]) for (const [id, one] of ascending(table)) {
    lines.push(`${name}/${id} ${one.user} ${one.version}`)
  }
  for (const [number, one] of ascending(webhooks)) lines.push(`webhooks/${number} ${one.status} ${one.version}`)
  return sha256(...lines.map((line) => line + '\n')).toString('hex')
}

function fault(line, event, position, before) {
  if (line.length > 65535 || !Buffer.from(line.toString('utf8')).equals(line)) return 'too long or not UTF-8'
  const names = Object.keys(Object(event)).join()
  if (!names.startsWith(START) || !names.endsWith('data,hash')) return 'members missing or out of order'
  if (event.specversion !== '1.0' || event.id !== String(position)) return `id ${event.id} of ${event.specversion}`
  if (before && event.source !== before.source) return 'of another source'
  const [kind] = event.type.split('.'), isDeclared = BUILT_IN.has(kind) || kinds.get(kind) === event.subject.split('/')[0]
  if (!isDeclared) return `${kind} is not declared, or in another collection`
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
