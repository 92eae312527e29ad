import { it } from '@jest/globals'
import { loadInputs } from '../../../src/kubernetes/load.ts'
import { buildClusterModel } from '../../../src/kubernetes/build.ts'
import { formatDiagnostics } from '../../../src/diagnostics/diagnostic.ts'
it('x', () => {
  const m = '/work/shared/cases/manifests/'
  let out = ''
  for (const f of [['microservices-demo.yaml'], ['microservices-demo.yaml', 'kube-flannel.yml'], ['microservices-demo.yaml','calico-vxlan.yaml'], ['microservices-demo.yaml','metallb-native.yaml'], ['microservices-demo.yaml','ingress-nginx-baremetal.yaml'], ['microservices-demo.yaml','microservices-demo-network-policies.yaml'], ['']]) {
    const a = performance.now()
    const l = loadInputs(f.map((x) => m + x))
    const b = performance.now()
    const r = buildClusterModel(l)
    out += `\n== ${f} load ${(b - a).toFixed(0)} build ${(performance.now() - b).toFixed(0)} pods ${r.model.pods.length} pend ${r.model.pendingPods.length} svc ${r.model.services.length} slices ${r.model.endpointSlices.length}\n`
    out += formatDiagnostics(r.diagnostics) + '\n' + r.inferred.map((i) => i.text).join('\n')
    if (f[1] === 'ingress-nginx-baremetal.yaml') {
      out += '\n' + r.model.pods.map((p) => `${p.namespace}/${p.name} ${p.node} ${p.ip}`).join('\n')
      out += '\n' + r.model.services.map(({ object: s }) => `${s.metadata.namespace}/${s.metadata.name} ${s.spec.type} ${s.spec.clusterIP} ${JSON.stringify(s.spec.ports)}`).join('\n')
      out += '\n' + JSON.stringify(r.model.endpointSlices.slice(0, 2), null, 1) + JSON.stringify(r.model.config)
    }
  }
  process.stderr.write(out)
}, 600000)
