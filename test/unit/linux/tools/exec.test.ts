import { describe, expect, it } from '@jest/globals'
import { execTool, TOOL_NAMES } from '../../../../src/linux/tools/exec.ts'
import { World } from '../../../../src/linux/world.ts'

function netns(): ReturnType<World['addNetns']> {
  return new World().addNetns('n1')
}

describe('execTool', () => {
  it('names what there is when a tool is not modelled, with status 127', () => {
    const r = execTool(netns(), ['strace', '-p', '1'])
    expect(r).toEqual({
      status: 127,
      stdout: '',
      stderr: `podwalk: exec: strace is not modelled; modelled: ${TOOL_NAMES.join(', ')}\n`,
    })
    expect(execTool(netns(), []).status).toBe(127)
    expect(execTool(netns(), ['__proto__']).status).toBe(127)
  })

  it.each([
    ['iptables-nft-save'],
    ['tc', 'class'],
    ['ip', 'link', 'add', 'bd', 'type', 'bond'],
    ['ip', '-6', 'route', 'add', '::/0', 'from', '2001:db8::/32'],
    ['bridge', 'mdb'],
    ['ping', '-c', '100000000', '127.0.0.1'],
    ['ping', '-c', '1', 'shop-db'],
  ])('says UNMODELLED with status 126 for %s', (...argv) => {
    const r = execTool(netns(), argv)
    expect(r.status).toBe(126)
    expect(r.stderr).toMatch(/^podwalk: UNMODELLED: /)
  })

  it('takes a tool by its path', () => {
    expect(execTool(netns(), ['/usr/sbin/ip', '-br', 'link']).stdout).toBe(
      'lo               DOWN           00:00:00:00:00:00 <LOOPBACK> \n',
    )
  })

  it('keeps what a tool changed for the next one', () => {
    const ns = netns()
    const batch = 'link add br0 type bridge\nlink set br0 up # comment\naddr add 10.0.0.1/24 dev br0\n'
    expect(execTool(ns, ['ip', '-batch', '-'], batch)).toEqual({ status: 0, stdout: '', stderr: '' })
    expect(execTool(ns, ['ip', 'route', 'get', '10.0.0.1']).stdout).toMatch(
      /^local 10\.0\.0\.1 dev lo src 10\.0\.0\.1 uid 0/,
    )
  })

  it('stops a batch at the command that fails and says which', () => {
    const r = execTool(netns(), ['ip', '-batch', '-'], 'link set lo up\nlink set nope up\nlink set lo down\n')
    expect(r.status).toBe(1)
    expect(r.stderr).toBe('Cannot find device "nope"\nCommand failed -:2\n')
  })

  it('restores what iptables-save printed', () => {
    const ns = netns()
    const text =
      '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:KUBE-X - [0:0]\n-A FORWARD -j KUBE-X\n-A KUBE-X -s 10.0.0.0/8 -j ACCEPT\nCOMMIT\n'
    expect(execTool(ns, ['iptables-restore'], text).status).toBe(0)
    expect(execTool(ns, ['iptables-save', '-t', 'filter']).stdout).toBe(text)
  })

  it('stops iptables-restore at the first error with the line, as the tool does', () => {
    const r = execTool(netns(), ['iptables-restore'], '*filter\n-A NOPE -j ACCEPT\nCOMMIT\n')
    expect(r.status).not.toBe(0)
    expect(r.stderr).toMatch(/line:? 2/)
  })

  it('lists and reads every sysctl that it names', () => {
    const ns = netns()
    const all = execTool(ns, ['sysctl', '-a']).stdout.trim().split('\n')
    expect(all.length).toBeGreaterThan(150)
    for (const line of all) expect(execTool(ns, ['sysctl', line.split(' = ')[0]!]).stdout).toBe(`${line}\n`)
  })
})
