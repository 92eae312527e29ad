/**
 * A built cluster on the real kernel: the steps that tests play on both sides, and what is masked before comparing.
 */
import type { LabResult, LabScenario, LabState, LabStep } from '../../src/lab/scenario.ts'

/** Tools that a live cluster needs beside `ip`. */
export const LIVE_TOOLS = ['python3', 'bridge', 'ethtool', 'iptables-legacy-restore', 'conntrack']

/** A whole TCP connection in the lab's steps; the listener is `L`. */
export function tcpSteps(
  id: string,
  client: string,
  clientIp: string,
  sport: number,
  vip: string,
  port: number,
): LabStep[] {
  return [
    { op: 'tcp_connect', id, ns: client, bind: [clientIp, sport], to: [vip, port] },
    { op: 'tcp_status', id },
    { op: 'tcp_accept', id: 'L', as: `${id}.s` },
    { op: 'tcp_send', id, data: '47455420' },
    { op: 'tcp_recv', id: `${id}.s` },
    { op: 'tcp_send', id: `${id}.s`, data: '323030204f4b' },
    { op: 'tcp_recv', id },
    { op: 'close', id },
    { op: 'close', id: `${id}.s` },
  ]
}

/**
 * On a bridge only one side of a translated connection is seen, so the normaliser cannot know the other side's ISN: the
 * acknowledgement number and the checksum over it are masked there, in both recordings.
 */
export function maskOneSidedAcks(r: LabResult, bridge: string): LabResult {
  const ifaces: { [iface: string]: readonly string[] } = { ...r.ifaces }
  for (const [iface, frames] of Object.entries(ifaces)) {
    if (!iface.endsWith(`/${bridge}`)) continue
    ifaces[iface] = frames.map((hex) => {
      if (hex.slice(24, 28) !== '0800' || hex.slice(46, 48) !== '06') return hex
      return `${hex.slice(0, 84)}${'x'.repeat(8)}${hex.slice(92, 100)}xxxx${hex.slice(104)}`
    })
  }
  return { ...r, ifaces }
}

/** Without --random-fully the translated port is the client's own on both sides. */
export function withoutRandomPorts(s: LabScenario): LabScenario {
  const iptables = Object.fromEntries(
    Object.entries(s.iptables ?? {}).map(([ns, text]) => [ns, text.replaceAll(' --random-fully', '')]),
  )
  return { ...s, iptables }
}

/** The source ports that VXLAN draws from a flow's hash, in the conntrack entries of the outer packets. */
export function maskTunnelPorts(r: LabResult, dstport = 8472): LabResult {
  const state: LabState = {}
  for (const [query, lines] of Object.entries(r.state)) {
    if (!query.endsWith(':conntrack') || !Array.isArray(lines)) state[query] = lines
    else {
      const masked = (lines as readonly string[]).map((line) =>
        line.includes(`dport=${dstport} `)
          ? line.replace(/([sd]port)=(\d+)/g, (all, k, n) => (Number(n) === dstport ? all : `${k}=x`))
          : line,
      )
      state[query] = masked.sort()
    }
  }
  return { ...r, state }
}
