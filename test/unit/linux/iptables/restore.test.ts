/** Tables as a whole: flushing, --noflush, COMMIT as a unit, counters, argv commands. */
import { describe, expect, it } from '@jest/globals'
import { iptables, iptablesRestore, iptablesSave } from '../../../../src/linux/tools/iptables.ts'
import { pkt } from '../../../support/packet-builder.ts'
import { newNs, Walker } from './support.ts'

const MACS = { src: '02:00:00:00:00:01', dst: '02:00:00:00:00:02' }
const filter = (lines: string): string => `*filter\n${lines}\nCOMMIT\n`
const rulesOf = (text: string): string[] => text.split('\n').filter((l) => l.startsWith('-A') || l.startsWith('['))

describe('iptables-restore', () => {
  it('replaces the whole table, user chains included, and prints user chains by name', () => {
    const ns = newNs()
    iptablesRestore(ns, filter(':Z - [0:0]\n:A-B - [0:0]\n:A_B - [0:0]\n-A Z -j DROP'))
    iptablesRestore(ns, filter(':Ba - [0:0]\n:B_X - [0:0]\n:B-X - [0:0]\n-A FORWARD -j B-X'))
    expect(iptablesSave(ns)).toBe(
      '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:B-X - [0:0]\n:B_X - [0:0]\n:Ba - [0:0]\n-A FORWARD -j B-X\nCOMMIT\n',
    )
  })

  it('with --noflush keeps everything but the user chains that the text declares, which it empties', () => {
    const ns = newNs()
    iptablesRestore(ns, filter(':X - [0:0]\n:Y - [0:0]\n-A X -j DROP\n-A Y -j DROP\n-A FORWARD -j X'))
    const r = iptablesRestore(
      ns,
      filter(':X - [0:0]\n:FORWARD ACCEPT [0:0]\n-A X -s 1.1.1.1 -j ACCEPT\n-I FORWARD -j Y'),
      { noflush: true },
    )
    expect(r.errors).toEqual([])
    expect(rulesOf(iptablesSave(ns))).toEqual([
      '-A FORWARD -j Y',
      '-A FORWARD -j X',
      '-A X -s 1.1.1.1/32 -j ACCEPT',
      '-A Y -j DROP',
    ])
  })

  it('deletes a chain with -X only after its rules and its references are gone', () => {
    const ns = newNs()
    iptablesRestore(ns, filter(':X - [0:0]\n-A X -j DROP\n-A FORWARD -j X'))
    expect(iptablesRestore(ns, filter('-X X'), { noflush: true }).errors[0]!.message).toContain('line 2 failed')
    expect(iptablesRestore(ns, filter(':X - [0:0]\n-X X'), { noflush: true }).errors[0]!.message).toContain(
      'line 3 failed',
    )
    expect(iptablesRestore(ns, filter(':X - [0:0]\n-D FORWARD -j X\n-X X'), { noflush: true }).ok).toBe(true)
    expect(iptablesSave(ns)).not.toContain('X')
  })

  it('leaves a table alone when COMMIT is refused, and keeps the tables before it', () => {
    const ns = newNs()
    const r = iptablesRestore(
      ns,
      `*mangle\n-A FORWARD -j MARK --set-mark 1\nCOMMIT\n${filter('-A FORWARD -j DROP\n-A FORWARD -j DNAT --to-destination 1.1.1.1')}`,
    )
    expect(r.errors.map((e) => e.line)).toEqual([7])
    expect(rulesOf(iptablesSave(ns))).toEqual(['-A FORWARD -j MARK --set-xmark 0x1/0xffffffff'])
  })

  it('refuses chains that call each other in a circle', () => {
    const r = iptablesRestore(newNs(), filter(':A - [0:0]\n:B - [0:0]\n-A A -j B\n-A B -j A\n-A FORWARD -j A'))
    expect(r.errors[0]!.message).toContain('line 7 failed')
    expect(r.errors[0]!.message).toContain('loop')
  })

  it('takes and prints counters with -c only', () => {
    const ns = newNs()
    const text =
      '*filter\n:INPUT ACCEPT [1:2]\n:FORWARD DROP [3:4]\n:OUTPUT ACCEPT [0:0]\n[5:60] -A FORWARD -s 1.1.1.1/32 -j ACCEPT\nCOMMIT\n'
    iptablesRestore(ns, text, { counters: true })
    expect(iptablesSave(ns, { counters: true })).toBe(text)
    iptablesRestore(ns, text)
    expect(iptablesSave(ns, { counters: true })).toBe(
      text.replace('[1:2]', '[0:0]').replace('[3:4]', '[0:0]').replace('[5:60]', '[0:0]'),
    )
  })

  it('prints the table created last first', () => {
    const ns = newNs()
    iptablesRestore(ns, '*nat\nCOMMIT\n*filter\nCOMMIT\n*raw\nCOMMIT\n')
    expect(iptablesSave(ns).match(/^\*\w+/gm)).toEqual(['*raw', '*filter', '*nat'])
  })

  it('remembers for each rule where it came from', () => {
    const ns = newNs()
    iptablesRestore(ns, filter('-A FORWARD -j DROP'), { origin: (line) => `svc.yaml:${line}` })
    expect(ns.nf.tables.filter!.chains.get('FORWARD')!.rules[0]!.origin).toBe('svc.yaml:2')
  })

  it('needs a line end after COMMIT and a COMMIT at the end, as the tool does', () => {
    expect(iptablesRestore(newNs(), '*filter\nCOMMIT').ok).toBe(false)
    expect(iptablesRestore(newNs(), '*filter\n').errors[0]!.message).toBe('iptables-restore: COMMIT expected at line 2')
  })
})

describe('iptables argv', () => {
  it('appends, inserts, checks, replaces and deletes by rule and by number', () => {
    const ns = newNs()
    const run = (line: string): number => iptables(ns, line.split(' ')).status
    expect(run('-A FORWARD -s 1.1.1.1 -j ACCEPT')).toBe(0)
    expect(run('-I FORWARD -s 2.2.2.2 -j ACCEPT')).toBe(0)
    expect(run('-I FORWARD 2 -s 3.3.3.3 -j ACCEPT')).toBe(0)
    expect(run('-C FORWARD -s 3.3.3.3/32 -j ACCEPT')).toBe(0)
    expect(run('-C FORWARD -s 4.4.4.4 -j ACCEPT')).toBe(1)
    expect(run('-R FORWARD 1 -s 5.5.5.5 -j DROP')).toBe(0)
    expect(run('-D FORWARD 2')).toBe(0)
    expect(iptables(ns, ['-S', 'FORWARD']).stdout).toBe(
      '-P FORWARD ACCEPT\n-A FORWARD -s 5.5.5.5/32 -j DROP\n-A FORWARD -s 1.1.1.1/32 -j ACCEPT\n',
    )
    expect(run('-D FORWARD -s 1.1.1.1 -j ACCEPT')).toBe(0)
    expect(iptables(ns, ['-D', 'FORWARD', '-s', '1.1.1.1', '-j', 'ACCEPT']).stderr).toBe(
      'iptables: Bad rule (does a matching rule exist in that chain?).\n',
    )
  })

  it('renames a chain and the jumps to it', () => {
    const ns = newNs()
    for (const line of ['-N OLD', '-A OLD -j DROP', '-A FORWARD -j OLD', '-E OLD NEW']) iptables(ns, line.split(' '))
    expect(rulesOf(iptablesSave(ns))).toEqual(['-A FORWARD -j NEW', '-A NEW -j DROP'])
  })

  it('counts packets, shows the counts in -L -v and -S -v, and zeroes them', () => {
    const w = new Walker('filter', ':FORWARD DROP [0:0]\n-A FORWARD -p udp -j ACCEPT')
    const udp = pkt().eth(MACS).ip({ src: '10.0.0.1', dst: '10.0.0.2' }).udp(1, 2).payload('x').bytes()
    const icmp = pkt().eth(MACS).ip({ src: '10.0.0.1', dst: '10.0.0.2' }).icmpEcho().bytes()
    w.walk(udp)
    w.walk(udp)
    w.walk(icmp)
    expect(iptables(w.ns, ['-S', 'FORWARD', '-v']).stdout).toBe(
      '-P FORWARD DROP -c 1 28\n-A FORWARD -p udp -c 2 58 -j ACCEPT\n',
    )
    expect(iptables(w.ns, ['-L', 'FORWARD', '-nv']).stdout.split('\n')[0]).toBe(
      'Chain FORWARD (policy DROP 1 packets, 28 bytes)',
    )
    iptables(w.ns, ['-Z', 'FORWARD'])
    w.walk(udp)
    expect(iptables(w.ns, ['-S', 'FORWARD', '-v']).stdout).toBe(
      '-P FORWARD DROP -c 0 0\n-A FORWARD -p udp -c 1 29 -j ACCEPT\n',
    )
  })

  it('keeps counters of the other rules when a rule is added', () => {
    const w = new Walker('filter', '-A FORWARD -p udp -j ACCEPT')
    w.walk(pkt().eth(MACS).ip({ src: '10.0.0.1', dst: '10.0.0.2' }).udp(1, 2).payload('x').bytes())
    iptables(w.ns, ['-A', 'FORWARD', '-j', 'DROP'])
    expect(iptablesSave(w.ns, { counters: true })).toContain(
      '[1:29] -A FORWARD -p udp -j ACCEPT\n[0:0] -A FORWARD -j DROP\n',
    )
  })
})
