/**
 * kube-proxy's IPVS mode: its rule set, and flows through it recorded on Linux 6.1: pods, external clients, node ports,
 * load balancers, the node's own processes. Compared per step: the frames that came out, the chains that were met in order
 * with the packet's addresses and mark, at the end of a flow the IPVS connection and the conntrack entry.
 */
import { describe, expect, it } from '@jest/globals'
import { formatIpv4, parseIpv4 } from '../../../../src/addr/ipv4.ts'
import { conntrackLine } from '../../../../src/lab/state.ts'
import { IptRule } from '../../../../src/linux/netfilter/iptables/types.ts'
import { tcpConnect, tcpSend } from '../../../../src/linux/socket/api.ts'
import { tcpSendActiveReset } from '../../../../src/linux/socket/tcp-output.ts'
import type { TcpSock } from '../../../../src/linux/socket/tcp-sock.ts'
import { execTool } from '../../../../src/linux/tools/exec.ts'
import { T_NF_RULE } from '../../../../src/linux/trace.ts'
import { M_LEN, M_MARK, M_NH, META_SHIFT } from '../../../../src/packet/layout.ts'
import { foldChecksum, pseudoSumV4, sumWords } from '../../../../src/wire/checksum.ts'
import { ipvsFixture, Node } from './support.ts'

interface Step {
  readonly tx?: readonly [string, string]
  readonly what?: string
  readonly rx?: readonly (readonly [string, string, string])[]
  readonly hooks?: readonly string[]
  readonly host_connect?: string
  readonly sockname?: string
  readonly host_send?: string
  readonly host_close?: number
  readonly conns?: readonly (readonly [string, string, string, string, string, number])[]
  readonly conntrack?: readonly string[]
}

interface Flow {
  readonly name: string
  readonly note: string
  readonly steps: readonly Step[]
}

interface Setup {
  readonly ipset: string
  readonly iptables: string
  readonly ipvs: readonly string[]
}

const CHAINS: { readonly [table: string]: readonly string[] } = {
  raw: ['PREROUTING', 'OUTPUT'],
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
  nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
}

const [setup, ...flows] = ipvsFixture<[Setup, ...Flow[]]>('kube-proxy')

function kubeNode(conntrack: number): Node {
  const node = new Node([
    { port: 'e', dev: 'eth0', mac: '02:00:00:00:e0:0a' },
    { port: 'c', dev: 'cni0', mac: '02:00:00:00:f0:01' },
  ])
  node.run(`sysctl -qw net.ipv4.vs.conntrack=${conntrack} net.ipv4.vs.expire_nodest_conn=1`)
  node.run('sysctl -qw net.ipv4.vs.expire_quiescent_template=1')
  node.run(
    'sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0 net.ipv4.conf.cni0.send_redirects=0',
  )
  node.run('ip addr add 192.168.1.10/24 dev eth0; ip addr add 10.244.0.1/24 dev cni0')
  node.run('ip route add default via 192.168.1.254; ip route add 10.244.1.0/24 via 192.168.1.11')
  node.run('ip neigh replace 192.168.1.254 lladdr 02:00:00:00:e0:fe dev eth0 nud permanent')
  node.run('ip neigh replace 192.168.1.11 lladdr 02:00:00:00:e0:0b dev eth0 nud permanent')
  for (const n of [5, 6]) node.run(`ip neigh replace 10.244.0.${n} lladdr 02:00:00:00:f0:0${n} dev cni0 nud permanent`)
  node.run('ip link add kube-ipvs0 type dummy')
  for (const vip of ['10.96.0.10', '10.96.0.11', '10.96.0.12', '203.0.113.5', '203.0.113.6']) {
    node.run(`ip addr add ${vip}/32 dev kube-ipvs0`)
  }
  node.run('ipset restore', setup.ipset)
  node.run('iptables-legacy-restore', setup.iptables)
  for (const [table, chains] of Object.entries(CHAINS)) {
    for (const chain of chains) {
      const prefix = `@${table}:${chain} `
      execTool(node.ns, ['iptables-legacy', '-t', table, '-I', chain, '-j', 'LOG', '--log-prefix', prefix])
    }
  }
  for (const line of setup.ipvs) node.run(`ipvsadm ${line}`)
  return node
}

/** Writes what the LOG rules see: `table:CHAIN source>destination mark=M`. */
function traceChains(node: Node, lines: string[]): void {
  node.w.tracer = {
    wantMisses: false,
    step(point, slot, _ns, _dev, _a, _b, _c, ref) {
      if (point !== T_NF_RULE || !(ref instanceof IptRule)) return
      const where = /--log-prefix "@(\S+) "/.exec(ref.text)?.[1]
      if (where === undefined) return
      const { meta, view } = node.w.arena
      const m = slot << META_SHIFT
      const nh = meta[m + M_NH]!
      const th = nh + (view.getUint8(nh) & 15) * 4
      const ports = view.getUint8(nh + 9) !== 1 && meta[m + M_LEN]! >= th - nh + 4
      const end = (ip: number, port: number): string =>
        `${formatIpv4(view.getInt32(ip))}${ports ? `:${view.getUint16(port)}` : ''}`
      const mark = meta[m + M_MARK]!
      const icmp = ports ? '' : ' ICMP'
      lines.push(
        `${where} ${end(nh + 12, th)}>${end(nh + 16, th + 2)}${icmp} mark=${mark === 0 ? '0' : `0x${mark.toString(16)}`}`,
      )
    },
  }
}

/** A frame of the node's own TCP without what differs: sequence numbers, window, options; and its addresses and flags. */
function summary(hex: string): string {
  const b = Buffer.from(hex, 'hex')
  const ip = (off: number): string => [...b.subarray(off, off + 4)].join('.')
  const flags = b[47]! & 0x3f
  const payload = b.readUInt16BE(16) - 20 - (b[46]! >> 4) * 4
  return `${hex.slice(0, 28)} ${ip(26)}:${b.readUInt16BE(34)}>${ip(30)}:${b.readUInt16BE(36)} ttl${b[22]} flags${flags} len${payload}`
}

/** The recorded answer, acknowledging what our TCP sent instead of what the kernel's did. */
function acknowledge(hex: string, ack: number): string {
  const b = Buffer.from(hex, 'hex')
  b.writeUInt32BE(ack >>> 0, 42)
  b.writeUInt16BE(0, 50)
  const view = new DataView(b.buffer, b.byteOffset)
  const length = b.readUInt16BE(16) - 20
  const pseudo = pseudoSumV4(view.getInt32(26), view.getInt32(30), 6, length)
  b.writeUInt16BE(foldChecksum(sumWords(view, 34, length, pseudo)), 50)
  return b.toString('hex')
}

function sockAddr(text: string): { ip: number; port: number } {
  const [ip, port] = text.split(':')
  return { ip: parseIpv4(ip!)!, port: Number(port) }
}

describe('kube-proxy in IPVS mode', () => {
  it.each(flows.map((f) => [f.name, f] as const))('%s', (name, flow) => {
    const node = kubeNode(name.startsWith('conntrack0') ? 0 : 1)
    const hooks: string[] = []
    traceChains(node, hooks)
    const own = flow.steps.some((s) => s.host_connect !== undefined)
    let sock: TcpSock | null = null
    let isn = 0
    for (const step of flow.steps) {
      if (step.conns !== undefined) {
        const recorded = step.conns.map((c) => c.slice(0, 5).join(' '))
        const got = node.connections().map((c) => c.join(' '))
        const rejected = /wrongport|ping|localhost/.test(name)
        expect(got.length).toBe(rejected ? 0 : 1)
        expect(recorded).toEqual(expect.arrayContaining(got))
        const entries = execTool(node.ns, ['conntrack', '-L'])
          .stdout.split('\n')
          .filter((l) => l !== '')
        expect(entries.map(conntrackLine).sort()).toEqual(step.conntrack!.map((l) => l.replace(/ use=\d+/, '')).sort())
        continue
      }
      hooks.length = 0
      let got: (readonly [string, string])[]
      if (step.tx !== undefined) {
        const frame = sock !== null ? acknowledge(step.tx[1], isn + 1) : step.tx[1]
        got = node.send(step.tx[0], frame)
      } else {
        if (step.host_connect !== undefined) {
          const connected = tcpConnect(node.ns, sockAddr(step.host_connect), {
            bind: { ip: 0, port: sockAddr(step.sockname!).port },
          })
          if (typeof connected === 'number') throw new Error(`connect: ${connected}`)
          sock = connected.sk
        } else if (step.host_send !== undefined) tcpSend(sock!, Buffer.from(step.host_send))
        else if (step.rx!.length > 0) tcpSendActiveReset(sock!) // the recorder closed with SO_LINGER 0
        node.w.softirq()
        got = node.take()
        if (step.host_connect !== undefined && got.length > 0) isn = Buffer.from(got[0]![1], 'hex').readUInt32BE(38)
      }
      const frames = own ? got.map(([p, hex]) => `${p} ${summary(hex)}`) : got.map(([p, hex]) => `${p} ${hex}`)
      const wanted = step.rx!.map(([p, hex]) => `${p} ${own ? summary(hex) : node.comparable(hex)}`)
      expect({ sent: step.what, frames }).toEqual({ sent: step.what, frames: wanted })
      expect(hooks).toEqual(step.hooks!.map((h) => h.replace(/ in=\S+ out=\S+/, '')))
    }
  })
})
