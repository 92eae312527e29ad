/** ipset: text, elements, timeouts, and what a set match asks of a packet. */
import { describe, expect, it } from '@jest/globals'
import { ipset, ipsetList, ipsetRestore, ipsetSave } from '../../../../src/linux/tools/ipset.ts'
import { iptables } from '../../../../src/linux/tools/iptables.ts'
import { type PacketBuilder, pkt } from '../../../support/packet-builder.ts'
import { newNs, Walker } from '../iptables/support.ts'
import { SET_TEXT } from './support.ts'

const ACCEPT = 1
const from = (src: string, dst: string): PacketBuilder => {
  return pkt().eth({ src: '02:00:00:00:00:01', dst: '02:00:00:00:00:02' }).ip({ src, dst })
}

/** Whether a packet passes a rule with this set match. */
function matches(sets: string, match: string): (frame: Uint8Array) => boolean {
  const w = new Walker('filter', '')
  const r = ipsetRestore(w.ns, sets)
  if (!r.ok) throw new Error(r.errors[0]!.message)
  w.load(`:FORWARD DROP [0:0]\n-A FORWARD -m set ${match} -j ACCEPT`)
  return (frame) => w.walk(frame) === ACCEPT
}

describe('ipset text', () => {
  it('saves what it restores, and restores what it saves', () => {
    const a = newNs()
    expect(ipsetRestore(a, SET_TEXT)).toEqual({ ok: true, errors: [] })
    const text = ipsetSave(a)
    const b = newNs()
    expect(ipsetRestore(b, text)).toEqual({ ok: true, errors: [] })
    expect(ipsetSave(b)).toBe(text)
    expect(text).toContain(
      'create b hash:net family inet hashsize 1024 maxelem 65536 counters comment bucketsize 12 initval 0x',
    )
    expect(text).toContain('add b 10.1.0.0/16 nomatch packets 0 bytes 0\n')
    expect(text).toContain(
      'add b 192.168.0.5 packets 0 bytes 0\nadd b 192.168.0.6/31 packets 0 bytes 0\nadd b 192.168.0.8/31',
    )
    expect(text).toContain('add c 10.0.0.1,icmp:echo-request timeout 60\n')
    expect(text).toContain('add m a\nadd m c\nadd m b\n')
    expect(ipsetList(a, 'k2')).toBe(
      'Name: k2\nType: bitmap:ip\nRevision: 3\nHeader: range 10.0.0.0-10.0.0.103 netmask 30\nReferences: 0\nNumber of entries: 1\nMembers:\n10.0.0.4\n',
    )
  })

  it('stops a restore at the line with the error, keeping the lines before', () => {
    const ns = newNs()
    expect(ipsetRestore(ns, 'create z hash:ip\nadd z 1.1.1.1\nadd z 1.1.1.1\nadd z 2.2.2.2\n').errors).toEqual([
      { line: 3, message: "ipset v7.17: Error in line 3: Element cannot be added to the set: it's already added" },
    ])
    expect(ipsetSave(ns)).toContain('add z 1.1.1.1\n')
    expect(ipsetSave(ns)).not.toContain('2.2.2.2')
    expect(ipsetRestore(ns, 'add z 1.1.1.1\nadd z 2.2.2.2\n', { exist: true }).ok).toBe(true)
  })

  it('lets elements expire, and counts what is left', () => {
    const ns = newNs()
    ipsetRestore(ns, 'create t hash:ip timeout 10\nadd t 1.1.1.1\nadd t 1.1.1.2 timeout 0\nadd t 1.1.1.3 timeout 3\n')
    ns.world.nowNs = 2.5e9
    expect(ipsetSave(ns)).toContain('add t 1.1.1.1 timeout 7\nadd t 1.1.1.2 timeout 0\nadd t 1.1.1.3 timeout 1\n')
    ns.world.nowNs = 3e9
    expect(ipset(ns, ['test', 't', '1.1.1.3']).status).toBe(1)
    expect(ipset(ns, ['add', 't', '1.1.1.3']).status).toBe(0)
    ns.world.nowNs = 10e9
    expect(ipset(ns, ['list', 't', '-t']).stdout).toContain('Number of entries: 2\n')
  })

  it('does not destroy or rename a set that a rule or a list uses', () => {
    const ns = newNs()
    ipsetRestore(ns, 'create a hash:ip\ncreate l list:set\nadd l a\ncreate b hash:ip\n')
    expect(ipset(ns, ['destroy', 'a']).stderr).toContain('it is in use by a kernel component')
    iptables(ns, ['-A', 'FORWARD', '-m', 'set', '--match-set', 'b', 'src', '-j', 'DROP'])
    expect(ipset(ns, ['destroy', 'b']).status).toBe(1)
    expect(ipset(ns, ['rename', 'b', 'c']).status).toBe(1)
    iptables(ns, ['-F', 'FORWARD'])
    expect(ipset(ns, ['destroy', 'b']).status).toBe(0)
  })
})

describe('set match', () => {
  it('hash:net takes the most specific network, nomatch included', () => {
    const sets = 'create n hash:net\nadd n 10.0.0.0/8\nadd n 10.1.0.0/16 nomatch\nadd n 10.1.2.0/24\n'
    const hit = matches(sets, '--match-set n dst')
    const to = (dst: string): boolean => hit(from('9.9.9.9', dst).udp(1, 2).bytes())
    expect([to('10.9.9.9'), to('10.1.9.9'), to('10.1.2.9'), to('11.0.0.1')]).toEqual([true, false, true, false])
    const nomatch = matches(sets, '--match-set n dst --return-nomatch')
    expect(nomatch(from('9.9.9.9', '10.1.9.9').udp(1, 2).bytes())).toBe(true)
    expect(nomatch(from('9.9.9.9', '10.9.9.9').udp(1, 2).bytes())).toBe(false)
  })

  it('takes each dimension from the side that the flags name', () => {
    const sets =
      'create p hash:ip,port\nadd p 10.0.0.1,tcp:80\ncreate q hash:ip,port,ip\nadd q 10.0.0.1,tcp:80,10.0.0.2\n'
    const tcp = from('10.0.0.1', '10.0.0.2').tcp(4000, 80).bytes()
    expect(matches(sets, '--match-set p src,dst')(tcp)).toBe(true)
    expect(matches(sets, '--match-set p dst,dst')(tcp)).toBe(false)
    expect(matches(sets, '--match-set p src,src')(tcp)).toBe(false)
    expect(matches(sets, '! --match-set p src,dst')(tcp)).toBe(false)
    expect(matches(sets, '--match-set q src,dst,dst')(tcp)).toBe(true)
    expect(matches(sets, '--match-set q src,dst')(tcp)).toBe(false)
    expect(matches(sets, '--match-set p src,dst')(from('10.0.0.1', '10.0.0.2').udp(4000, 80).bytes())).toBe(false)
  })

  it('reads type and code of ICMP as a port, and no port of a later fragment', () => {
    const hit = matches(
      'create p hash:ip,port\nadd p 10.0.0.2,icmp:echo-request\nadd p 10.0.0.2,udp:53\nadd p 10.0.0.2,gre:0\n',
      '--match-set p dst,dst',
    )
    expect(hit(from('1.1.1.1', '10.0.0.2').icmpEcho().bytes())).toBe(true)
    expect(hit(from('1.1.1.1', '10.0.0.2').icmpEcho({ reply: true }).bytes())).toBe(false)
    expect(hit(from('1.1.1.1', '10.0.0.2').udp(1, 53).bytes())).toBe(true)
    const fragment = pkt()
      .eth({ src: '02:00:00:00:00:01', dst: '02:00:00:00:00:02' })
      .ip({ src: '1.1.1.1', dst: '10.0.0.2', fragmentOffsetBytes: 64 })
    expect(hit(fragment.udp(1, 53).bytes())).toBe(false)
  })

  it('looks through the members of a list:set in order', () => {
    const hit = matches(
      'create a hash:ip\nadd a 10.0.0.1\ncreate b bitmap:port range 0-100\nadd b 80\ncreate l list:set\nadd l a\nadd l b\n',
      '--match-set l src',
    )
    expect(hit(from('10.0.0.1', '10.0.0.2').udp(1, 2).bytes())).toBe(true)
    expect(hit(from('10.0.0.3', '10.0.0.2').udp(80, 2).bytes())).toBe(true)
    expect(hit(from('10.0.0.3', '10.0.0.2').udp(81, 2).bytes())).toBe(false)
  })

  it('counts packets and bytes, and does not with ! --update-counters', () => {
    const w = new Walker('filter', '')
    ipsetRestore(w.ns, 'create a hash:ip counters\nadd a 10.0.0.1\n')
    w.load('-A FORWARD -m set --match-set a src ! --update-counters\n-A FORWARD -m set --match-set a src')
    w.walk(from('10.0.0.1', '10.0.0.2').udp(1, 2).payload('hello').bytes())
    expect(ipsetSave(w.ns)).toContain('add a 10.0.0.1 packets 1 bytes 33\n')
  })

  it('follows a swap without the rule being loaded again', () => {
    const w = new Walker('filter', '')
    ipsetRestore(w.ns, 'create a hash:ip\nadd a 10.0.0.1\ncreate b hash:ip\nadd b 10.0.0.9\n')
    w.load(':FORWARD DROP [0:0]\n-A FORWARD -m set --match-set a src -j ACCEPT')
    const one = from('10.0.0.1', '10.0.0.2').udp(1, 2).bytes()
    const nine = from('10.0.0.9', '10.0.0.2').udp(1, 2).bytes()
    expect([w.walk(one), w.walk(nine)]).toEqual([1, 0])
    expect(ipset(w.ns, ['swap', 'a', 'b']).status).toBe(0)
    expect([w.walk(one), w.walk(nine)]).toEqual([0, 1])
  })
})
