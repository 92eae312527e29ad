/**
 * A small cluster as text, for tests of the cluster builder and the queries.
 */
import { buildClusterModel, type ClusterModel, loadText } from '../../src/kubernetes/index.ts'

/** Two nodes; `client` and `near` on n1, `far` on n2; Services of every kind the tests ask about. */
export const SHOP = `
apiVersion: podwalk.dev/v1alpha1
kind: Cluster
metadata: { name: t }
spec:
  nodes: [{ name: n1 }, { name: n2 }]
  cni: { name: kubenet }
  kubeProxy: { mode: iptables }
---
{ apiVersion: v1, kind: Pod, metadata: { name: client, labels: { app: client } }, spec: { nodeName: n1, containers: [{ name: c }] } }
---
{ apiVersion: v1, kind: Pod, metadata: { name: near, labels: { app: near } }, spec: { nodeName: n1, containers: [{ name: c, ports: [{ containerPort: 8080 }, { containerPort: 53, protocol: UDP }] }] } }
---
{ apiVersion: v1, kind: Pod, metadata: { name: far, labels: { app: far } }, spec: { nodeName: n2, containers: [{ name: c, ports: [{ containerPort: 8080 }, { containerPort: 53, protocol: UDP }] }] } }
---
{ apiVersion: v1, kind: Pod, metadata: { name: host, labels: { app: host } }, spec: { nodeName: n2, hostNetwork: true, containers: [{ name: c, ports: [{ containerPort: 9100 }] }] } }
---
{ apiVersion: v1, kind: Service, metadata: { name: near }, spec: { clusterIP: 10.96.0.20, selector: { app: near }, ports: [{ name: http, port: 80, targetPort: 8080 }, { name: dns, port: 53, protocol: UDP }] } }
---
apiVersion: v1
kind: Service
metadata: { name: far }
spec:
  type: NodePort
  clusterIP: 10.96.0.21
  selector: { app: far }
  ports:
    - { name: http, port: 80, targetPort: 8080, nodePort: 30080 }
---
{ apiVersion: v1, kind: Service, metadata: { name: self }, spec: { clusterIP: 10.96.0.22, selector: { app: client }, ports: [{ port: 80, targetPort: 8080 }] } }
---
apiVersion: v1
kind: Service
metadata: { name: nobody }
spec:
  clusterIP: 10.96.0.23
  selector: { app: faar }
  ports: [{ port: 80, targetPort: 8080 }]
`

/** The model of `text` (default: SHOP); throws when it has errors. */
export function clusterOf(text = SHOP): ClusterModel {
  const { model, diagnostics } = buildClusterModel(loadText(text, 'shop.yaml'))
  const errors = diagnostics.filter((d) => d.severity === 'error')
  if (errors.length > 0) throw new Error(errors.map((d) => `${d.file}:${d.line}: ${d.message}`).join('\n'))
  return model
}
