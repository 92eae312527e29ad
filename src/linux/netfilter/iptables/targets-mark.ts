/**
 * The targets MARK, CONNMARK, CT, NOTRACK, TOS, DSCP, TTL, TCPMSS, CHECKSUM, CLASSIFY.
 *
 * iptables: extensions/libxt_{MARK,CONNMARK,CT,NOTRACK,TOS,DSCP,TCPMSS,CHECKSUM,CLASSIFY}.c, libipt_TTL.c. Kernel:
 * net/netfilter/xt_{mark,connmark,CT,DSCP,HL,TCPMSS,CHECKSUM,CLASSIFY}.c. Of CT only --notrack is evaluated.
 */
import {
  TARGET_CLASSIFY,
  TARGET_CONNMARK,
  TARGET_CONTINUE,
  TARGET_DSCP,
  TARGET_MARK,
  TARGET_NOTRACK,
  TARGET_TCPMSS,
  TARGET_TOS,
  TARGET_TTL,
} from './kinds.ts'
import { dscpClass, parseTos } from './match-packet.ts'
import { IptTextError, type XtOption, type XtTarget } from './types.ts'
import { hex, hex2, markMask, strtoui, uint } from './values.ts'

function oneWord(ext: string, option: string, text: string): number {
  const v = strtoui(text)
  if (v === null)
    throw new IptTextError(`${ext}: bad value for option "--${option}", or out of range (0-4294967295).\n`)
  return v | 0
}

interface MarkTargetData {
  mark: number
  mask: number
}

/** The five ways to say a mark change, shared by MARK and CONNMARK; `set` stores value and mask. */
function markOptions<D>(ext: string, store: (d: D, mark: number, mask: number) => void): XtOption<D>[] {
  return [
    {
      name: 'set-xmark',
      arg: true,
      set(d, v) {
        const [mark, mask] = markMask(ext, 'set-xmark', v)
        store(d, mark, mask)
      },
    },
    {
      name: 'set-mark',
      arg: true,
      set(d, v) {
        const [mark, mask] = markMask(ext, 'set-mark', v)
        store(d, mark, mask | mark)
      },
    },
    { name: 'and-mark', arg: true, set: (d, v) => store(d, 0, ~oneWord(ext, 'and-mark', v)) },
    {
      name: 'or-mark',
      arg: true,
      set(d, v) {
        const bits = oneWord(ext, 'or-mark', v)
        store(d, bits, bits)
      },
    },
    { name: 'xor-mark', arg: true, set: (d, v) => store(d, oneWord(ext, 'xor-mark', v), 0) },
  ]
}

function markList(label: string, mark: number, mask: number): string {
  if (mark === 0) return ` ${label} and ${hex(~mask)}`
  if (mark === mask) return ` ${label} or ${hex(mark)}`
  if (mask === 0) return ` ${label} xor ${hex(mark)}`
  if (mask === -1) return ` ${label} set ${hex(mark)}`
  return ` ${label} xset ${hex(mark)}/${hex(mask)}`
}

/** `-j MARK` */
export const markTarget: XtTarget<MarkTargetData> = {
  name: 'MARK',
  options: markOptions<MarkTargetData>('MARK', (d, mark, mask) => {
    d.mark = mark
    d.mask = mask
  }),
  init: () => ({ mark: 0, mask: 0 }),
  check(_d, seen) {
    if (seen.size === 0) {
      throw new IptTextError('MARK: One of the --set-xmark, --{and,or,xor,set}-mark options is required')
    }
  },
  save: (d) => ` --set-xmark ${hex(d.mark)}/${hex(d.mask)}`,
  list: (d) => markList('MARK', d.mark, d.mask),
  compile(d, c) {
    c.emit(TARGET_MARK, d.mark, d.mask)
  },
}

interface ConnmarkData {
  /** 0 set, 1 save, 2 restore */
  mode: number
  ctmark: number
  ctmask: number
  nfmask: number
  shiftRight: boolean
  shiftBits: number
}

/** `-j CONNMARK` */
export const connmarkTarget: XtTarget<ConnmarkData> = {
  name: 'CONNMARK',
  options: [
    ...markOptions<ConnmarkData>('CONNMARK', (d, mark, mask) => {
      d.ctmark = mark
      d.ctmask = mask
    }),
    ...['save-mark', 'restore-mark'].map((name, i) => ({
      name,
      set: (d: ConnmarkData) => void (d.mode = i + 1),
    })),
    {
      name: 'left-shift-mark',
      arg: true,
      set: (d, v) => void (d.shiftBits = uint('CONNMARK', 'left-shift-mark', v, 31)),
    },
    {
      name: 'right-shift-mark',
      arg: true,
      set(d, v) {
        d.shiftRight = true
        d.shiftBits = uint('CONNMARK', 'right-shift-mark', v, 31)
      },
    },
    { name: 'ctmask', arg: true, set: (d, v) => void (d.ctmask = oneWord('CONNMARK', 'ctmask', v)) },
    { name: 'nfmask', arg: true, set: (d, v) => void (d.nfmask = oneWord('CONNMARK', 'nfmask', v)) },
    {
      name: 'mask',
      arg: true,
      set(d, v) {
        d.ctmask = d.nfmask = oneWord('CONNMARK', 'mask', v)
      },
    },
  ],
  init: () => ({ mode: 0, ctmark: 0, ctmask: -1, nfmask: -1, shiftRight: false, shiftBits: 0 }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('CONNMARK target: No operation specified')
  },
  save(d) {
    const shift = d.shiftBits === 0 ? '' : ` --${d.shiftRight ? 'right' : 'left'}-shift-mark ${d.shiftBits}`
    if (d.mode === 0) return ` --set-xmark ${hex(d.ctmark)}/${hex(d.ctmask)}${shift}`
    return ` --${d.mode === 1 ? 'save' : 'restore'}-mark --nfmask ${hex(d.nfmask)} --ctmask ${hex(d.ctmask)}${shift}`
  },
  list(d) {
    const shift = d.shiftBits === 0 ? '' : ` ${d.shiftRight ? 'right' : 'left'}-shift-mark ${d.shiftBits}`
    if (d.mode === 0) return markList('CONNMARK', d.ctmark, d.ctmask) + shift
    const word = d.mode === 1 ? 'save' : 'restore'
    if (d.nfmask === -1 && d.ctmask === -1) return ` CONNMARK ${word}${shift}`
    if (d.nfmask === d.ctmask) return ` CONNMARK ${word} mask ${hex(d.nfmask)}${shift}`
    return d.mode === 1
      ? ` CONNMARK save nfmask ${hex(d.nfmask)} ctmask ~${hex(d.ctmask)}${shift}`
      : ` CONNMARK restore ctmask ${hex(d.ctmask)} nfmask ~${hex(d.nfmask)}${shift}`
  },
  compile(d, c) {
    c.emit(TARGET_CONNMARK, d.mode, d.ctmark, d.ctmask, d.nfmask, d.shiftRight ? 1 : 0, d.shiftBits)
  },
}

interface CtData {
  notrack: boolean
  zone: string
  helper: string
  events: string
  timeout: string
}

/** `-j CT` */
export const ctTarget: XtTarget<CtData> = {
  name: 'CT',
  tables: ['raw'],
  options: [
    { name: 'notrack', set: (d) => void (d.notrack = true) },
    ...['zone', 'zone-orig', 'zone-reply'].map((name) => ({
      name,
      arg: true,
      set(d: CtData, v: string) {
        d.zone = `${name} ${v === 'mark' ? v : uint('CT', name, v, 65535)}`
      },
    })),
    { name: 'helper', arg: true, set: (d, v) => void (d.helper = v) },
    { name: 'ctevents', arg: true, set: (d, v) => void (d.events = v) },
    { name: 'timeout', arg: true, set: (d, v) => void (d.timeout = v) },
  ],
  init: () => ({ notrack: false, zone: '', helper: '', events: '', timeout: '' }),
  save(d) {
    if (d.notrack) return ' --notrack'
    let out = d.helper === '' ? '' : ` --helper ${d.helper}`
    if (d.timeout !== '') out += ` --timeout ${d.timeout}`
    if (d.events !== '') out += ` --ctevents ${d.events}`
    return d.zone === '' ? out : `${out} --${d.zone}`
  },
  list(d) {
    if (d.notrack) return ' CT notrack'
    let out = ' CT'
    if (d.helper !== '') out += ` helper ${d.helper}`
    if (d.timeout !== '') out += ` timeout ${d.timeout}`
    if (d.events !== '') out += ` ctevents ${d.events}`
    return d.zone === '' ? out : `${out} ${d.zone}`
  },
  compile(_d, c) {
    c.emit(TARGET_NOTRACK)
  },
  unmodelled: (d) => (d.notrack ? null : 'target CT without --notrack'),
}

/** `-j NOTRACK`: CT --notrack in the kernel, saved under its own name, listed as target CT. */
export const notrackTarget: XtTarget<CtData> = {
  ...ctTarget,
  name: 'NOTRACK',
  options: [],
  init: () => ({ notrack: true, zone: '', helper: '', events: '', timeout: '' }),
  save: () => '',
  list: () => ' NOTRACK',
  printName: () => 'CT',
}

/** `-j TOS` */
export const tosTarget: XtTarget<{ value: number; mask: number }> = {
  name: 'TOS',
  tables: ['mangle'],
  options: [
    {
      name: 'set-tos',
      arg: true,
      set(d, v) {
        ;[d.value, d.mask] = parseTos('TOS', 'set-tos', v, 0xff)
      },
    },
    {
      name: 'and-tos',
      arg: true,
      set(d, v) {
        d.value = 0
        d.mask = ~uint('TOS', 'and-tos', v, 255) & 0xff
      },
    },
    {
      name: 'or-tos',
      arg: true,
      set(d, v) {
        d.value = d.mask = uint('TOS', 'or-tos', v, 255)
      },
    },
    {
      name: 'xor-tos',
      arg: true,
      set(d, v) {
        d.value = uint('TOS', 'xor-tos', v, 255)
        d.mask = 0
      },
    },
  ],
  init: () => ({ value: 0, mask: 0 }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('TOS: An action is required')
  },
  save: (d) => ` --set-tos ${hex2(d.value)}/${hex2(d.mask)}`,
  list: (d) => ` TOS set ${hex2(d.value)}/${hex2(d.mask)}`,
  compile(d, c) {
    c.emit(TARGET_TOS, d.value, d.mask)
  },
}

/** `-j DSCP` */
export const dscpTarget: XtTarget<{ dscp: number }> = {
  name: 'DSCP',
  tables: ['mangle'],
  options: [
    { name: 'set-dscp', arg: true, set: (d, v) => void (d.dscp = uint('DSCP', 'set-dscp', v, 63)) },
    { name: 'set-dscp-class', arg: true, set: (d, v) => void (d.dscp = dscpClass(v)) },
  ],
  init: () => ({ dscp: 0 }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('DSCP target: Parameter --set-dscp is required')
  },
  save: (d) => ` --set-dscp ${hex2(d.dscp)}`,
  list: (d) => ` DSCP set ${hex2(d.dscp)}`,
  compile(d, c) {
    c.emit(TARGET_DSCP, d.dscp)
  },
}

const TTL_NAMES = ['set', 'inc', 'dec']

/** `-j TTL` */
export const ttlTarget: XtTarget<{ mode: number; ttl: number }> = {
  name: 'TTL',
  tables: ['mangle'],
  options: TTL_NAMES.map((name, mode) => ({
    name: `ttl-${name}`,
    arg: true,
    set(d: { mode: number; ttl: number }, v: string) {
      d.mode = mode
      d.ttl = uint('TTL', `ttl-${name}`, v, 255, mode === 0 ? 0 : 1)
    },
  })),
  init: () => ({ mode: 0, ttl: 0 }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('TTL: You must specify an action')
  },
  save: (d) => ` --ttl-${TTL_NAMES[d.mode]} ${d.ttl}`,
  list: (d) => (d.mode === 0 ? ` TTL set to ${d.ttl}` : ` TTL ${d.mode === 1 ? 'increment' : 'decrement'} by ${d.ttl}`),
  compile(d, c) {
    c.emit(TARGET_TTL, d.mode, d.ttl)
  },
}

/** `-j TCPMSS` */
export const tcpmssTarget: XtTarget<{ mss: number }> = {
  name: 'TCPMSS',
  needsProto: [6],
  options: [
    { name: 'set-mss', arg: true, set: (d, v) => void (d.mss = uint('TCPMSS', 'set-mss', v, 65495)) },
    { name: 'clamp-mss-to-pmtu', set: (d) => void (d.mss = 0xffff) },
  ],
  init: () => ({ mss: 0 }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('TCPMSS target: At least one parameter is required')
  },
  refuse(_d, rule) {
    const syn = rule.matches.some((m) => {
      if (m.ext.name !== 'tcp') return false
      const tcp = m.data as { inv: number; flagComp: number }
      return (tcp.flagComp & 2) !== 0 && (tcp.inv & 4) === 0
    })
    return syn ? null : 'TCPMSS: only works on TCP SYN packets'
  },
  save: (d) => (d.mss === 0xffff ? ' --clamp-mss-to-pmtu' : ` --set-mss ${d.mss}`),
  list: (d) => (d.mss === 0xffff ? ' TCPMSS clamp to PMTU' : ` TCPMSS set ${d.mss}`),
  compile(d, c) {
    c.emit(TARGET_TCPMSS, d.mss)
  },
}

/** `-j CHECKSUM`: nothing to do where all checksums are complete. */
export const checksumTarget: XtTarget<object> = {
  name: 'CHECKSUM',
  tables: ['mangle'],
  options: [{ name: 'checksum-fill', set() {} }],
  init: () => ({}),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('CHECKSUM target: Parameter --checksum-fill is required')
  },
  save: () => ' --checksum-fill',
  list: () => ' CHECKSUM fill',
  compile(_d, c) {
    c.emit(TARGET_CONTINUE)
  },
}

/** `-j CLASSIFY` */
export const classifyTarget: XtTarget<{ priority: number }> = {
  name: 'CLASSIFY',
  hooks: (1 << 2) | (1 << 3) | (1 << 4),
  options: [
    {
      name: 'set-class',
      arg: true,
      set(d, v) {
        const m = /^([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(v)
        if (m === null) throw new IptTextError(`Bad class value \`${v}'`)
        d.priority = (Number.parseInt(m[1]!, 16) << 16) | Number.parseInt(m[2]!, 16)
      },
    },
  ],
  init: () => ({ priority: 0 }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('CLASSIFY: option "--set-class" must be specified')
  },
  save: (d) =>
    ` --set-class ${(d.priority >>> 16).toString(16).padStart(4, '0')}:${(d.priority & 0xffff).toString(16).padStart(4, '0')}`,
  list: (d) => ` CLASSIFY set ${(d.priority >>> 16).toString(16)}:${(d.priority & 0xffff).toString(16)}`,
  compile(d, c) {
    c.emit(TARGET_CLASSIFY, d.priority)
  },
}
