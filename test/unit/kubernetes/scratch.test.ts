import { it } from '@jest/globals'
import { stringify } from 'yaml'
import { formatDiagnostics } from '../../../src/diagnostics/diagnostic.ts'
import { buildClusterModel } from '../../../src/kubernetes/build.ts'
import { loadText } from '../../../src/kubernetes/load.ts'

const t = (n: string, f: () => unknown) => {
  const a = performance.now()
  const r = f()
  process.stderr.write(
    `${n} ${(performance.now() - a).toFixed(0)} ms rss ${(process.memoryUsage().rss / 1e6).toFixed(0)} heap ${(process.memoryUsage().heapUsed / 1e6).toFixed(0)}\n`,
  )
  return r as any
}
it('scale', () => {
  const N = 5000,
    P = 150000,
    S = 10000
  const items: unknown[] = []
  for (let i = 0; i < N; i++)
    items.push({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: `node-${i}`, labels: { 'topology.kubernetes.io/zone': `z${i % 3}` } },
      spec: { podCIDR: `10.${128 + (i >> 8)}.${i & 255}.0/24` },
      status: {
        allocatable: { cpu: '32', memory: '128Gi', pods: '110' },
        addresses: [{ type: 'InternalIP', address: `172.16.${i >> 8}.${i & 255}` }],
      },
    })
  for (let i = 0; i < S; i++)
    items.push({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: `svc-${i}`, namespace: `ns${i % 100}` },
      spec: { selector: { app: `app-${i}` }, ports: [{ port: 80, targetPort: 8080 }] },
    })
  const live = (i: number) => {
    const n = i % N
    const k = Math.floor(i / N)
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: `app-${i % S}-5d9f8c7b6-${i.toString(36)}`,
        namespace: `ns${(i % S) % 100}`,
        labels: { app: `app-${i % S}`, 'pod-template-hash': '5d9f8c7b6' },
        ownerReferences: [
          { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: `app-${i % S}-5d9f8c7b6`, uid: 'x', controller: true },
        ],
      },
      spec: {
        nodeName: `node-${n}`,
        containers: [
          {
            name: 'c',
            image: 'example.org/app:v1',
            ports: [{ containerPort: 8080 }],
            resources: { requests: { cpu: '100m', memory: '64Mi' } },
          },
        ],
      },
      status: {
        phase: 'Running',
        podIP: `10.${128 + (n >> 8)}.${n & 255}.${2 + k}`,
        conditions: [{ type: 'Ready', status: 'True' }],
      },
    }
  }
  const pods = Array.from({ length: P }, (_, i) => live(i))
  const text = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [...items, ...pods] })
  process.stderr.write(`json ${(text.length / 1e6).toFixed(0)} MB\n`)
  if (process.env.MODE !== 'yaml') {
  process.stderr.write('')
    let l = t('load json', () => loadText(text, 'x.json'))
    let r = t('build', () => buildClusterModel(l))
    process.stderr.write(
      `${r.model.pods.length} ${r.model.endpointSlices.length} ${formatDiagnostics(r.diagnostics).slice(0, 600)}\n${r.inferred.map((x: any) => x.text)}\n`,
    )
    if (process.env.MODE === 'build') return
  const deps = Array.from({ length: S }, (_, i) => ({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: `app-${i}`, namespace: `ns${i % 100}` },
      spec: {
        replicas: 15,
        selector: { matchLabels: { app: `app-${i}` } },
        template: {
          metadata: { labels: { app: `app-${i}` } },
          spec: {
            containers: [{ name: 'c', image: 'x', resources: { requests: { cpu: '100m', memory: '64Mi' } } }],
            affinity:
              i % 10
                ? undefined
                : {
                    podAntiAffinity: {
                      requiredDuringSchedulingIgnoredDuringExecution: [
                        { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { app: `app-${i}` } } },
                      ],
                    },
                  },
          },
        },
      },
    }))
    l = loadText(JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [...items, ...deps] }), 'd.json')
    r = t('build scheduled', () => buildClusterModel(l))
    process.stderr.write(
      `${r.model.pods.length} ${r.model.endpointSlices.length} ${formatDiagnostics(r.diagnostics).slice(0, 300)}\n`,
    )
  } else {
    const y = t(
      'stringify',
      () =>
        'apiVersion: v1\nitems:\n' +
        [...items, ...pods.slice(0, 15000)].map((o) => stringify([o])).join('') +
        'kind: List\n',
    )
    process.stderr.write(`yaml ${(y.length / 1e6).toFixed(0)} MB\n`)
    const l2 = t('load yaml', () => loadText(y, 'y.yaml'))
    process.stderr.write(`${l2.objects.length} ${formatDiagnostics(l2.diagnostics).slice(0, 300)}\n`)
  }
}, 600000)
