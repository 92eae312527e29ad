/**
 * podwalk's speaker on real sockets against BIRD 2, FRR and GoBGP, all three at the same time; and a Calico-like mesh in
 * which one node is podwalk's speaker.
 */
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import {
  birdConfig,
  type DaemonKind,
  DaemonNet,
  frrConfig,
  gobgpConfig,
  type SpeakProcess,
  type SpeakState,
  sleep,
  until,
} from '../support/bgp-daemons.ts'
import { describeKernel } from '../support/kernel.ts'

const ME = '192.168.77.30'
const DAEMONS: readonly (readonly [host: string, kind: DaemonKind, ip: string, network: string])[] = [
  ['bird', 'bird', '192.168.77.21', '10.244.1.0/26'],
  ['frr', 'frr', '192.168.77.22', '10.244.2.0/26'],
  ['gobgp', 'gobgp', '192.168.77.23', '10.244.3.0/26'],
]
const OURS = '10.9.30.0/26'
const TOOLS = ['bird', 'birdc', 'vtysh', 'gobgpd', 'gobgp']

function start(
  net: DaemonNet,
  [host, kind, ip, network]: (typeof DAEMONS)[number],
  asn: number,
  peerAsn: number,
): void {
  if (kind === 'bird') net.start(host, kind, birdConfig({ ip, asn, network, peers: [{ ip: ME, asn: peerAsn }] }))
  else if (kind === 'frr') net.start(host, kind, frrConfig({ ip, asn, network, peer: ME, peerAsn }))
  else net.start(host, kind, gobgpConfig({ ip, asn, peer: ME, peerAsn }))
}

/** GoBGP takes networks from its client only. */
async function addGobgpNetwork(net: DaemonNet): Promise<void> {
  await until('gobgpd answers', () => net.ask('gobgp', 'gobgp', 'global').includes('AS:'), 10_000)
  net.ask('gobgp', 'gobgp', 'global rib add 10.244.3.0/26')
}

const established = (stderr: string, ip: string): number => stderr.split(`${ip} established`).length - 1

/** Our network as a daemon has it: in the kernel, or (GoBGP) in its table. */
function hasOurs(net: DaemonNet, [host, kind]: (typeof DAEMONS)[number]): boolean {
  if (kind === 'gobgp') return net.ask(host, kind, 'global rib').includes(OURS)
  return net.ip(host, 'route show').includes(OURS)
}

/** Waits until all three sessions ended with Bad Peer AS. */
async function refusals(me: SpeakProcess, word: string): Promise<void> {
  const said = (ip: string): boolean => me.stderr.includes(`${ip} refused: ${word} OPEN Message Error, Bad Peer AS`)
  for (const d of DAEMONS) await until(`${d[0]}: ${word} Bad Peer AS`, () => said(d[2]), 25_000)
}

const bestFrom = (state: SpeakState): string[] =>
  state.rib
    .filter((r) => r.best && r.from !== null)
    .map((r) => `${r.prefix} ${r.from}`)
    .sort()

describeKernel('podwalk bgp speak with BIRD, FRR and GoBGP', TOOLS, () => {
  let net: DaemonNet
  beforeAll(async () => {
    net = new DaemonNet('bgp-live')
    net.addHost('me', ME)
    for (const d of DAEMONS) net.addHost(d[0], d[2])
  })
  afterAll(() => net.close())

  it.each([
    ['internal', 64512, 64512],
    ['external', 64700, 64512],
  ])(
    '%s sessions: routes both ways, a restart of every daemon, an end in order',
    async (_what, asn, own) => {
      for (const d of DAEMONS) start(net, d, asn, own)
      await addGobgpNetwork(net)
      const flags = ['--local', ME, '--asn', String(own), '--announce', OURS, '--hold', '30s']
      const me = net.speak('me', [...flags, ...DAEMONS.flatMap((d) => ['--neighbor', `${d[2]},asn=${asn}`])])
      try {
        for (const d of DAEMONS) {
          await until(`${d[0]}: Established`, () => established(me.stderr, d[2]) >= 1, 15_000)
          await until(`${d[0]} has ${OURS}`, () => hasOurs(net, d), 15_000)
        }
        expect(net.ip('bird', `route show ${OURS}`)).toMatch(`via ${ME} dev eth0 proto bird metric 32`)
        expect(net.ip('frr', `route show ${OURS}`)).toMatch(/proto bgp metric 20/)
        // every daemon is killed and comes back
        await Promise.all(DAEMONS.map((d) => net.stop(d[0])))
        for (const d of DAEMONS) start(net, d, asn, own)
        await addGobgpNetwork(net)
        for (const d of DAEMONS) {
          await until(`${d[0]}: Established again`, () => established(me.stderr, d[2]) >= 2, 20_000)
          await until(`${d[0]} has ${OURS} again`, () => hasOurs(net, d), 15_000)
        }
        await sleep(2500)
        const { status, state } = await me.end()
        expect(status).toBe(0)
        expect(state.sessions.map((s) => s.state)).toEqual(['Established', 'Established', 'Established'])
        expect(bestFrom(state)).toEqual(expect.arrayContaining(DAEMONS.map((d) => `${d[3]} ${d[2]}`)))
        const paths = state.rib.filter(
          (r) => r.from !== null && DAEMONS.some((d) => d[3] === r.prefix && d[2] === r.from),
        )
        expect(new Set(paths.map((r) => r.asPath.join(' ')))).toEqual(new Set([asn === own ? '' : String(asn)]))
        // Cease: our network leaves their kernels at once
        for (const d of DAEMONS) await until(`${d[0]} forgot ${OURS}`, () => !hasOurs(net, d), 3000)
      } finally {
        await me.kill()
        await Promise.all(DAEMONS.map((d) => net.stop(d[0])))
      }
    },
    60_000,
  )

  it('a wrong AS is refused by either side with OPEN Message Error, Bad Peer AS', async () => {
    for (const d of DAEMONS) start(net, d, 64512, 64512)
    const expectsOther = net.speak('me', [
      '--local',
      ME,
      '--asn',
      '64512',
      ...DAEMONS.flatMap((d) => ['--neighbor', `${d[2]},asn=64999`]),
    ])
    await refusals(expectsOther, 'sent')
    const we = await expectsOther.end()
    const isOther = net.speak('me', [
      '--local',
      ME,
      '--asn',
      '64998',
      ...DAEMONS.flatMap((d) => ['--neighbor', `${d[2]},asn=64512`]),
    ])
    await refusals(isOther, 'received')
    const they = await isOther.end()
    await Promise.all(DAEMONS.map((d) => net.stop(d[0])))
    expect([we.status, they.status]).toEqual([5, 5])
    expect(we.state.sessions.map((s) => s.lastError)).toEqual(Array(3).fill('sent OPEN Message Error, Bad Peer AS'))
    expect(they.state.sessions.map((s) => s.lastError)).toEqual(
      Array(3).fill('received OPEN Message Error, Bad Peer AS'),
    )
    expect(they.stderr).toMatch(/not every session was up/)
  }, 60_000)
})

describeKernel('a mesh like Calicos in which one node is podwalk', ['bird', 'birdc'], () => {
  const NODES = ['n1', 'n2', 'n3']
  const ip = (n: string): string => `192.168.78.1${n.slice(1)}`
  const block = (n: string): string => `10.244.${n.slice(1)}.0/26`
  let net: DaemonNet
  beforeAll(() => {
    net = new DaemonNet('bgp-mesh')
    for (const n of NODES) net.addHost(n, ip(n))
  })
  afterAll(() => net.close())

  function startBird(n: string): void {
    const peers = NODES.filter((o) => o !== n).map((o) => ({
      ip: ip(o),
      asn: 64512,
      channel: 'add paths on;',
      options: `graceful restart on; ${n < o ? 'passive on;' : ''}`,
    }))
    net.start(n, 'bird', birdConfig({ ip: ip(n), asn: 64512, network: block(n), peers }))
  }

  const routes = (n: string): string[] =>
    net
      .ip(n, 'route show proto bird')
      .trim()
      .split('\n')
      .map((l) => l.trim())
      .sort()
  const complete = (n: string): boolean => NODES.every((o) => routes(n).some((l) => l.includes(block(o))))

  it('converges to the same kernel routes as with BIRD everywhere', async () => {
    for (const n of NODES) startBird(n)
    await until('three BIRDs converge', () => NODES.every(complete), 20_000)
    const all = new Map(NODES.map((n) => [n, routes(n)]))
    await net.stop('n3', 'SIGTERM')
    await until('n3 is gone', () => !complete('n1') && !complete('n2'), 10_000)
    net.ip('n3', 'route flush proto bird')
    const words = 'add-paths,graceful-restart'
    const me = net.speak('n3', [
      ...['--local', ip('n3'), '--asn', '64512', '--announce', block('n3')],
      ...['n1', 'n2'].flatMap((o) => ['--neighbor', `${ip(o)},${words}`]),
    ])
    try {
      await until('the mesh converges with podwalk', () => complete('n1') && complete('n2'), 20_000)
      expect([routes('n1'), routes('n2')]).toEqual([all.get('n1'), all.get('n2')])
      const { state } = await me.end()
      const learnt = state.rib
        .filter((r) => r.from !== null)
        .map((r) => `${r.prefix} via ${r.nextHop} dev eth0 metric 32`)
      expect(learnt.sort()).toEqual(
        all
          .get('n3')!
          .filter((l) => l.includes(' via '))
          .sort(),
      )
    } finally {
      await me.kill()
    }
  }, 60_000)
})
