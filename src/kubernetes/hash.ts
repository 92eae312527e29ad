/**
 * Deterministic stand-ins for the control plane's random names and ids.
 *
 * Kubernetes encodes the pod-template-hash (FNV-1a 32 of the template) and random suffixes in an alphabet without vowels
 * and look-alikes; the alphabet and the encoding here are the real ones, what is hashed is the JSON of the template with
 * sorted keys (the real controller hashes a Go dump of the struct, which no other program can reproduce), and "random"
 * is a generator seeded by the object's own name, so a name does not change when other objects do.
 *
 * Sources: k8s.io/apimachinery/pkg/util/rand/rand.go (SafeEncodeString, alphanums),
 * k8s.io/kubernetes/pkg/controller/controller_utils.go (ComputeHash).
 */

const ALPHANUMS = 'bcdfghjklmnpqrstvwxz2456789'

/** FNV-1a, 32 bits, unsigned, of the UTF-16 code units' low and high bytes. */
export function fnv32a(text: string, hash = 0x811c9dc5): number {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    hash = Math.imul(hash ^ (c & 255), 0x01000193)
    if (c > 255) hash = Math.imul(hash ^ (c >>> 8), 0x01000193)
  }
  return hash >>> 0
}

/** rand.SafeEncodeString: each byte of the text as one letter of the alphabet. */
export function safeEncode(text: string): string {
  let out = ''
  for (let i = 0; i < text.length; i++) out += ALPHANUMS[text.charCodeAt(i) % ALPHANUMS.length]
  return out
}

/** The pod-template-hash of a template. */
export function templateHash(template: unknown): string {
  return safeEncode(String(fnv32a(canonicalJson(template))))
}

/** JSON with sorted keys: equal data gives equal text. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null'
  const object = value as Record<string, unknown>
  const fields = Object.keys(object)
    .filter((key) => object[key] !== undefined)
    .sort()
  return `{${fields.map((key) => `${JSON.stringify(key)}:${canonicalJson(object[key])}`).join(',')}}`
}

/** A generator of unsigned 32-bit numbers (mulberry32) seeded by a text. */
export function randomFrom(seedText: string): () => number {
  let state = fnv32a(seedText)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return (t ^ (t >>> 14)) >>> 0
  }
}

/** rand.String(5) seeded by a text. */
export function suffixFrom(seedText: string, length = 5): string {
  const next = randomFrom(seedText)
  let out = ''
  for (let i = 0; i < length; i++) out += ALPHANUMS[next() % ALPHANUMS.length]
  return out
}

/** `base` + random suffix as names.SimpleNameGenerator makes it, unique among `taken`, to which it is added. */
export function generateName(base: string, seedText: string, taken: Set<string>): string {
  const stem = base.slice(0, 58)
  for (let attempt = 0; ; attempt++) {
    const name = stem + suffixFrom(attempt === 0 ? seedText : `${seedText}#${attempt}`)
    if (taken.has(name)) continue
    taken.add(name)
    return name
  }
}

/** A version 4 UUID seeded by a text. */
export function uidFrom(seedText: string): string {
  const next = randomFrom(seedText)
  const hex = [next(), next(), next(), next()].map((n) => n.toString(16).padStart(8, '0')).join('')
  const variant = ((Number.parseInt(hex[16]!, 16) & 3) | 8).toString(16)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20)}`
}
