/**
 * A Trace as a capture: every frame on every device in the order of the walk, one interface per (netns, device), the
 * names of the addresses, and beside each packet what the hops did with it.
 *
 * An interface is named `NETNS/DEVICE` as the walk names it (`pod:shop/web-0/eth0`, `node:n1/cbr0`).
 */

import type { Trace } from '../query/trace-types.ts'
import { describeFrame } from '../wire/describe.ts'
import { LINKTYPE_ETHERNET, LINKTYPE_RAW, type PcapngPacket, writePcapng } from '../wire/pcapng.ts'
import { hopWords } from './hop-text.ts'
import { hostTitle } from './text.ts'

/** The bytes of the capture. */
export function tracePcapng(trace: Trace): Uint8Array {
  const index = new Map(trace.interfaces.map((i, n) => [key(i), n]))
  const comments = frameComments(trace)
  const packets = trace.frames.map((frame, n): PcapngPacket => {
    const interfaceId = index.get(key(frame))
    if (interfaceId === undefined)
      throw new Error(`frame ${n} on ${frame.netns}/${frame.device}, which is no interface of the trace`)
    const bytes = Buffer.from(frame.hex, 'hex')
    const linkType = trace.interfaces[interfaceId]!.linkType
    const comment = comments.get(n) ?? `packet ${frame.packet}: ${describeFrame(bytes, linkType)}`
    const packet = { interfaceId, atNs: frame.atNs, bytes, direction: frame.direction }
    return { ...packet, comment }
  })
  const { question: q } = trace
  return writePcapng({
    interfaces: trace.interfaces.map((i) => ({
      name: `${i.netns}/${i.device}`,
      description: `${i.device} of ${hostTitle(i)}`,
      linkType: i.linkType === 'ip' ? LINKTYPE_RAW : LINKTYPE_ETHERNET,
    })),
    packets,
    names: Object.keys(trace.names)
      .sort()
      .map((ip) => ({ ip, name: hostName(trace.names[ip]!) })),
    comment: `podwalk trace ${q.src.asked} ${q.dst.asked}: ${trace.verdict}, ${q.cni}, kube-proxy ${q.proxyMode}, seed ${q.seed}`,
  })
}

/** Wireshark takes a resolved name up to the first blank. */
function hostName(name: string): string {
  return name.replaceAll(/\s+/g, '_')
}

function key(at: { readonly node: string | null; readonly netns: string; readonly device: string }): string {
  return `${at.node ?? ''} ${at.netns} ${at.device}`
}

/** What was done to a frame: its hop and those that follow up to the next frame, which are decisions about it. */
function frameComments(trace: Trace): Map<number, string> {
  const comments = new Map<number, string[]>()
  for (const hops of [trace.walk, trace.reply]) {
    let current: string[] | null = null
    const early: string[] = []
    for (const hop of hops) {
      if (hop.frame !== null) {
        current = comments.get(hop.frame) ?? []
        current.push(...early.splice(0))
        comments.set(hop.frame, current)
        continue
      }
      const words = `${hop.n} ${hop.point}: ${hopWords(hop)}`
      if (current === null) early.push(words)
      else current.push(words)
    }
  }
  const text = new Map<number, string>()
  for (const [frame, words] of comments) if (words.length > 0) text.set(frame, words.join('\n'))
  return text
}
