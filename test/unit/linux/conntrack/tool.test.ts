/** conntrack(8): lines, filters, deletion, exit codes; expected text as conntrack-tools 1.4.7 printed it. */
import { describe, expect, it } from '@jest/globals'
import { conntrackTool } from '../../../../src/linux/netfilter/conntrack/tool.ts'
import { NatRange, NF_NAT_RANGE_MAP_IPS } from '../../../../src/linux/netfilter/nat/range.ts'
import { icmp, ip, Router, tcp, udp } from './support.ts'

const A = '10.0.0.1'
const B = '10.0.0.2'
const SHOWN = (n: number, verb = 'shown'): string =>
  `conntrack v1.4.7 (conntrack-tools): ${n} flow entries have been ${verb}.\n`
const UDP =
  'udp      17 30 src=10.0.0.1 dst=10.0.0.2 sport=43945 dport=54 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 sport=54 dport=43945 mark=0 use=1\n'
const ICMP =
  'icmp     1 30 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=28469 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=28469 mark=0 use=1\n'
const TCP =
  'tcp      6 120 SYN_SENT src=10.0.0.1 dst=10.0.0.9 sport=5 dport=80 [UNREPLIED] src=10.0.0.9 dst=10.0.0.77 sport=80 dport=5 mark=7 use=1\n'

function router(): Router {
  const r = new Router()
  r.forward(udp(A, 43945, B, 54))
  r.forward(icmp(A, B, 8, 28469))
  r.forward(icmp(B, A, 0, 28469))
  const snat = new NatRange()
  snat.flags = NF_NAT_RANGE_MAP_IPS
  snat.minIp = ip('10.0.0.77')
  snat.maxIp = snat.minIp
  r.ct.setMark(r.forward(tcp(A, 5, '10.0.0.9', 80, { flags: 'S', seq: 1 }), { snat }).id, 7)
  return r
}

describe('conntrack -L', () => {
  const rows: readonly (readonly [string, string])[] = [
    ['-L', UDP + ICMP + TCP],
    ['-L conntrack', UDP + ICMP + TCP],
    ['-L -p udp', UDP],
    ['-L -p 1', ICMP],
    ['-L -p udp --dport 54', UDP],
    ['-L -p udp --orig-port-src 1', ''],
    ['-L -p tcp --state SYN_SENT', TCP],
    ['-L -p tcp --state ESTABLISHED', ''],
    ['-L -s 10.0.0.1', UDP + ICMP + TCP],
    ['-L --orig-dst 10.0.0.9', TCP],
    ['-L -d 10.0.0.0/29', UDP + ICMP],
    ['-L -q 10.0.0.77', TCP],
    ['-L -r 10.0.0.2', UDP + ICMP],
    ['-L -u UNREPLIED', UDP + TCP],
    ['-L -u ASSURED', ''],
    ['-L -m 7', TCP],
    ['-L -m 3/3', TCP],
    ['-L -p icmp --icmp-type 8', ICMP],
    // the real tool compares an ICMP entry's id with its type here, and so shows it
    ['-L -n', ICMP + TCP],
    ['-L -g', ICMP],
    ['-L -n 10.0.0.77', TCP],
    ['-L -j 10.0.0.77', TCP],
    ['-L -g 10.0.0.77', ''],
    ['-L -p tcp -o extended', `ipv4     2 ${TCP}`],
  ]
  for (const [argv, want] of rows) {
    it(`prints the entries of: conntrack ${argv}`, () => {
      const got = conntrackTool(router().ns, argv.split(' '))
      expect(got).toEqual({ status: 0, stdout: want, stderr: SHOWN(want === '' ? 0 : want.split('\n').length - 1) })
    })
  }

  it('appends the id with -o id', () => {
    expect(conntrackTool(router().ns, ['-L', '-p', 'udp', '-o', 'id']).stdout).toMatch(/ use=1 id=\d+\n$/)
  })

  it('shows nothing where nothing tracks', () => {
    const r = new Router()
    expect(conntrackTool(r.w.addNetns('idle'), ['-L'])).toEqual({ status: 0, stdout: '', stderr: SHOWN(0) })
  })

  const bad: readonly (readonly [string, string])[] = [
    ['-L --dport 53', "unknown option `--dport'"],
    ['-L --state NEW', "unknown option `--state'"],
    ['-L -p bogus', "`bogus' unsupported protocol"],
    ['-L -C', 'Invalid commands combination'],
    ['-L --bogus', "unknown option `--bogus'"],
  ]
  for (const [argv, message] of bad) {
    it(`refuses: conntrack ${argv}`, () => {
      expect(conntrackTool(router().ns, argv.split(' '))).toEqual({
        status: 2,
        stdout: '',
        stderr: `conntrack v1.4.7 (conntrack-tools): ${message}\nTry \`conntrack -h' or 'conntrack --help' for more information.\n`,
      })
    })
  }
})

describe('conntrack -D, -F, -C', () => {
  it('deletes what the filter names and prints it, exit 1 when nothing matched', () => {
    const r = router()
    const argv = ['-D', '-p', 'udp', '--dport', '54']
    expect(conntrackTool(r.ns, argv)).toEqual({ status: 0, stdout: UDP, stderr: SHOWN(1, 'deleted') })
    expect(conntrackTool(r.ns, argv)).toEqual({ status: 1, stdout: '', stderr: SHOWN(0, 'deleted') })
    expect(r.ct.count).toBe(2)
    expect(r.forward(udp(B, 54, A, 43945)).ctinfo).toBe(2)
  })

  it('empties the table', () => {
    const r = router()
    expect(conntrackTool(r.ns, ['-C']).stdout).toBe('3\n')
    expect(conntrackTool(r.ns, ['-F'])).toEqual({
      status: 0,
      stdout: '',
      stderr: 'conntrack v1.4.7 (conntrack-tools): connection tracking table has been emptied.\n',
    })
    expect(conntrackTool(r.ns, ['-C']).stdout).toBe('0\n')
  })
})
