/**
 * DNS messages, by dns-packet, in the shape that resolvers and servers here use.
 *
 *     | id | QR opcode AA TC RD RA Z AD CD rcode | QDCOUNT | ANCOUNT | NSCOUNT | ARCOUNT | sections ... |
 *
 * Names are text without the trailing dot, `.` for the root; their case is kept. Compression of an emitted message is
 * asked for, since servers differ: CoreDNS compresses only what would not fit otherwise. Not here: DNSSEC records beyond
 * what dns-packet reads, classes other than IN, mDNS bits.
 *
 * Sources: RFC 1035 section 4.1, RFC 6891 (EDNS), github.com/miekg/dns msg.go (compressionLenHelper, compressible types).
 */
import { Buffer } from 'node:buffer'
import * as packet from 'dns-packet'
import { viewOf } from './view.ts'

/** Fields of an SOA record. */
export interface SoaData {
  readonly mname: string
  readonly rname: string
  readonly serial: number
  readonly refresh: number
  readonly retry: number
  readonly expire: number
  readonly minimum: number
}

/** Fields of an SRV record. */
export interface SrvData {
  readonly priority: number
  readonly weight: number
  readonly port: number
  readonly target: string
}

/** A resource record. */
export type DnsRecord = { readonly name: string; readonly ttl: number } & (
  | { readonly type: 'A' | 'AAAA' | 'CNAME' | 'NS' | 'PTR'; readonly data: string }
  | { readonly type: 'SOA'; readonly data: SoaData }
  | { readonly type: 'SRV'; readonly data: SrvData }
  | { readonly type: 'TXT'; readonly data: readonly string[] }
)

/** What is asked: a name and the text of a type (`A`, `AAAA`, `SRV` ...; `UNKNOWN_65` for one without a name). */
export interface DnsQuestion {
  readonly name: string
  readonly type: string
}

/** A whole message. */
export interface DnsMessage {
  readonly id: number
  readonly isResponse: boolean
  /** `QUERY` ... */
  readonly opcode: string
  readonly isAuthoritative: boolean
  readonly isTruncated: boolean
  readonly recursionDesired: boolean
  readonly recursionAvailable: boolean
  /** `NOERROR`, `NXDOMAIN`, `SERVFAIL`, `REFUSED`, `NOTIMP`, `FORMERR` ... */
  readonly rcode: string
  readonly questions: readonly DnsQuestion[]
  readonly answers: readonly DnsRecord[]
  readonly authorities: readonly DnsRecord[]
  readonly additionals: readonly DnsRecord[]
  /** UDP payload size of the OPT record, absent without EDNS. */
  readonly ednsBytes?: number
}

/** UDP messages without EDNS end here. */
export const DNS_UDP_BYTES = 512
const RCODES = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED']
const HEADER_BYTES = 12
const MAX_POINTER = 0x3fff
/** NS, CNAME, SOA, PTR, MX: types whose names may be compressed (RFC 3597 section 4). */
const COMPRESSIBLE: ReadonlySet<number> = new Set([2, 5, 6, 12, 15])
const TYPE_SOA = 6
const TYPE_MX = 15
const KNOWN: ReadonlySet<string> = new Set(['A', 'AAAA', 'CNAME', 'NS', 'PTR', 'SOA', 'SRV', 'TXT'])

/** A query as a stub resolver sends it. */
export function dnsQuery(id: number, name: string, type: string, ednsBytes?: number): DnsMessage {
  return {
    ...{ id, isResponse: false, opcode: 'QUERY', isAuthoritative: false, isTruncated: false },
    ...{ recursionDesired: true, recursionAvailable: false, rcode: 'NOERROR' },
    ...{ questions: [{ name, type }], answers: [], authorities: [], additionals: [] },
    ...(ednsBytes !== undefined && { ednsBytes }),
  }
}

/** Reads a message; null for what is none. */
export function parseDns(bytes: Uint8Array): DnsMessage | null {
  if (bytes.length < HEADER_BYTES) return null
  let p: packet.DecodedPacket
  try {
    p = packet.decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  } catch {
    // dns-packet throws for names and records that run out of the message.
    return null
  }
  // a record whose length runs out of the message is decoded from what is there
  if ((packet.decode as unknown as { bytes: number }).bytes > bytes.length) return null
  const flags = viewOf(bytes).getUint16(2)
  const opt = (p.additionals ?? []).find((r) => r.type === 'OPT')
  return {
    id: p.id ?? 0,
    isResponse: p.type === 'response',
    opcode: String((p as { opcode?: unknown }).opcode ?? 'QUERY'),
    isAuthoritative: (flags & packet.AUTHORITATIVE_ANSWER) !== 0,
    isTruncated: (flags & packet.TRUNCATED_RESPONSE) !== 0,
    recursionDesired: (flags & packet.RECURSION_DESIRED) !== 0,
    recursionAvailable: (flags & packet.RECURSION_AVAILABLE) !== 0,
    rcode: RCODES[flags & 15] ?? `RCODE${flags & 15}`,
    questions: (p.questions ?? []).map((q) => ({ name: q.name, type: q.type })),
    answers: records(p.answers),
    authorities: records(p.authorities),
    additionals: records(p.additionals),
    ...(opt !== undefined && { ednsBytes: (opt as { udpPayloadSize?: number }).udpPayloadSize ?? DNS_UDP_BYTES }),
  }
}

/** Writes a message. */
export function emitDns(m: DnsMessage, compress = false): Uint8Array {
  const rcode = Math.max(0, RCODES.indexOf(m.rcode))
  const flags =
    (m.isAuthoritative ? packet.AUTHORITATIVE_ANSWER : 0) |
    (m.isTruncated ? packet.TRUNCATED_RESPONSE : 0) |
    (m.recursionDesired ? packet.RECURSION_DESIRED : 0) |
    (m.recursionAvailable ? packet.RECURSION_AVAILABLE : 0) |
    rcode
  const opt: packet.Answer[] =
    m.ednsBytes === undefined
      ? []
      : [
          {
            ...{ type: 'OPT' as const, name: '.', udpPayloadSize: m.ednsBytes, extendedRcode: 0, ednsVersion: 0 },
            ...{ flags: 0, flag_do: false, options: [] },
          },
        ]
  const bytes = packet.encode({
    id: m.id,
    type: m.isResponse ? 'response' : 'query',
    flags,
    questions: m.questions.map((q) => ({ name: q.name, type: typeOf(q.type), class: 'IN' })),
    answers: m.answers.map(answerOf),
    authorities: m.authorities.map(answerOf),
    additionals: [...m.additionals.map(answerOf), ...opt],
  })
  const plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return compress ? compressNames(plain) : plain.slice()
}

/** The text of a record's data as dig and nslookup print it; names end in a dot. */
export function dnsDataText(r: DnsRecord): string {
  switch (r.type) {
    case 'A':
    case 'AAAA':
      return r.data
    case 'SOA': {
      const { mname, rname, serial, refresh, retry, expire, minimum } = r.data
      return `${fqdn(mname)} ${fqdn(rname)} ${serial} ${refresh} ${retry} ${expire} ${minimum}`
    }
    case 'SRV':
      return `${r.data.priority} ${r.data.weight} ${r.data.port} ${fqdn(r.data.target)}`
    case 'TXT':
      return r.data.map((t) => `"${t}"`).join(' ')
    default:
      return fqdn(r.data)
  }
}

/** A name with its trailing dot. */
export function fqdn(name: string): string {
  return name.endsWith('.') ? name : `${name}.`
}

function records(list: readonly packet.Answer[] | undefined): DnsRecord[] {
  return (list ?? []).flatMap((r) => {
    if (!KNOWN.has(r.type)) return []
    const { name, ttl } = r as { name: string; ttl?: number }
    const { data } = r as { data?: unknown }
    if (r.type === 'TXT') {
      const parts = Array.isArray(data) ? data : [data]
      return [{ name, ttl: ttl ?? 0, type: 'TXT', data: parts.map(String) }]
    }
    return [{ name, ttl: ttl ?? 0, type: r.type, data } as DnsRecord]
  })
}

function answerOf(r: DnsRecord): packet.Answer {
  // dns-packet replaces the texts of TXT in the list that it is given
  const data = r.type === 'TXT' ? [...r.data] : r.data
  return { ...r, data, class: 'IN' } as unknown as packet.Answer
}

/** Types without a name of their own travel by number: dns-packet knows them as UNKNOWN_n. */
function typeOf(type: string): packet.RecordType {
  return type as packet.RecordType
}

/** Rewrites a message without compression into one with it, names in the order of the message. */
function compressNames(plain: Uint8Array): Uint8Array {
  const view = viewOf(plain)
  const out = new Uint8Array(plain.length)
  const outView = viewOf(out)
  const known = new Map<string, number>()
  out.set(plain.subarray(0, HEADER_BYTES))
  let from = HEADER_BYTES
  let to = HEADER_BYTES
  const name = (): void => {
    const labels: Uint8Array[] = []
    for (let n = plain[from++]!; n !== 0; n = plain[from++]!) {
      labels.push(plain.subarray(from, from + n))
      from += n
    }
    for (let i = 0; i < labels.length; i++) {
      const key = Buffer.concat(labels.slice(i).map((l) => Buffer.concat([l, Buffer.of(0)]))).toString('latin1')
      const at = known.get(key)
      if (at !== undefined) {
        outView.setUint16(to, 0xc000 | at)
        to += 2
        return
      }
      if (to <= MAX_POINTER) known.set(key, to)
      out[to++] = labels[i]!.length
      out.set(labels[i]!, to)
      to += labels[i]!.length
    }
    out[to++] = 0
  }
  const copy = (n: number): void => {
    out.set(plain.subarray(from, from + n), to)
    from += n
    to += n
  }
  const questions = view.getUint16(4)
  const all = view.getUint16(6) + view.getUint16(8) + view.getUint16(10)
  for (let i = 0; i < questions; i++) {
    name()
    copy(4)
  }
  for (let i = 0; i < all; i++) {
    name()
    const type = view.getUint16(from)
    const bytes = view.getUint16(from + 8)
    const end = from + 10 + bytes
    const lengthAt = to + 8
    copy(10)
    if (COMPRESSIBLE.has(type)) {
      if (type === TYPE_MX) copy(2)
      name()
      if (type === TYPE_SOA) name()
    }
    copy(end - from)
    outView.setUint16(lengthAt, to - lengthAt - 2)
  }
  return out.slice(0, to)
}
