/**
 * The command line of curl 7.88, as far as it is modelled.
 */
import { unmodelled } from '../linux/tools/result.ts'

/** What was asked. */
export interface CurlOptions {
  urls: string[]
  method: string
  headers: string[]
  data: string | null
  isVerbose: boolean
  isInsecure: boolean
  hasHeaders: boolean
  isHead: boolean
  isFailing: boolean
  isFollowing: boolean
  isSilent: boolean
  showsError: boolean
  /** `host:port` to address, of --resolve. */
  readonly resolve: Map<string, string>
  connectTimeoutS: number
  maxTimeS: number
  output: string | null
  writeOut: string
  agent: string
}

const DEFAULT_CONNECT_S = 300
const DEFAULT_MAX_S = 3600
const LONG: { readonly [name: string]: string } = {
  '--request': '-X',
  '--header': '-H',
  '--data': '-d',
  '--verbose': '-v',
  '--insecure': '-k',
  '--include': '-i',
  '--head': '-I',
  '--fail': '-f',
  '--location': '-L',
  '--silent': '-s',
  '--show-error': '-S',
  '--max-time': '-m',
  '--output': '-o',
  '--write-out': '-w',
  '--user-agent': '-A',
  '--ipv4': '-4',
  '--no-progress-meter': '-s',
}
const TAKES_VALUE = 'XHdmowA'

/** Reads the arguments. */
export function readCurlOptions(argv: readonly string[]): CurlOptions {
  const o: CurlOptions = {
    ...{ urls: [], method: '', headers: [], data: null, isVerbose: false, isInsecure: false, hasHeaders: false },
    ...{ isHead: false, isFailing: false, isFollowing: false, isSilent: false, showsError: false },
    ...{ resolve: new Map(), connectTimeoutS: DEFAULT_CONNECT_S, maxTimeS: DEFAULT_MAX_S },
    ...{ output: null, writeOut: '', agent: 'curl/7.88.1' },
  }
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!
    const value = (): string => argv[++i] ?? ''
    if (word === '--resolve') addResolve(o, value())
    else if (word === '--connect-timeout') o.connectTimeoutS = Number(value())
    else if (word === '--url') o.urls.push(value())
    else if (word === '--http1.1') continue
    else if (word.startsWith('--')) {
      const short = LONG[word] ?? unmodelled(`curl ${word}`)
      apply(o, short[1]!, TAKES_VALUE.includes(short[1]!) ? value() : '')
    } else if (word.startsWith('-') && word.length > 1) {
      for (let c = 1; c < word.length; c++) {
        const letter = word[c]!
        if (!TAKES_VALUE.includes(letter)) {
          apply(o, letter, '')
          continue
        }
        apply(o, letter, c + 1 < word.length ? word.slice(c + 1) : value())
        break
      }
    } else o.urls.push(word)
  }
  return o
}

function addResolve(o: CurlOptions, text: string): void {
  const m = /^\+?([^:]+):(\d+):(.+)$/.exec(text)
  if (m === null) unmodelled(`curl --resolve ${text}`)
  o.resolve.set(`${m[1]!.toLowerCase()}:${m[2]}`, m[3]!.split(',')[0]!)
}

function apply(o: CurlOptions, letter: string, value: string): void {
  switch (letter) {
    case 'X':
      o.method = value
      return
    case 'H':
      o.headers.push(value)
      return
    case 'd':
      o.data = o.data === null ? value : `${o.data}&${value}`
      return
    case 'v':
      o.isVerbose = true
      return
    case 'k':
      o.isInsecure = true
      return
    case 'i':
      o.hasHeaders = true
      return
    case 'I':
      o.isHead = true
      return
    case 'f':
      o.isFailing = true
      return
    case 'L':
      o.isFollowing = true
      return
    case 's':
      o.isSilent = true
      return
    case 'S':
      o.showsError = true
      return
    case 'm':
      o.maxTimeS = Number(value)
      return
    case 'o':
      o.output = value
      return
    case 'w':
      o.writeOut = value
      return
    case 'A':
      o.agent = value
      return
    case '4':
      return
    default:
      unmodelled(`curl -${letter}`)
  }
}
