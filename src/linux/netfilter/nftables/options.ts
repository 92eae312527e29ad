/**
 * TCP options, IPv4 options and IPv6 extension headers as nft names them.
 *
 * nft: src/tcpopt.c, src/ipopt.c, src/exthdr.c (1.0.6). Offsets are bits from the start of the option or header.
 */
import * as D from './datatypes.ts'

export interface OptionField {
  readonly offset: number
  readonly len: number
  readonly type?: D.DataType
}

export interface OptionDesc {
  readonly number: number
  readonly aliases?: readonly string[]
  readonly fields: Readonly<Record<string, OptionField>>
}

const f = (offset: number, len: number, type?: D.DataType): OptionField => ({
  offset,
  len,
  ...(type === undefined ? {} : { type }),
})
const KIND = { kind: f(0, 8), length: f(8, 8) }

/** tcp option NAME FIELD */
export const TCP_OPTIONS: Readonly<Record<string, OptionDesc>> = {
  eol: { number: 0, fields: { kind: f(0, 8) } },
  nop: { number: 1, aliases: ['noop'], fields: { kind: f(0, 8) } },
  maxseg: { number: 2, aliases: ['mss'], fields: { ...KIND, size: f(16, 16) } },
  window: { number: 3, fields: { ...KIND, count: f(16, 8) } },
  'sack-perm': { number: 4, aliases: ['sack-permitted'], fields: KIND },
  sack: { number: 5, aliases: ['sack0'], fields: { ...KIND, left: f(16, 32), right: f(48, 32) } },
  timestamp: { number: 8, fields: { ...KIND, tsval: f(16, 32), tsecr: f(48, 32) } },
  md5sig: { number: 19, fields: KIND },
  mptcp: { number: 30, fields: { ...KIND, subtype: f(16, 4) } },
  fastopen: { number: 34, fields: KIND },
}

/** ip option NAME FIELD */
export const IP_OPTIONS: Readonly<Record<string, OptionDesc>> = {
  lsrr: { number: 131, fields: { type: f(0, 8), length: f(8, 8), ptr: f(16, 8), addr: f(24, 32, D.T_IPV4) } },
  ra: { number: 148, fields: { type: f(0, 8), length: f(8, 8), value: f(16, 16) } },
  rr: { number: 7, fields: { type: f(0, 8), length: f(8, 8), ptr: f(16, 8), addr: f(24, 32, D.T_IPV4) } },
  ssrr: { number: 137, fields: { type: f(0, 8), length: f(8, 8), ptr: f(16, 8), addr: f(24, 32, D.T_IPV4) } },
}

const NEXT = { nexthdr: f(0, 8, D.T_INET_PROTO) }

/** IPv6 extension headers. */
export const EXTHDRS: Readonly<Record<string, OptionDesc>> = {
  hbh: { number: 0, fields: { ...NEXT, hdrlength: f(8, 8) } },
  rt: { number: 43, fields: { ...NEXT, hdrlength: f(8, 8), type: f(16, 8), 'seg-left': f(24, 8) } },
  frag: {
    number: 44,
    fields: {
      ...NEXT,
      reserved: f(8, 8),
      'frag-off': f(16, 13),
      reserved2: f(29, 2),
      'more-fragments': f(31, 1),
      id: f(32, 32),
    },
  },
  dst: { number: 60, fields: { ...NEXT, hdrlength: f(8, 8) } },
  mh: {
    number: 135,
    fields: { ...NEXT, hdrlength: f(8, 8), type: f(16, 8, D.T_MH_TYPE), reserved: f(24, 8), checksum: f(32, 16) },
  },
}
