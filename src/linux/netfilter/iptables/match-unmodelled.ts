/**
 * Matches whose text is understood and printed but that packets cannot be asked yet: hashlimit, owner, u32, bpf, cgroup,
 * nfacct, ecn. A packet that meets one ends UNMODELLED with its name; only ecn is evaluated.
 *
 * iptables: extensions/libxt_{hashlimit,owner,u32,bpf,cgroup,nfacct,ecn}.c.
 */
import { MATCH_ECN } from './kinds.ts'
import { formatRate, parseRate } from './match-kube.ts'
import { IptTextError, type ParseContext, type XtMatch } from './types.ts'
import { strtoui, uint } from './values.ts'

/** Seconds units of hashlimit: XT_HASHLIMIT_SCALE_v2. */
const HASHLIMIT_SCALE = 1000000

interface HashlimitData {
  /** Prefix length of one host. */
  readonly hostBits: number
  avg: number
  burst: number
  above: boolean
  mode: number
  name: string
  htableSize: number
  htableMax: number
  htableExpire: number
  htableGc: number
  srcmask: number
  dstmask: number
}

const HASHLIMIT_MODES = [
  [2, 'srcip'],
  [8, 'srcport'],
  [1, 'dstip'],
  [4, 'dstport'],
] as const

/** XTTYPE_PLEN */
function prefixOption(x: ParseContext, option: string, text: string): number {
  if (x.family === 4) return uint('hashlimit', option, text, 32)
  const n = strtoui(text, 128)
  if (n !== null) return n
  throw new IptTextError(
    `hashlimit: bad value for option "--${option}", neither a valid network mask nor valid CIDR (0-128).\n`,
  )
}

function hashRate(text: string): number {
  const period = parseRate(text, HASHLIMIT_SCALE)
  if (period === null) throw new IptTextError(`bad rate "${text}"`)
  return period
}

/** `-m hashlimit` (packet rates; byte rates are not parsed). */
export const hashlimitMatch: XtMatch<HashlimitData> = {
  name: 'hashlimit',
  options: [
    ...(['hashlimit-upto', 'hashlimit', 'hashlimit-above'] as const).map((name) => ({
      name,
      arg: true,
      invert: name !== 'hashlimit-above',
      set(d: HashlimitData, v: string, inverted: boolean) {
        if (/[km]?b\/s$/i.test(v)) throw new IptTextError(`hashlimit: byte rates are not modelled: "${v}"`)
        d.avg = hashRate(v)
        d.above = inverted !== (name === 'hashlimit-above')
      },
    })),
    {
      name: 'hashlimit-burst',
      arg: true,
      set: (d, v) => void (d.burst = uint('hashlimit', 'hashlimit-burst', v, 1000000, 1)),
    },
    {
      name: 'hashlimit-mode',
      arg: true,
      set(d, v) {
        d.mode = 0
        for (const word of v.split(',')) {
          const row = HASHLIMIT_MODES.find(([, name]) => name === word)
          if (row === undefined) throw new IptTextError(`hashlimit: bad value for option "--hashlimit-mode"`)
          d.mode |= row[0]
        }
      },
    },
    { name: 'hashlimit-name', arg: true, set: (d, v) => void (d.name = v) },
    {
      name: 'hashlimit-htable-size',
      arg: true,
      set: (d, v) => void (d.htableSize = uint('hashlimit', 'hashlimit-htable-size', v)),
    },
    {
      name: 'hashlimit-htable-max',
      arg: true,
      set: (d, v) => void (d.htableMax = uint('hashlimit', 'hashlimit-htable-max', v)),
    },
    {
      name: 'hashlimit-htable-expire',
      arg: true,
      set: (d, v) => void (d.htableExpire = uint('hashlimit', 'hashlimit-htable-expire', v)),
    },
    {
      name: 'hashlimit-htable-gcinterval',
      arg: true,
      set: (d, v) => void (d.htableGc = uint('hashlimit', 'hashlimit-htable-gcinterval', v)),
    },
    {
      name: 'hashlimit-srcmask',
      arg: true,
      set: (d, v, _i, x) => void (d.srcmask = prefixOption(x, 'hashlimit-srcmask', v)),
    },
    {
      name: 'hashlimit-dstmask',
      arg: true,
      set: (d, v, _i, x) => void (d.dstmask = prefixOption(x, 'hashlimit-dstmask', v)),
    },
  ],
  init: (family) => ({
    hostBits: family === 6 ? 128 : 32,
    avg: 0,
    burst: 5,
    above: false,
    mode: 0,
    name: '',
    htableSize: 0,
    htableMax: 0,
    htableExpire: 10000,
    htableGc: 0,
    srcmask: family === 6 ? 128 : 32,
    dstmask: family === 6 ? 128 : 32,
  }),
  check(d) {
    if (d.avg === 0)
      throw new IptTextError('hashlimit: you must specify one of "--hashlimit-upto" or "--hashlimit-above"')
    if (d.name === '') throw new IptTextError('hashlimit: option "--hashlimit-name" must be specified')
  },
  save(d) {
    let out = ` --hashlimit-${d.above ? 'above' : 'upto'} ${formatRate(d.avg, HASHLIMIT_SCALE)} --hashlimit-burst ${d.burst}`
    if (d.mode !== 0) out += ` --hashlimit-mode ${modeText(d.mode)}`
    out += ` --hashlimit-name ${d.name}`
    if (d.htableSize !== 0) out += ` --hashlimit-htable-size ${d.htableSize}`
    if (d.htableMax !== 0) out += ` --hashlimit-htable-max ${d.htableMax}`
    if (d.htableGc !== 0) out += ` --hashlimit-htable-gcinterval ${d.htableGc}`
    if (d.htableExpire !== 10000) out += ` --hashlimit-htable-expire ${d.htableExpire}`
    if (d.srcmask !== d.hostBits) out += ` --hashlimit-srcmask ${d.srcmask}`
    if (d.dstmask !== d.hostBits) out += ` --hashlimit-dstmask ${d.dstmask}`
    return out
  },
  list(d) {
    let out = ` limit: ${d.above ? 'above' : 'up to'} ${formatRate(d.avg, HASHLIMIT_SCALE)} burst ${d.burst}`
    if (d.mode !== 0) out += ` mode ${modeText(d.mode).replaceAll(',', '-')}`
    if (d.htableSize !== 0) out += ` htable-size ${d.htableSize}`
    if (d.htableMax !== 0) out += ` htable-max ${d.htableMax}`
    if (d.htableGc !== 0) out += ` htable-gcinterval ${d.htableGc}`
    if (d.htableExpire !== 10000) out += ` htable-expire ${d.htableExpire}`
    if (d.srcmask !== d.hostBits) out += ` srcmask ${d.srcmask}`
    if (d.dstmask !== d.hostBits) out += ` dstmask ${d.dstmask}`
    return out
  },
  unmodelled: () => 'match hashlimit',
}

function modeText(mode: number): string {
  return HASHLIMIT_MODES.filter(([bit]) => (mode & bit) !== 0)
    .map(([, name]) => name)
    .join(',')
}

interface OwnerData {
  uid: [number, number] | null
  gid: [number, number] | null
  socket: boolean
  suppl: boolean
  inv: number
}

function idRange(option: string, text: string): [number, number] {
  const names: Readonly<Record<string, number>> = { root: 0, nobody: 65534 }
  const named = names[text]
  if (named !== undefined) return [named, named]
  const dash = text.indexOf('-')
  const lo = strtoui(dash < 0 ? text : text.slice(0, dash))
  const hi = dash < 0 ? lo : strtoui(text.slice(dash + 1))
  if (lo === null || hi === null) throw new IptTextError(`owner: Bad value for "--${option}" option: "${text}"`)
  return [lo, hi]
}

/** `-m owner` */
export const ownerMatch: XtMatch<OwnerData> = {
  name: 'owner',
  hooks: (1 << 3) | (1 << 4),
  options: [
    {
      name: 'uid-owner',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.uid = idRange('uid-owner', v)
        if (inverted) d.inv |= 1
      },
    },
    {
      name: 'gid-owner',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.gid = idRange('gid-owner', v)
        if (inverted) d.inv |= 2
      },
    },
    {
      name: 'socket-exists',
      invert: true,
      set(d, _v, inverted) {
        d.socket = true
        if (inverted) d.inv |= 4
      },
    },
    { name: 'suppl-groups', set: (d) => void (d.suppl = true) },
  ],
  init: () => ({ uid: null, gid: null, socket: false, suppl: false, inv: 0 }),
  check(d) {
    if (d.uid === null && d.gid === null && !d.socket) {
      throw new IptTextError('owner: At least one of --uid-owner, --gid-owner or --socket-exists is required')
    }
  },
  save(d) {
    let out = d.socket ? `${(d.inv & 4) !== 0 ? ' !' : ''} --socket-exists` : ''
    const range = ([lo, hi]: [number, number]): string => (lo === hi ? `${lo}` : `${lo}-${hi}`)
    if (d.uid !== null) out += `${(d.inv & 1) !== 0 ? ' !' : ''} --uid-owner ${range(d.uid)}`
    if (d.gid !== null) out += `${(d.inv & 2) !== 0 ? ' !' : ''} --gid-owner ${range(d.gid)}`
    return d.suppl ? `${out} --suppl-groups` : out
  },
  list(d) {
    let out = d.socket ? `${(d.inv & 4) !== 0 ? ' !' : ''} owner socket exists` : ''
    const range = ([lo, hi]: [number, number]): string => (lo === hi ? `${lo}` : `${lo}-${hi}`)
    if (d.uid !== null) out += `${(d.inv & 1) !== 0 ? ' !' : ''} owner UID match ${range(d.uid)}`
    if (d.gid !== null) out += `${(d.inv & 2) !== 0 ? ' !' : ''} owner GID match ${range(d.gid)}`
    return d.suppl ? `${out} incl. suppl. groups` : out
  },
  unmodelled: () => 'match owner',
}

/** `-m u32`: the program is kept as text in the tool's own spelling. */
export const u32Match: XtMatch<{ program: string; inv: boolean }> = {
  name: 'u32',
  options: [
    {
      name: 'u32',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.program = u32Text(v)
        d.inv = inverted
      },
    },
  ],
  init: () => ({ program: '', inv: false }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('u32: option "--u32" must be specified')
  },
  save: (d) => `${d.inv ? ' !' : ''} --u32 "${d.program}"`,
  list: (d) => ` u32 ${d.inv ? '! ' : ''}"${d.program}"`,
  unmodelled: () => 'match u32',
}

/** u32_dump: numbers in hex, one spelling of operators. */
function u32Text(program: string): string {
  const words = program.replace(/\s+/g, '')
  const bad = (): never => {
    throw new IptTextError(`u32: at char 0: not a valid program "${program}"`)
  }
  const num = (t: string): string => {
    const v = strtoui(t)
    return v === null ? bad() : `0x${v.toString(16)}`
  }
  return words
    .split('&&')
    .map((test) => {
      const [left, right] = test.split('=')
      if (left === undefined || right === undefined) return bad()
      const location = left.replace(/0x[0-9a-f]+|\d+/gi, num)
      const ranges = right.split(',').map((r) => {
        const [lo, hi] = r.split(':')
        return hi === undefined ? num(lo!) : `${num(lo!)}:${num(hi)}`
      })
      return `${location}=${ranges.join(',')}`
    })
    .join('&&')
}

/** `-m bpf` with --bytecode or --object-pinned. */
export const bpfMatch: XtMatch<{ option: string; value: string }> = {
  name: 'bpf',
  options: ['bytecode', 'object-pinned'].map((name) => ({
    name,
    arg: true,
    set(d: { option: string; value: string }, v: string) {
      d.option = name
      d.value = v
    },
  })),
  init: () => ({ option: '', value: '' }),
  check(d) {
    if (d.option === '') throw new IptTextError('bpf: No bytecode or pinned path specified')
  },
  save: (d) => (d.option === 'bytecode' ? ` --bytecode "${d.value}"` : ` --object-pinned ${d.value}`),
  list: (d) =>
    d.option === 'bytecode' ? `match bpf ${d.value.slice(d.value.indexOf(',') + 1)} ` : `match bpf pinned ${d.value}`,
  unmodelled: () => 'match bpf',
}

/** `-m cgroup` */
export const cgroupMatch: XtMatch<{ path: string | null; id: number; inv: boolean }> = {
  name: 'cgroup',
  options: [
    {
      name: 'path',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.path = v
        d.inv = inverted
      },
    },
    {
      name: 'cgroup',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.id = uint('cgroup', 'cgroup', v)
        d.inv = inverted
      },
    },
  ],
  init: () => ({ path: null, id: 0, inv: false }),
  check(_d, seen) {
    if (seen.size === 0) throw new IptTextError('cgroup: either --path or --cgroup must be specified')
  },
  save: (d) => `${d.inv ? ' !' : ''} ${d.path === null ? `--cgroup ${d.id}` : `--path ${d.path}`}`,
  list: (d) => ` cgroup${d.inv ? ' !' : ''} ${d.path ?? d.id}`,
  unmodelled: () => 'match cgroup',
}

/** `-m nfacct` */
export const nfacctMatch: XtMatch<{ name: string }> = {
  name: 'nfacct',
  options: [{ name: 'nfacct-name', arg: true, set: (d, v) => void (d.name = v) }],
  init: () => ({ name: '' }),
  check(d) {
    if (d.name === '') throw new IptTextError('nfacct: option "--nfacct-name" must be specified')
  },
  save: (d) => ` --nfacct-name ${d.name}`,
  list: (d) => ` nfacct-name  ${d.name}`,
  unmodelled: () => 'match nfacct',
}

interface EcnData {
  ops: number
  inv: number
  ect: number
}

/** `-m ecn` */
export const ecnMatch: XtMatch<EcnData> = {
  name: 'ecn',
  options: [
    ...(
      [
        ['ecn-tcp-cwr', 2],
        ['ecn-tcp-ece', 1],
      ] as const
    ).map(([name, bit]) => ({
      name,
      invert: true,
      set(d: EcnData, _v: string, inverted: boolean) {
        d.ops |= bit
        if (inverted) d.inv |= bit
      },
    })),
    {
      name: 'ecn-ip-ect',
      arg: true,
      invert: true,
      set(d, v, inverted) {
        d.ect = uint('ecn', 'ecn-ip-ect', v, 3)
        d.ops |= 4
        if (inverted) d.inv |= 4
      },
    },
  ],
  init: () => ({ ops: 0, inv: 0, ect: 0 }),
  check(d) {
    if (d.ops === 0) throw new IptTextError('ECN match: some option required')
  },
  save(d) {
    let out = ''
    if ((d.ops & 1) !== 0) out += `${(d.inv & 1) !== 0 ? ' !' : ''} --ecn-tcp-ece`
    if ((d.ops & 2) !== 0) out += `${(d.inv & 2) !== 0 ? ' !' : ''} --ecn-tcp-cwr`
    if ((d.ops & 4) !== 0) out += `${(d.inv & 4) !== 0 ? ' !' : ''} --ecn-ip-ect ${d.ect}`
    return out
  },
  list(d) {
    let out = ' ECN match'
    if ((d.ops & 1) !== 0) out += ` ${(d.inv & 1) !== 0 ? '!' : ''}ECE`
    if ((d.ops & 2) !== 0) out += ` ${(d.inv & 2) !== 0 ? '!' : ''}CWR`
    if ((d.ops & 4) !== 0) out += ` ${(d.inv & 4) !== 0 ? '!' : ''}ECT=${d.ect}`
    return out
  },
  compile(d, c) {
    c.emit(MATCH_ECN, d.ops, d.inv, d.ect)
  },
}
