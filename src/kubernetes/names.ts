/**
 * Names and values as the API server accepts them, and "did you mean".
 *
 * Sources: k8s.io/apimachinery/pkg/util/validation (IsDNS1123Label, IsDNS1123Subdomain, IsDNS1035Label, IsQualifiedName,
 * IsValidLabelValue, IsValidPortName), pkg/api/resource/quantity.go.
 */

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/
const LABEL_1035 = /^[a-z]([-a-z0-9]*[a-z0-9])?$/
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/
const QUALIFIED_PART = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/

/** Why the text is not an RFC 1123 label, or null. */
export function badLabel(text: string): string | null {
  if (text.length > 63) return 'an RFC 1123 label of at most 63 characters'
  return LABEL.test(text) ? null : 'an RFC 1123 label: lower case letters, digits and "-", no "-" at the ends'
}

/** Why the text is not an RFC 1035 label (the name of a Service), or null. */
export function badLabel1035(text: string): string | null {
  if (text.length > 63) return 'an RFC 1035 label of at most 63 characters'
  return LABEL_1035.test(text) ? null : 'an RFC 1035 label: lower case letters, digits and "-", a letter first'
}

/** Why the text is not an RFC 1123 subdomain, or null. */
export function badSubdomain(text: string): string | null {
  if (text.length > 253) return 'an RFC 1123 subdomain of at most 253 characters'
  return SUBDOMAIN.test(text)
    ? null
    : 'an RFC 1123 subdomain: lower case letters, digits, "-" and ".", a letter or digit at the ends'
}

/** Why the text is not a label key, or null. */
export function badLabelKey(text: string): string | null {
  const slash = text.indexOf('/')
  const name = text.slice(slash + 1)
  if (slash >= 0 && badSubdomain(text.slice(0, slash)) !== null) return 'a label key with a DNS name before the "/"'
  if (name.length > 63 || !QUALIFIED_PART.test(name)) {
    return 'a label key: letters, digits, "-", "_" and ".", at most 63 characters'
  }
  return null
}

/** Why the text is not a label value, or null. */
export function badLabelValue(text: string): string | null {
  if (text === '' || (text.length <= 63 && QUALIFIED_PART.test(text))) return null
  return 'a label value: letters, digits, "-", "_" and ".", at most 63 characters'
}

/** Why the text is not a port name (IANA service name), or null. */
export function badPortName(text: string): string | null {
  if (text.length > 0 && text.length <= 15 && LABEL.test(text) && /[a-z]/.test(text) && !text.includes('--'))
    return null
  return 'a port name: at most 15 lower case letters, digits and "-", at least one letter'
}

const SUFFIX: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
}

/** A resource quantity (`100m`, `64Mi`, `1e3`, 2) as a number of its unit, or null. */
export function parseQuantity(quantity: string | number): number | null {
  const match = /^([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)$/.exec(String(quantity))
  if (match === null) return null
  return Number(match[1] + (match[2] ?? '')) * SUFFIX[match[3] ?? '']!
}

/** The candidate that the text was probably meant to be, or undefined. */
export function didYouMean(text: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(text.length / 3)) + 1
  for (const candidate of candidates) {
    const distance = editDistance(text.toLowerCase(), candidate.toLowerCase(), bestDistance)
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** The candidates nearest to the text, best first. */
export function nearest(text: string, candidates: Iterable<string>, count = 3): string[] {
  const limit = Math.max(3, Math.ceil(text.length / 2))
  const scored: { candidate: string; distance: number }[] = []
  for (const candidate of candidates) {
    const distance = candidate.includes(text) ? 1 : editDistance(text, candidate, limit)
    if (distance < limit) scored.push({ candidate, distance })
  }
  scored.sort((a, b) => a.distance - b.distance || (a.candidate < b.candidate ? -1 : 1))
  return scored.slice(0, count).map((s) => s.candidate)
}

/** Levenshtein distance with neighbouring swaps, given up at `limit`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit
  let beforePrevious: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let value = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + cost)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        value = Math.min(value, beforePrevious[j - 2]! + 1)
      row.push(value)
    }
    beforePrevious = previous
    previous = row
  }
  return previous[b.length]!
}
